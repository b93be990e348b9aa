"""Whatever a table holds, it is read back as it was written, from every format."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from autoflow.data.reading import read_table

MANY = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,  # the gate must not depend on luck
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|"}
AWKWARD = st.sampled_from(
    [
        "", " ", "NA", "null", "01234", "1e400", "-0", "2020-01-01", "2020-01-01T00:00:00Z", "true",
        '"', '""', '"x', 'x"', "a,b;c\td|e", "\n", "\r", "\r\n", "#", "\ufeff", "\u200b", "\u00a0", "\\",
        "\\n", "'", "=1+1", "\x1b[2J", "\x7f", "{", "[", '{"a": 1}', "<html>", "PAR1", "sep=;", "日本",
        "e\u0301", "\U0001f9d1\u200d\U0001f4bb",
    ]
)  # fmt: skip
TEXT = AWKWARD | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
NAME = st.text(
    st.characters(codec="utf-8", exclude_characters="\0,;\t|#", exclude_categories=("Cc", "Cf", "Z")),
    min_size=1, max_size=8,
)  # fmt: skip
"""Headers with another delimiter, comments and nothing to see have tests of their own."""


@st.composite
def tables(draw, cell=TEXT, least_columns=1):
    headers = draw(st.lists(NAME, min_size=least_columns, max_size=4, unique=True))
    num_rows = draw(st.integers(1, 6))
    cells = [draw(st.lists(cell, min_size=num_rows, max_size=num_rows)) for _ in headers]
    return dict(zip(headers, cells, strict=True))


def cells(path: Path) -> dict[str, list]:
    return {name: column.to_pylist() for name, column in read_table(path).columns.items()}


@pytest.mark.parametrize("quoting", [csv.QUOTE_ALL, csv.QUOTE_MINIMAL], ids=["all", "minimal"])
@pytest.mark.parametrize("delimiter", DELIMITERS)
@given(table=tables(least_columns=2))
@MANY
def test_delimited_text(tmp_path, delimiter, quoting, table):
    assume(not next(iter(table)).lstrip().startswith(("{", "[")))  # that is taken for JSON, in plain words
    text = io.StringIO()
    # with this line end, cells that hold either of its characters are quoted
    writer = csv.writer(text, delimiter=DELIMITERS[delimiter], quoting=quoting, lineterminator="\r\n")
    writer.writerow(table)
    writer.writerows(zip(*table.values(), strict=True))
    path = tmp_path / "t.csv"
    path.write_bytes(text.getvalue().encode())
    assert cells(path) == table


VALUES = st.sampled_from(
    [TEXT, st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False)]
)


@st.composite
def typed_tables(draw):
    """Columns of one type each, missing cells among them, but not in the first row."""
    headers = draw(st.lists(NAME, min_size=1, max_size=4, unique=True))
    num_rows = draw(st.integers(1, 6))
    table = {}
    for header in headers:
        kind = draw(VALUES)
        others = draw(st.lists(st.none() | kind, min_size=num_rows - 1, max_size=num_rows - 1))
        table[header] = [draw(kind), *others]
    return table


@pytest.mark.parametrize("form", ["lines", "array"])
@given(table=typed_tables(), ascii_only=st.booleans())
@MANY
def test_json(tmp_path, form, table, ascii_only):
    rows = [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
    lines = [json.dumps(row, ensure_ascii=ascii_only) for row in rows]
    path = tmp_path / "t.json"
    path.write_bytes(("[" + ",".join(lines) + "]" if form == "array" else "\n".join(lines)).encode())
    assert cells(path) == table


@given(table=typed_tables())
@MANY
def test_parquet(tmp_path, table):
    path = tmp_path / "t.parquet"
    parquet.write_table(pa.table(table), path)
    assert cells(path) == table
