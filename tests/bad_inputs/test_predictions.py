"""What a model does with strange rows: the same answers, a warning, or one plain message."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pytest
from answering import ROWS, SCHEMA, Answering
from typer.testing import CliRunner

from autoflow.cli import app
from autoflow.data.values import column_values
from autoflow.errors import DataError
from autoflow.serving.rows import open_table, raw_rows

REFUSED = 3
Change = Callable[[pd.DataFrame], pd.DataFrame]


def as_csv(frame: pd.DataFrame, **options: str) -> bytes:
    return frame.to_csv(index=False, **options).encode()


def as_parquet(frame: pd.DataFrame) -> bytes:
    sink = io.BytesIO()
    frame.to_parquet(sink, index=False)
    return sink.getvalue()


def read_values(source: object) -> dict[str, np.ndarray]:
    rows = raw_rows(SCHEMA, open_table(source, None, None))
    return {column.name: column_values(column, rows.values[column.name]) for column in SCHEMA.columns}


def retyped() -> pd.DataFrame:
    return ROWS.assign(
        size=ROWS["size"].map(lambda value: "" if np.isnan(value) else str(value)),
        serial=ROWS["serial"].astype("int64"),
        colour=ROWS["colour"].replace("", None).astype("category"),
        day=pd.to_datetime(ROWS["day"].replace("", None)),
        flag=ROWS["flag"].map({"yes": True, "no": False, "": None}).astype("boolean"),
        price=[1.5, 2.25, 1234.5, np.nan, 7.0, 0.5],
    )


SAME = {
    "reordered": as_csv(ROWS[list(ROWS)[::-1]]),
    "further columns": as_csv(ROWS.assign(**{"extra": "x", "size ": 9, "Colour": "blue"})),
    "a row number in front": as_csv(ROWS.reset_index(names="row")),
    "its label too": as_csv(ROWS.assign(kind=["1", "2", "3", "", "x", "1"])),
    "semicolons": as_csv(ROWS, sep=";"),
    "tabs": as_csv(ROWS, sep="\t"),
    "UTF-16": ROWS.to_csv(index=False).encode("utf-16"),
    "gzip": gzip.compress(as_csv(ROWS)),
    "CR line ends": as_csv(ROWS, lineterminator="\r"),
    "JSON lines": ROWS.to_json(orient="records", lines=True, force_ascii=False).encode(),
    "Parquet": as_parquet(ROWS),
    "retyped": as_parquet(retyped()),
    "numbers with spaces": as_csv(ROWS.assign(size=[" 1.5", "", "3.25 ", "0.125", "2", "7.50"])),
    "NA for nothing": as_csv(
        ROWS.replace("", "NA").assign(colour=ROWS["colour"], note=ROWS["note"]), na_rep="NA"
    ),
}


@pytest.mark.parametrize("name", SAME, ids=lambda name: name.replace(" ", "-"))
def test_the_same_rows_in_another_dress_give_the_same_answers(answering: Answering, tmp_path, name):
    path = tmp_path / "new.csv"
    path.write_bytes(SAME[name])
    expected = read_values(ROWS)
    for column, values in read_values(path).items():
        np.testing.assert_array_equal(values, expected[column], err_msg=column)
    answers = answering.predictor.predict_proba(path)
    plain = raw_rows(SCHEMA, open_table(ROWS, None, None)).values
    np.testing.assert_allclose(answers, answering.model.predict_probabilities(plain), atol=1e-6)
    assert answering.predictor.warnings_ == ()


def put(column: str, *cells: object) -> Change:
    def changed(frame: pd.DataFrame) -> pd.DataFrame:
        texts = frame[column].astype(object).tolist()
        return frame.assign(**{column: [*cells, *texts[len(cells) :]]})

    return changed


CHANGED: dict[str, tuple[Change, Change, Sequence[str]]] = {
    "new categories": (put("colour", "mauve", "\x1b[2J"), put("colour", "mauve", "\x1b[2J"), []),
    "a text of a megabyte": (put("note", "x" * 2**20), put("note", "x" * 2**20), []),
    "words among numbers": (
        put("size", "cheap"),
        put("size", np.nan),
        ["'size': 1 of 6 cells hold no number ('cheap') and count as missing."],
    ),
    "numbers too large": (put("size", "1e400", "inf"), put("size", np.nan, np.nan), ["'size': 2 of 6 cells"]),
    "decimal points for commas": (
        put("price", "1.5"),
        put("price", ""),
        ["'price': 1 of 6 cells hold no number in the format 'decimal comma' ('1.5')"],
    ),
    "another style of dates": (
        put("day", "5/1/2020", "year 1"),
        put("day", "", ""),
        ["'day': 2 of 6 cells hold no time in the format"],
    ),
    "another word for yes": (
        put("flag", "oui"),
        put("flag", ""),
        ["'flag': 1 of 6 cells hold no truth value that the training rows had"],
    ),
    "nothing in any cell": (
        lambda frame: frame.assign(**dict.fromkeys(frame, "")),
        lambda frame: frame.assign(**dict.fromkeys(frame, "")).assign(size=np.nan, serial=np.nan),
        [],
    ),
}


@pytest.mark.parametrize("name", CHANGED, ids=lambda name: name.replace(" ", "-"))
def test_what_a_model_cannot_read_is_missing_and_counted(answering: Answering, tmp_path, name):
    change, meant, words = CHANGED[name]
    path = tmp_path / "new.csv"
    path.write_bytes(as_csv(change(ROWS)))
    expected = read_values(meant(ROWS))
    for column, values in read_values(path).items():
        np.testing.assert_array_equal(values, expected[column], err_msg=column)
    assert np.isfinite(answering.predictor.predict_proba(path)).all()
    warnings = " ".join(answering.predictor.warnings_)
    assert bool(warnings) == bool(words)
    assert all(word in warnings for word in words), warnings


CSV = as_csv(ROWS).decode()
REFUSALS = {
    "a column missing": (as_csv(ROWS.drop(columns="day")), ["of 7 columns", "'day' is missing"]),
    "several columns missing": (
        as_csv(ROWS[["size", "note"]]),
        ["'serial', 'colour', 'day', 'flag', 'price' are missing"],
    ),
    "no column known": (b"a,b\n1,2\n", ["are missing; the table has 'a', 'b' instead"]),
    "a header in another case": (
        as_csv(ROWS.rename(columns={"colour": "Colour"})),
        ["did you mean 'Colour'?"],
    ),
    "a header with something invisible": (
        as_csv(ROWS.rename(columns={"colour": "colour\u200b"})),
        ["did you mean 'colour\\u200b'?"],
    ),
    "no rows": (as_csv(ROWS.iloc[:0]), ["a header but no rows"]),
    "no rows in Parquet": (as_parquet(ROWS.iloc[:0]), ["columns but no rows"]),
    "an empty file": (b"", ["the file is empty"]),
    "no header": (CSV.split("\n", 1)[1].encode(), ["the table has '1.5', '33554433.0', 'red'"]),
    "a header twice": (CSV.replace("note", "size", 1).encode(), ["the header 'size' occurs 2 times"]),
    "a long row": (CSV.encode() + b"1,2,red,2020-01-01,yes,1,5,blue\n", ["line 8: 8 fields"]),
    "lists": (as_parquet(ROWS.assign(size=[[1.0]] * 6)), ["'size' holds list<", "rows it was numeric"]),
    "bytes": (as_parquet(ROWS.assign(colour=[b"\xff"] * 6)), ["'colour' holds binary values"]),
    "an HTML page": (b"<!doctype html><title>Log in</title>", ["HTML page"]),
}


@pytest.mark.parametrize("name", REFUSALS, ids=lambda name: name.replace(" ", "-"))
def test_rows_that_no_model_can_read_are_refused(answering: Answering, tmp_path, name):
    content, words = REFUSALS[name]
    path = tmp_path / "new.csv"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        answering.predictor.predict(path)
    message = str(caught.value)
    assert caught.value.exit_code == REFUSED
    assert "\n" not in message
    assert all(word in message for word in ["new.csv", *words]), message


def test_the_command_shows_warnings_and_refusals_in_a_line(answering: Answering, tmp_path):
    odd, short, out = tmp_path / "odd.csv", tmp_path / "short.csv", tmp_path / "answers.csv"
    odd.write_bytes(as_csv(put("size", "cheap")(ROWS)))
    short.write_bytes(as_csv(ROWS.drop(columns="day")))
    done = CliRunner().invoke(app, ["predict", str(answering.folder), str(odd), "--output", str(out)])
    assert done.exit_code == 0, done.output
    assert done.stderr.startswith("warning: odd.csv: column 'size': 1 of 6 cells hold no number")
    assert len(pd.read_csv(out)) == len(ROWS)
    done = CliRunner().invoke(app, ["predict", str(answering.folder), str(short)])
    assert done.exit_code == REFUSED
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1


LABELS = {
    "unseen labels": (["1", "77", "2", "x", "10", "1"], ["2 labels are no class of this model"]),
    "labels missing": (["1", "", "2", "NA", "10", "1"], []),
    "labels in other spellings": ([" 1", "2.0", "1.0", "10 ", "10.0", "1"], []),
}


@pytest.mark.parametrize("name", LABELS, ids=lambda name: name.replace(" ", "-"))
def test_an_evaluation_says_which_labels_are_strange(answering: Answering, tmp_path, name):
    labels, words = LABELS[name]
    path = tmp_path / "test.csv"
    path.write_bytes(as_csv(ROWS.assign(kind=labels)))
    scores = answering.predictor.evaluate(path)
    assert scores.num_rows == sum(label not in ("", "NA") for label in labels)
    warnings = " ".join(answering.predictor.warnings_)
    assert bool(warnings) == bool(words)
    assert all(word in warnings for word in words)


@pytest.mark.parametrize(
    ("labels", "words"),
    [(None, "label column 'kind' is missing"), (["x"] * 6, "none of the labels"), ([""] * 6, "is empty")],
)
def test_an_evaluation_without_a_known_label_is_refused(answering: Answering, tmp_path, labels, words):
    path = tmp_path / "test.csv"
    path.write_bytes(as_csv(ROWS if labels is None else ROWS.assign(kind=labels)))
    with pytest.raises(DataError, match=words):
        answering.predictor.evaluate(path)
