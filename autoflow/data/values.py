"""The three stages of a column: as read, raw values, column values.

*As read* is an Arrow array: strings from text files, typed from Parquet and DataFrames. *Raw values* are
what the exported model takes: `float64[n]` (rounded through float32 where the model takes float32) with NaN
for missing, or `object[n]` of `str` with `""` for missing; pictures are `object[n]` of
`autoflow.data.images.Picture`, whose bytes the model takes. *Column values* are what feature extractors see.
The step from raw to column values has a twin in TensorFlow, `autoflow.pipeline.raw_graph`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from autoflow.data.cells import is_plain, is_string, means_missing
from autoflow.data.datetimes import DATETIME_FORMATS, parse_datetimes
from autoflow.data.images import is_bytes, pictures
from autoflow.data.numbers import (
    ASCII_WHITESPACE,
    MISSING_TOKENS,
    NUMBER_FORMATS,
    finite,
    parse_decimals,
    parse_numbers,
)
from autoflow.data.schema import Column, ColumnKind, RawType

_NUMBER_KINDS = (ColumnKind.NUMERIC, ColumnKind.BOOLEAN, ColumnKind.DATETIME)


def is_number_kind(kind: ColumnKind) -> bool:
    """Tells whether column values of this kind are float64 rather than strings or pictures."""
    return kind in _NUMBER_KINDS


def is_readable(column: Column, as_read: pa.Array) -> bool:
    """Tells whether `raw_values` can read a column of this Arrow type, be its cells sensible or not."""
    if column.kind is ColumnKind.IMAGE:
        return is_string(as_read) or is_bytes(as_read.type) or as_read.null_count == len(as_read)
    return is_plain(as_read)


def raw_values(column: Column, as_read: pa.Array, folder: Path = Path()) -> np.ndarray:
    """Returns the raw values of a column as it was read, at training and at prediction time.

    What cannot be read as a number becomes missing where the model takes numbers; see `unreadable`.

    Args:
        column: what the column was in training.
        as_read: strings, integers, doubles or booleans, from any kind of source; bytes for pictures.
        folder: where the paths of pictures start.
    """
    if column.kind is ColumnKind.IMAGE:
        empty = as_read.null_count == len(as_read)
        return pictures(pa.nulls(len(as_read), pa.string()) if empty else as_read, folder)
    if column.raw_type is RawType.STRING:
        return _to_objects(_as_strings(column, as_read))
    if pa.types.is_string(as_read.type) or pa.types.is_large_string(as_read.type):
        numbers = parse_decimals(as_read)
        if column.kind is ColumnKind.BOOLEAN:
            numbers = _with_words(numbers, as_read)
    else:
        numbers = pc.cast(as_read, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return finite(rounded(numbers, column.raw_type))


def rounded(numbers: np.ndarray, raw_type: RawType) -> np.ndarray:
    """Returns float64 numbers after the rounding that the type of the model's input brings."""
    if raw_type is not RawType.FLOAT32:
        return np.asarray(numbers, np.float64)
    with np.errstate(over="ignore"):
        return np.asarray(numbers).astype(np.float32).astype(np.float64)


def column_values(column: Column, raw: np.ndarray) -> np.ndarray:
    """Returns what feature extractors see of raw values.

    Args:
        column: kind, raw type and formats.
        raw: `float64[n]` or `object[n]` of str, by the raw type.

    Returns:
        float64[n] with NaN where missing for numbers, booleans (0 or 1) and datetimes (seconds since
        1970-01-01); object[n] of str with `""` where missing for categories (stripped) and text; object[n] of
        Picture for images.
    """
    if column.kind in (ColumnKind.TEXT, ColumnKind.IMAGE):
        return raw
    if column.raw_type is not RawType.STRING:
        numbers = finite(raw)
        if column.kind is ColumnKind.BOOLEAN:
            return np.where((numbers == 0) | (numbers == 1), numbers, np.nan)
        return numbers
    distinct, codes = distinct_strings(raw)
    if column.kind is ColumnKind.CATEGORICAL:
        stripped = pc.ascii_trim(distinct, ASCII_WHITESPACE)
        return raw if stripped.equals(distinct) else _to_objects(stripped)[codes]
    if column.kind is ColumnKind.DATETIME:
        return parse_datetimes(distinct, DATETIME_FORMATS[column.datetime_format])[codes]
    if column.kind is ColumnKind.BOOLEAN:
        stripped = pc.ascii_trim(distinct, ASCII_WHITESPACE)
        true, false = (_is_one_of(stripped, words) for words in (column.true_values, column.false_values))
        return np.where(true, 1.0, np.where(false, 0.0, np.nan))[codes]
    if column.kind is ColumnKind.NUMERIC:
        return parse_numbers(distinct, NUMBER_FORMATS[column.number_format])[codes]
    raise ValueError(f"column {column.name!r}: kind {column.kind} has no column values")


def unreadable(column: Column, as_read: pa.Array, values: np.ndarray) -> pa.Array:
    """Returns the cells that hold something that the column's kind cannot read, so that it counts as missing.

    Args:
        column: what the column was in training.
        as_read: its cells.
        values: column values of the same rows.
    """
    if not is_number_kind(column.kind) or not np.isnan(values).any():
        return as_read.slice(0, 0)
    cells = as_read.filter(pa.array(np.isnan(values))).drop_null()
    if not is_string(cells):
        return cells
    if column.true_values:  # whatever else the words of a boolean may be, they are no others of its words
        tokens = pa.array(sorted(MISSING_TOKENS), cells.type)
        return cells.filter(pc.invert(pc.is_in(pc.ascii_trim(cells, ASCII_WHITESPACE), tokens)))
    return cells.filter(pc.invert(means_missing(cells)))


def distinct_strings(raw: np.ndarray) -> tuple[pa.Array, np.ndarray]:
    """Returns the distinct strings of an object array and each row's position among them (int32[n])."""
    encoded = string_array(raw).dictionary_encode()
    return encoded.dictionary, encoded.indices.to_numpy(zero_copy_only=False)


def string_array(raw: np.ndarray) -> pa.Array:
    """Returns an object array of str as an Arrow array (large strings, so that no size is too much)."""
    return pa.array(raw, pa.large_string())


def _as_strings(column: Column, as_read: pa.Array) -> pa.Array:
    kind = as_read.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return as_read
    if pa.types.is_boolean(kind):
        true = column.true_values[0] if column.true_values else "True"
        false = column.false_values[0] if column.false_values else "False"
        return pc.if_else(as_read, true, false)
    if pa.types.is_floating(kind):
        as_read = _without_point_zero(as_read)
    strings = pc.cast(as_read, pa.string())
    if column.number_format == "decimal comma":
        strings = pc.replace_substring(strings, ".", ",")
    return strings


def _without_point_zero(doubles: pa.Array) -> pa.Array:
    """Integers that a missing value elsewhere turned to floats get their spelling back (`7`, not `7.0`)."""
    try:
        return pc.cast(doubles, pa.int64())
    except pa.ArrowInvalid:
        return doubles


def _with_words(numbers: np.ndarray, strings: pa.Array) -> np.ndarray:
    """Reads `true` and `false` in a column that was 0 and 1 in training."""
    if not np.isnan(numbers).any():
        return numbers
    lower = pc.ascii_lower(pc.ascii_trim(strings, ASCII_WHITESPACE))
    return np.where(_is_one_of(lower, ("true",)), 1.0, np.where(_is_one_of(lower, ("false",)), 0.0, numbers))


def _is_one_of(strings: pa.Array, words: tuple[str, ...]) -> np.ndarray:
    return pc.is_in(strings, pa.array(words, strings.type)).to_numpy(zero_copy_only=False)


def _to_objects(strings: pa.Array) -> np.ndarray:
    # decoding each distinct string once is faster, and equal cells share one Python string
    encoded = pc.fill_null(strings, "").dictionary_encode()
    pool = encoded.dictionary.to_numpy(zero_copy_only=False).astype(object, copy=False)
    return pool[encoded.indices.to_numpy(zero_copy_only=False)]
