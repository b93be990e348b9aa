"""Reads JSON lines (one object a line) and JSON arrays of objects; keys are columns, absent keys missing.

Arrow reads well-formed lines in one fast pass; what it refuses goes through Python's `json`, which knows
the line and accepts mixed types.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from itertools import islice
from typing import Any

import pyarrow as pa

from autoflow.errors import DataError

_MAX_BLOCK_BYTES = 2**31 - 1
_MOST_NESTED = 500
"""Arrow ends the process where values are nested 20,000 deep; 5,000 were fine."""
_ROW_ENDS = re.compile(rb"\}[ \t\r]*\n\s*\{")
_FIRST_ROWS = 100


def read_json(name: str, text: bytes) -> tuple[pa.Table, str]:
    """Returns the table and a note about its form.

    Args:
        name: of the file, for messages.
        text: UTF-8 without byte order mark.

    Raises:
        DataError: a line is no JSON object or names a column twice, or there is none.
    """
    is_array = text.lstrip().startswith(b"[")
    form = "a JSON array of objects" if is_array else "JSON lines, one object a row"
    fast = None if is_array or _may_be_deep(text) else _read_fast(text)
    if fast is not None:
        _refuse_doubled_keys(name, text)
        return fast, form
    try:
        rows, num_broken = _whole_characters(_array(name, text) if is_array else _lines(name, text))
    except RecursionError:
        raise DataError(f"{name}: values are nested too deeply. Write one plain value a column.") from None
    if num_broken:
        form += f"; in {num_broken:,} texts halves of characters (lone surrogates) became \ufffd"
    return _from_rows(name, rows), form


def _may_be_deep(text: bytes) -> bool:
    """Tells whether values could be nested deeply: rows end between braces on two lines."""
    openings = text.count(b"{") + text.count(b"[")
    if openings - text.count(b"}\n{") <= _MOST_NESTED:
        return False
    return any(row.count(b"{") + row.count(b"[") > _MOST_NESTED for row in _ROW_ENDS.split(text))


def _refuse_doubled_keys(name: str, text: bytes) -> None:
    """Looks at the first lines only: what writes a key twice does so in every row."""
    for number, line in enumerate(islice(io.BytesIO(text), _FIRST_ROWS), start=1):
        try:
            json.loads(line, object_pairs_hook=_without_doubles)
        except ValueError:  # Arrow knows rows that go over lines, and lines of several rows
            continue
        except _DoubledKeyError as error:
            raise _doubled(f"{name}, line {number}", error) from None


def _doubled(where: str, error: _DoubledKeyError) -> DataError:
    return DataError(
        f"{where}: the key {str(error)!r} occurs twice in a row. Every column needs a name of its own."
    )


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


class _DoubledKeyError(Exception):
    """A JSON object names a key twice, of which parsers silently keep the last."""


def _without_doubles(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _DoubledKeyError(next(key for key in keys if keys.count(key) > 1))
    return found


def _array(name: str, text: bytes) -> list[Any]:
    try:
        rows = json.loads(text, object_pairs_hook=_without_doubles)
    except ValueError as error:
        raise DataError(f"{name}: this is no valid JSON ({error}). Write one JSON object a line.") from None
    except _DoubledKeyError as error:
        raise _doubled(name, error) from None
    return list(rows)


def _lines(name: str, text: bytes) -> list[Any]:
    return [
        _object(name, number, line) for number, line in enumerate(text.split(b"\n"), start=1) if line.strip()
    ]


def _object(name: str, number: int, line: bytes) -> dict[str, Any]:
    whole = "The file must hold one JSON object a line."
    try:
        row = json.loads(line, object_pairs_hook=_without_doubles)
    except ValueError:
        raise DataError(f"{name}, line {number}: this is no valid JSON object. {whole}") from None
    except _DoubledKeyError as error:
        raise _doubled(f"{name}, line {number}", error) from None
    if not isinstance(row, dict):
        raise DataError(f"{name}, line {number}: expected a JSON object, found {type(row).__name__}. {whole}")
    return row


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
