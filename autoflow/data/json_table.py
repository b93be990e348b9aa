"""Reads JSON lines (one object a line) and JSON arrays of objects; keys are columns, absent keys missing.

Arrow reads well-formed lines in one fast pass; what it refuses goes through Python's `json`, which knows
the line and accepts mixed types.
"""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from autoflow.errors import DataError

_MAX_BLOCK_BYTES = 2**31 - 1


def read_json(name: str, text: bytes) -> tuple[pa.Table, str]:
    """Returns the table and a note about its form.

    Args:
        name: of the file, for messages.
        text: UTF-8 without byte order mark.

    Raises:
        DataError: a line is no JSON object, or there is none.
    """
    is_array = text.lstrip().startswith(b"[")
    form = "a JSON array of objects" if is_array else "JSON lines, one object a row"
    fast = None if is_array else _read_fast(text)
    if fast is not None:
        return fast, form
    rows, num_broken = _whole_characters(_array(name, text) if is_array else _lines(name, text))
    if num_broken:
        form += f"; in {num_broken:,} texts halves of characters (lone surrogates) became \ufffd"
    return _from_rows(name, rows), form


def _read_fast(text: bytes) -> pa.Table | None:
    """Returns None where Arrow refuses the text."""
    from pyarrow import json as arrow_json

    try:
        table = arrow_json.read_json(
            pa.py_buffer(text),
            read_options=arrow_json.ReadOptions(block_size=min(len(text) + 1, _MAX_BLOCK_BYTES)),
        )
    except pa.ArrowException:
        return None
    # Arrow would respell texts that look like times
    return None if any(pa.types.is_temporal(kind) for kind in table.schema.types) else table


def _array(name: str, text: bytes) -> list[Any]:
    try:
        rows = json.loads(text)
    except ValueError as error:
        raise DataError(f"{name}: this is no valid JSON ({error}). Write one JSON object a line.") from None
    return list(rows)


def _lines(name: str, text: bytes) -> list[Any]:
    rows = []
    for number, line in enumerate(text.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            rows.append(json.loads(line))
        except ValueError:
            raise DataError(
                f"{name}, line {number}: this is no valid JSON object. "
                "The file must hold one JSON object a line."
            ) from None
        if not isinstance(rows[-1], dict):
            raise DataError(
                f"{name}, line {number}: expected a JSON object, found {type(rows[-1]).__name__}. "
                "The file must hold one JSON object a line."
            )
    return rows


def _whole_characters(rows: list[Any]) -> tuple[list[Any], int]:
    """Returns the rows with U+FFFD for every lone surrogate, which UTF-8 cannot hold, and the count."""
    count = 0

    def mended(value: Any) -> Any:
        nonlocal count
        if isinstance(value, str):
            try:
                value.encode()
            except UnicodeEncodeError:
                count += 1
                return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        elif isinstance(value, dict):
            return {mended(key): mended(each) for key, each in value.items()}
        elif isinstance(value, list):
            return [mended(each) for each in value]
        return value

    return [mended(row) for row in rows], count


def _from_rows(name: str, rows: list[Any]) -> pa.Table:
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise DataError(
            f'{name}: expected JSON objects, one a row. Write every row as {{"column": value, ...}}.'
        )
    headers = list(dict.fromkeys(key for row in rows for key in row))
    return pa.table({header: _column([row.get(header) for row in rows]) for header in headers})


def _column(cells: list[Any]) -> pa.Array:
    try:
        return pa.array(cells, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        texts = [
            cell if isinstance(cell, str) or cell is None else json.dumps(cell, ensure_ascii=False)
            for cell in cells
        ]
        return pa.array(texts, pa.string())
