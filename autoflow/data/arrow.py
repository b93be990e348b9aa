"""Brings Arrow and DataFrame columns to the few types that the rest of the data code knows.

As read, a column is a string, int64, double or boolean Arrow array (null where missing), or something nested
that inference leaves out, or the bytes of pictures. Reading files happens elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    import pandas as pd

_TWO_GIBIBYTES = 2**31 - 1


def plain_column(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """Returns the column as one string, int64, double or boolean array where it can be one.

    Dates and times become ISO strings (UTC where they have a zone), durations seconds, dictionaries their
    values; structs of bytes and a path, in which some tools keep pictures, their bytes, or their paths where
    there are no bytes at all. Lists, other structs and binary values come back as they are.
    """
    kind = column.type
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        return plain_column(_pictures_of(column))
    if pa.types.is_dictionary(kind):
        return plain_column(pc.cast(column, kind.value_type))
    if pa.types.is_string(kind) and column.nbytes > _TWO_GIBIBYTES:
        column = pc.cast(column, pa.large_string())
    elif pa.types.is_binary(kind) and column.nbytes > _TWO_GIBIBYTES:
        column = pc.cast(column, pa.large_binary())
    elif pa.types.is_uint64(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        column = pc.cast(column, pa.float64(), safe=False)
    elif pa.types.is_integer(kind):
        column = pc.cast(column, pa.int64())
    elif pa.types.is_timestamp(kind):
        column = _moments(column)
    elif pa.types.is_duration(kind):
        column = pc.divide(pc.cast(pc.cast(column, pa.duration("us"), safe=False), pa.int64()), 1e6)
    elif pa.types.is_temporal(kind) or pa.types.is_null(kind) or kind == pa.string_view():
        column = pc.cast(column, pa.string())
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    return column


def _moments(column: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray | pa.Array:
    zone = column.type.tz
    try:
        column = pc.cast(column, options=pc.CastOptions(pa.timestamp("us", zone), allow_time_truncate=True))
    except pa.ArrowInvalid:  # beyond the year 294,246
        return pc.cast(column, pa.string())
    return pc.strftime(column, "%Y-%m-%dT%H:%M:%S%z") if zone else pc.cast(column, pa.string())


def _pictures_of(structs: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray | pa.Array:
    content = pc.struct_field(structs, "bytes")
    if content.null_count < len(content) or structs.type.get_field_index("path") < 0:
        return content
    return pc.struct_field(structs, "path")


def plain_series(series: pd.Series) -> pa.Array:
    """Returns a DataFrame column as an Arrow array, NaN, None, NaT and pd.NA as null.

    A column of mixed Python objects becomes strings.
    """
    import pandas as pd

    if isinstance(series.dtype, pd.PeriodDtype):
        series = series.dt.to_timestamp()
    elif isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(series.cat.categories.dtype if not series.hasnans else object)
    if isinstance(series.dtype, pd.IntervalDtype):  # as text whether there is a missing one or not
        series = series.astype(object)
    try:
        return plain_column(pa.Array.from_pandas(series))
    except (
        pa.ArrowInvalid,
        pa.ArrowTypeError,
        pa.ArrowNotImplementedError,
        OverflowError,  # whole numbers of more than 64 bits
        UnicodeEncodeError,
    ):
        missing = series.isna().to_numpy()
        texts = [
            None if gone else str(value).encode("utf-8", "replace").decode()
            for value, gone in zip(series, missing, strict=True)
        ]
        return pa.array(texts, pa.string())
