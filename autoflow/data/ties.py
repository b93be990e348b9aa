"""What ties rows together before a split: a group that may not be parted, a moment that orders them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from autoflow.data.cells import count_cells, is_plain, is_string
from autoflow.data.kinds import guess_column, plain_numbers
from autoflow.data.numbers import ASCII_WHITESPACE, parse_decimals
from autoflow.data.reading import RawTable
from autoflow.data.schema import Column, ColumnKind
from autoflow.data.values import column_values, raw_values
from autoflow.errors import DataError, near_names, shortened


def group_codes(table: RawTable, header: str) -> np.ndarray:
    """Returns int64[n], equal for rows of one group; a row without a group is one of its own.

    Raises:
        DataError: there is no such column, it holds lists or the like, or one group only.
    """
    as_read = _column(table, header, "--group")
    if is_string(as_read):
        trimmed = pc.ascii_trim(as_read, ASCII_WHITESPACE)
        as_read = pc.if_else(pc.equal(trimmed, ""), None, trimmed)
    if pa.types.is_floating(as_read.type):
        as_read = pc.if_else(pc.is_nan(as_read), None, as_read)
    encoded = as_read.dictionary_encode()
    codes = np.asarray(pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False), np.int64)
    alone = codes < 0
    codes[alone] = len(encoded.dictionary) + np.arange(np.count_nonzero(alone))
    if len(np.unique(codes)) < 2:
        raise DataError(
            f"{table.name}: column {header!r} puts all rows into one group, so that none is left to check "
            "the model on; name another column with --group or leave it out."
        )
    return codes


def moments_of(table: RawTable, header: str) -> np.ndarray:
    """Returns float64[n] that orders rows in time, NaN where it is not known.

    Args:
        table: as read.
        header: of a column with dates or numbers.

    Raises:
        DataError: there is no such column, or nothing in it tells earlier from later.
    """
    as_read = _column(table, header, "--time-column")
    if pa.types.is_integer(as_read.type) or pa.types.is_floating(as_read.type):
        moments = pc.cast(as_read, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        moments = np.where(np.isfinite(moments), moments, np.nan)
    elif is_string(as_read) and plain_numbers(count_cells(as_read).without_missing_numbers()) is not None:
        moments = parse_decimals(as_read)  # a counter of rows is no feature, and orders them
    else:
        column = guess_column(header, as_read, table.folder)
        if not isinstance(column, Column) or column.kind not in (ColumnKind.DATETIME, ColumnKind.NUMERIC):
            found = column.kind.value if isinstance(column, Column) else column.reason
            raise DataError(
                f"{table.name}: column {header!r} cannot put the rows in order ({found}); --time-column "
                "takes a column of dates or numbers."
            )
        moments = column_values(column, raw_values(column, as_read))
    if len(np.unique(moments[~np.isnan(moments)])) < 2:
        raise DataError(
            f"{table.name}: column {header!r} has one moment only; --time-column takes a column that tells "
            "earlier rows from later ones."
        )
    return moments


def undated_rows(moments: np.ndarray, header: str | None) -> tuple[str, ...]:
    """Returns a sentence about the rows without a moment; empty where all have one."""
    undated = int(np.count_nonzero(np.isnan(moments)))
    if not undated:
        return ()
    rows, count = ("row has", "counts") if undated == 1 else ("rows have", "count")
    return (f"column {header!r}: {undated:,} {rows} no moment and {count} as the earliest",)


def _column(table: RawTable, header: str, option: str) -> pa.Array:
    if header not in table.columns:
        raise DataError(
            f"{table.name}: there is no column {header!r} for {option}; "
            f"{near_names(header, list(table.columns))}"
        )
    if not is_plain(table.columns[header]):
        raise DataError(
            f"{table.name}: column {header!r} holds {shortened(str(table.columns[header].type))} values, "
            f"which {option} cannot compare; it takes a column of strings, numbers or dates."
        )
    return table.columns[header]
