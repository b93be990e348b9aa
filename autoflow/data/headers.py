"""The names of columns: what makes them unusable, and what about them deserves a look.

Where the header line of a file begins and ends is a matter of `delimited`.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from autoflow.data.cells import is_string
from autoflow.data.numbers import parse_decimals
from autoflow.errors import DataError, shortened

_JOINERS = "\u200c\u200d"
"""Persian words and emoji are written with these, so that they mean something between other characters."""


def check_headers(name: str, headers: Sequence[str]) -> None:
    """Raises DataError where a header is empty, has no visible character, or occurs twice."""
    repeated = [header for header, count in Counter(headers).items() if count > 1 and _has_name(header)]
    if repeated:
        places = [str(i + 1) for i, header in enumerate(headers) if header == repeated[0]]
        raise DataError(
            f"{name}: the header {repeated[0]!r} occurs {len(places)} times (columns {', '.join(places)}). "
            "Every column needs a name of its own."
        )
    for position, header in enumerate(headers, start=1):
        if _has_name(header):
            continue
        if looks_like_comment(headers):
            raise DataError(
                f"{name}: column {position} of {len(headers)} has no name. {comment_remark(headers)}"
            )
        raise DataError(
            f"{name}: column {position} of {len(headers)} has no name. Give every column a header; "
            + (
                "if the first column is a row index, leave it out when writing (pandas: index=False)."
                if position == 1
                else "if lines end with a delimiter, remove it."
            )
        )


def header_warnings(columns: Mapping[str, pa.Array], label: str) -> tuple[str, ...]:
    """Returns what deserves a look in the headers of a table; empty where all is well.

    Args:
        columns: by header, as read.
        label: header of the label column.
    """
    odd = [header for header in columns if _hides_something(header)]
    found = []
    if odd:
        shown = ", ".join(repr(shortened(header)) for header in odd[:5])
        more = f" and {len(odd) - 5} more" if len(odd) > 5 else ""
        found.append(
            f"invisible characters in headers: {shown}{more}; tables to predict need the very same headers"
        )
    row = _value_like(columns, label)
    if row:
        found.append(
            f"the first line looks like a row and not like headers ({row}); if so, put a line of headers on "
            "top"
        )
    return tuple(found)


def looks_like_comment(record: Sequence[str]) -> bool:
    """Tells whether a line of fields begins as comments do."""
    return record[0].lstrip().startswith("#")


def comment_remark(headers: Sequence[str]) -> str:
    """Returns what to do about a comment in the place of the header."""
    line = shortened(headers[0])
    return f"The first line, {line!r}, is taken for the header; if it is a comment, remove it."


def _has_name(header: str) -> bool:
    return any(not character.isspace() and not _is_invisible(character) for character in header)


def _is_invisible(character: str) -> bool:
    return character != " " and unicodedata.category(character) in ("Cf", "Zs", "Zl", "Zp")


def _hides_something(header: str) -> bool:
    inside = header.strip(_JOINERS)
    return len(inside) < len(header) or any(
        _is_invisible(character) and character not in _JOINERS for character in inside
    )


def _value_like(columns: Mapping[str, pa.Array], label: str) -> str:
    """Returns why the headers look like values; empty where they do not, and for typed columns."""
    headers = list(columns)
    if headers == [str(number) for number in range(len(headers))]:  # a DataFrame without names
        return ""
    if not all(is_string(column) for column in columns.values()):
        return ""
    if not np.isnan(parse_decimals(pa.array(headers, pa.string()))).any():
        return "all of it are numbers"
    values = [
        header
        for header, column in columns.items()
        if pc.index(column, pa.scalar(header, column.type)).as_py() >= 0
    ]
    # a column `airbag` may hold `airbag` and `none`, but few tables have many such columns
    if label in values or len(values) >= max(2, len(headers) / 2):
        return f"{shortened(label if label in values else values[0])!r} is a value of its column, too"
    return ""
