"""Reads CSV, TSV and the like, strictly: every row has as many fields as the header, or it is an error.

Arrow reads good files in one fast pass; only where it refuses, or where quotes look odd, a second pass with
Python's `csv` finds the line to name. All cells stay the strings that they are.
"""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from autoflow.data.headers import check_headers, comment_remark, looks_like_comment
from autoflow.data.sniffing import DELIMITERS, guess_delimiter
from autoflow.errors import DataError

_SPREADSHEET_LINE = re.compile(rb"(?i)\"?sep=[^\r\n]\"?[ \t]*[\r\n]")


def read_delimited(name: str, text: bytes) -> tuple[pa.Table, str]:
    """Returns the table, all columns strings, and a note about the delimiter.

    Args:
        name: of the file, for messages.
        text: UTF-8 without byte order mark.

    Raises:
        DataError: no rows, a header that is empty, doubled or missing, a row with too many or too few
            fields, a quote that is never closed, or a second header among the rows.
    """
    if not text.strip():
        raise DataError(f"{name}: the file is empty. A table needs a header line and rows.")
    if _SPREADSHEET_LINE.match(text):
        raise DataError(
            f"{name}, line 1: a line such as 'sep=;' is for spreadsheets and no header of columns. Remove it."
        )
    delimiter = guess_delimiter(text)
    header = _read_header(name, text, delimiter)
    if len(header) == 1:  # there a blank line between rows is a missing value, and at the end it is none
        text = text.rstrip(b"\r\n")
    table = None if _quotes_look_odd(text) else _read_fast(text, delimiter, header)
    if table is None or _swallowed_lines(table):
        precise = _read_precisely(name, text, delimiter, header)
        table = precise if table is None else table
    if table.num_rows == 0:
        raise DataError(f"{name}: the file has a header but no rows.")
    if len(header) > 1:
        _refuse_second_header(name, text, delimiter, header, table)
    if len(header) == 1:
        return table, "one column, no delimiter found"
    return table, f"fields parted by {DELIMITERS[delimiter]} (guessed from header and rows)"


def _refuse_second_header(name: str, text: bytes, delimiter: str, header: list[str], table: pa.Table) -> None:
    again = pc.equal(table[header[0]], header[0])
    for column in header[1:]:
        if not pc.any(again).as_py():
            return
        again = pc.and_(again, pc.equal(table[column], column))
    if not pc.any(again).as_py():
        return
    lines = [line for line, record in _records(name, text.decode("utf-8"), delimiter) if record == header]
    raise DataError(
        f"{name}, line {lines[1]}: the header occurs again. If tables were joined one after the other, "
        "remove its repetitions. If the file has no header line, put one on top."
    )


def _read_header(name: str, text: bytes, delimiter: str) -> list[str]:
    end = 0
    for _ in range(1000):  # a quoted header may go over several lines
        end = text.find(b"\n", end) + 1
        first = text if end == 0 else text[:end]
        if end == 0 or (first.strip() and first.count(b'"') % 2 == 0):
            break
    for _, record in _records(name, first.decode("utf-8"), delimiter):
        check_headers(name, record)
        return record
    raise DataError(f"{name}: the file is empty. A table needs a header line and rows.")


def _read_fast(text: bytes, delimiter: str, header: list[str]) -> pa.Table | None:
    """Returns None where Arrow refuses the text."""
    from pyarrow import csv as arrow_csv

    try:
        return arrow_csv.read_csv(
            pa.py_buffer(text.lstrip(b"\r\n")),
            read_options=arrow_csv.ReadOptions(block_size=_block_size(text)),
            parse_options=arrow_csv.ParseOptions(
                delimiter=delimiter,
                newlines_in_values=b'"' in text,
                ignore_empty_lines=len(header) > 1,
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid:
        return None


def _block_size(text: bytes) -> int:
    # a header or row must fit into one block; wide tables get larger ones
    longest = max((len(line) for line in text[:10_000_000].split(b"\n", 50)[:50]), default=0)
    return max(1 << 20, min(8 * longest, 1 << 30))


def _quotes_look_odd(text: bytes) -> bool:
    return text.count(b'"') % 2 == 1


def _swallowed_lines(table: pa.Table) -> bool:
    """Tells whether the last row holds a line break: an unclosed quote takes in all that follows."""
    if table.num_rows == 0:
        return False
    return any("\n" in (value or "") for value in table.slice(table.num_rows - 1).to_pylist()[0].values())


def _records(name: str, text: str, delimiter: str, *, blank: bool = False) -> Iterator[tuple[int, list[str]]]:
    """Yields the line number (from 1) and fields of every record; raises DataError for broken quotes.

    Blank lines are passed over; those after the header are records of an empty field if told so.
    """
    previous_limit = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line, begun = 1, False
    try:
        for record in reader:
            if record or (blank and begun):
                yield line, record or [""]
            begun = begun or bool(record)
            line = reader.line_num + 1
    except csv.Error as error:
        if "unexpected end of data" in str(error):
            fault = 'a quote (") is opened and never closed. Close or remove it.'
        else:
            fault = 'a quote (") inside a quoted field is not doubled. Write it as two ("").'
        raise DataError(f"{name}, line {line}: {fault}") from None
    finally:
        csv.field_size_limit(previous_limit)


def _read_precisely(name: str, text: bytes, delimiter: str, header: list[str]) -> pa.Table:
    rows: list[list[str]] = []
    for line, record in _records(name, text.decode("utf-8"), delimiter, blank=len(header) == 1):
        if len(record) != len(header):
            message = _shape_message(name, line, record, header, delimiter)
            if all(looks_like_comment(row) for row in rows):  # of the header, too
                message = (
                    f"{name}, line {line}: {_num_fields(record)} where the header has {len(header)}. "
                    + comment_remark(header)
                )
            raise DataError(message)
        rows.append(record)
    columns = list(zip(*rows[1:], strict=True)) if len(rows) > 1 else [() for _ in header]
    return pa.table(
        {column: pa.array(cells, pa.string()) for column, cells in zip(header, columns, strict=True)}
    )


def _num_fields(record: list[str]) -> str:
    return "1 field" if len(record) == 1 else f"{len(record)} fields"


def _shape_message(name: str, line: int, record: list[str], header: list[str], delimiter: str) -> str:
    found = f"{name}, line {line}: {_num_fields(record)} where the header has {len(header)}"
    if len(record) == len(header) + 1 and not record[-1].strip():
        return f"{found}: the line ends with a delimiter ({delimiter!r}). Remove it, or name the last column."
    if len(record) == len(header) + 1 and record[0] in ("0", "1"):
        return f"{found}. If lines begin with a row number, give that column a header, too."
    if len(record) > len(header):
        return f"{found}. Put text that holds a {DELIMITERS[delimiter]} in double quotes, or mend the line."
    return f"{found}. Fill in the missing fields, or remove the line."
