"""Reading: every accepted format gives the same cells, and every bad file one plain message."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from autoflow.data.reading import read_table
from autoflow.errors import DataError, UsageError

FRAME = pd.DataFrame(
    {"code": ["01234", "NA", "x"], "price (JPY)": ["1.50", "", "3"], "値段": ["a,b", 'q"q', "é"]}
)
CSV = FRAME.to_csv(index=False)


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def cells(path: Path | pd.DataFrame, **options: str) -> dict[str, list]:
    return {name: column.to_pylist() for name, column in read_table(path, **options).columns.items()}


def refusal(path: Path, **options: str) -> str:
    with pytest.raises(DataError) as caught:
        read_table(path, **options)
    message = str(caught.value)
    assert len(message) < 400
    assert "\n" not in message
    return message


EXPECTED = {name: list(FRAME[name]) for name in FRAME}


@pytest.mark.parametrize(
    ("delimiter", "word"), [(",", "comma"), (";", "semicolon"), ("\t", "tab"), ("|", "bar")]
)
def test_delimiters_are_found_and_cells_left_alone(tmp_path, delimiter, word):
    path = write(tmp_path, "t.csv", FRAME.to_csv(index=False, sep=delimiter))
    assert cells(path) == EXPECTED
    assert word in " ".join(read_table(path).notes)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_unicode_encodings_need_no_option(tmp_path, encoding):
    assert cells(write(tmp_path, "t.csv", CSV.encode(encoding))) == EXPECTED


def test_other_encodings_need_one(tmp_path):
    path = write(tmp_path, "t.csv", "name,y\nabc,1\nMüller,2\n".encode("cp1252"))
    message = refusal(path)
    assert "t.csv, line 3" in message
    assert "--encoding" in message
    assert cells(path, encoding="cp1252")["name"] == ["abc", "Müller"]
    assert "line 3: the text cannot be read as ascii" in refusal(path, encoding="ascii")
    with pytest.raises(UsageError, match="--encoding klingon"):
        read_table(path, encoding="klingon")


@pytest.mark.parametrize("name", ["t.csv.gz", "t.csv"])
def test_gzip_by_content(tmp_path, name):
    assert cells(write(tmp_path, name, gzip.compress(CSV.encode()))) == EXPECTED


def test_line_ends_blank_lines_and_line_breaks_in_quotes(tmp_path):
    path = write(tmp_path, "t.csv", 'a,b\r\n1,"x\r\ny"\r\n\r\n2,z')
    assert cells(path) == {"a": ["1", "2"], "b": ["x\r\ny", "z"]}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    "text", ["{0}a{0}x{0}{0}y{0}{0}{0}z", 'a{0}x{0}{0}"y"{0}{0}{0}z{0}', "a{0}x{0}{0}y{0}{0}{0}z{0}{0}"]
)
def test_a_blank_line_between_rows_of_one_column_is_a_missing_value(tmp_path, text, end):
    path = write(tmp_path, "t.csv", text.format(end))
    assert cells(path) == {"a": ["x", "", "y", "", "", "z"]}


def test_a_blank_line_between_rows_of_one_column_moves_no_other_in_the_second_pass(tmp_path):
    path = write(tmp_path, "t.csv", 'a\nx\n\n"y\nz"\n')
    assert cells(path) == {"a": ["x", "", "y\nz"]}
    assert "line 5: 2 fields" in refusal(write(tmp_path, "t.csv", "\na\nx\n\ny,z\n"))


def test_last_row_may_hold_a_line_break(tmp_path):
    assert cells(write(tmp_path, "t.csv", 'a,b\n1,x\n2,"y\nz"\n'))["b"] == ["x", "y\nz"]


def test_stray_quotes_inside_a_field_are_text(tmp_path):
    assert cells(write(tmp_path, "t.csv", 'a,b\n1,5" disk\n2,z\n'))["b"] == ['5" disk', "z"]


def test_json_lines_and_arrays(tmp_path):
    lines = '{"a": 1, "b": "x", "c": true}\n{"a": 2.5, "b": null}\n'
    expected = {"a": [1.0, 2.5], "b": ["x", None], "c": [True, None]}
    assert cells(write(tmp_path, "t.jsonl", lines)) == expected
    assert cells(write(tmp_path, "t.jsonl.gz", gzip.compress(lines.encode()))) == expected
    assert cells(write(tmp_path, "t.json", "[" + lines.strip().replace("\n", ",") + "]")) == expected


def test_json_of_mixed_types_becomes_strings_and_times_stay_as_written(tmp_path):
    assert cells(write(tmp_path, "t.jsonl", '{"a": 1}\n{"a": "x"}\n'))["a"] == ["1", "x"]
    assert cells(write(tmp_path, "t.jsonl", '{"a": "2020-01-01"}\n'))["a"] == ["2020-01-01"]


@pytest.mark.parametrize("text", ['{"a": 1}\n{"a": \n', '{"a": 1}\n[1]\n'])
def test_bad_json_names_the_line(tmp_path, text):
    message = refusal(write(tmp_path, "t.jsonl", text))
    assert "line 2" in message
    assert "one JSON object a line" in message


def test_parquet_by_content(tmp_path):
    frame = pd.DataFrame(
        {
            "i": pd.array([1, None], "Int64"),
            "f": np.array([1.5, np.nan], np.float32),
            "b": [True, False],
            "c": pd.Categorical(["x", None]),
            "t": pd.to_datetime(["2020-01-02 03:04:05", None]),
        }
    )
    path = tmp_path / "t.csv"
    frame.to_parquet(path)
    expected = {"i": [1, None], "f": [1.5, None], "b": [True, False], "c": ["x", None]}
    read = cells(path)
    assert {name: read[name] for name in expected} == expected
    assert read["t"][0].startswith("2020-01-02 03:04:05")
    assert read["t"][1] is None
    assert "Parquet" in " ".join(read_table(path).notes)
    assert {name: cells(frame)[name] for name in expected} == expected


def test_frames_of_all_sorts():
    frame = pd.DataFrame(
        {
            1: [1, "x", None],
            "cat": pd.Categorical([3, 4, 3]),
            "flag": pd.array([True, None, False], "boolean"),
            "zone": pd.to_datetime(["2020-01-01", None, "2020-06-01"], utc=True),
            "bad": pd.Series(["\ud800", "b", None], dtype=object),
            "list": [[1], [2], None],
        }
    )
    read = cells(frame)
    assert read["1"] == ["1", "x", None]
    assert read["cat"] == [3, 4, 3]
    assert read["flag"] == [True, None, False]
    assert read["zone"][0].startswith("2020-01-01T00:00:00")
    assert read["bad"][1:] == ["b", None]
    assert pa.types.is_nested(read_table(frame).columns["list"].type)


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (pd.DataFrame({"a": []}), "no rows"),
        (pd.DataFrame([[1, 2]], columns=[1, "1"]), "'1' occurs 2 times"),
        ([[1, 2]], "DataFrame, got list"),
    ],
)
def test_unusable_frames(frame, expected):
    assert expected in refusal(frame)


# --- bad files ---------------------------------------------------------------------------------------


def test_missing_file_shows_near_names(tmp_path):
    write(tmp_path, "items.csv", CSV)
    message = refusal(tmp_path / "itms.csv")
    assert "there is no such file" in message
    assert "'items.csv'" in message


def test_folder_and_unreadable_and_url(tmp_path):
    path = write(tmp_path, "items.csv", CSV)
    assert "this is a folder" in refusal(tmp_path)
    assert "items.csv" in refusal(tmp_path)
    assert "cannot be read" in refusal(path / "x.csv")
    assert "local files" in refusal("https://example.com/t.csv")


@pytest.mark.parametrize(
    ("name", "said"), [("t.parquet", "Parquet file"), ("t.pq", "Parquet file"), ("t.csv.gz", "gzip archive")]
)
def test_text_under_the_name_of_a_binary_format(tmp_path, name, said):
    for content in ("not that\n", "a\n1\n2\n", "a,b\n1\n", bytes(range(256)) * 4, b"a,b\n\xff\xfe,1\n"):
        assert f"named like a {said}" in refusal(write(tmp_path, name, content))
    table = read_table(write(tmp_path, name, "a,b\n1,2\n"))
    assert list(table.columns) == ["a", "b"]
    assert any(f"named like a {said}" in note for note in table.notes)


@pytest.mark.parametrize(
    ("text", "line", "found", "expected"),
    [
        ("a,b\n1,2\n3,4,5\n", 3, 3, 2),
        ("a,b,c\n1,2,3\n4,5\n", 3, 2, 3),
        ('a,b\n1,"x\ny"\n3,4,5\n', 4, 3, 2),
        ("# made by hand\na,b\n1,2\n", 2, 2, 1),
    ],
)
def test_wrong_number_of_fields_names_the_line(tmp_path, text, line, found, expected):
    message = refusal(write(tmp_path, "t.csv", text))
    assert message.startswith(f"t.csv, line {line}: {found} fields where the header has {expected}")


def test_a_header_that_begins_with_a_hash_is_no_comment(tmp_path):
    assert "comment" not in refusal(write(tmp_path, "t.csv", "#id,b,c\n1,2,3\n1,2\n"))


def test_lone_surrogates_of_json_become_replacement_characters(tmp_path):
    path = tmp_path / "rows.jsonl"
    lines = [f'{{"t \\udc00": "a \\ud800 {number} \\ud83d\\ude00", "label": "x"}}' for number in range(3)]
    path.write_text("\n".join(lines))
    table = read_table(path)
    assert table.columns["t \ufffd"].to_pylist() == [f"a \ufffd {number} \U0001f600" for number in range(3)]
    assert any("in 6 texts halves of characters" in note for note in table.notes)
