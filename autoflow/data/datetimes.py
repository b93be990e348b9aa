"""Date formats: recognised, ranked and parsed to seconds since 1970, in Arrow and in TensorFlow alike.

A format is one RE2 pattern whose rewriting turns any matching string into eleven fields; the arithmetic
after that is one function for NumPy arrays and tensors. There is no time zone but a written offset.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

FIELD_SEPARATOR = "|"
NUM_NUMBERS = 9
"""Fields that are numbers: year, month, day, hour, minute, second, sign, offset hours, offset minutes."""
NUM_FIELDS = 11
"""All fields: the numbers, then the name of the month and A or P for half-days."""
MISSING_FIELDS = "1|1|1|0|0|0|1|0|0||"
"""Stands in for strings that do not match, so that every row splits into the same number of fields."""
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

_YEAR, _SHORT_YEAR = r"([12][0-9]{3})", r"([12][0-9]{3}|[0-9]{2})"
_MONTH, _DAY = r"(1[0-2]|0?[1-9])", r"([12][0-9]|3[01]|0?[1-9])"
_NAME = (
    r"((?i:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?))"
)
_WEEKDAY = r"(?:(?i:mon|tue|wed|thu|fri|sat|sun)[a-zA-Z]{0,6},?\s+)?"
_CLOCK = r"(2[0-3]|[01]?[0-9]):([0-5][0-9])(?::([0-5][0-9](?:\.[0-9]{1,12})?))?"
_OFFSET = r"(?:Z|z|UTC|GMT|([+-])([01][0-9]):?([0-5][0-9])?)?"
_TIME_WITH_OFFSET = rf"(?:(?:[T_]|\s+){_CLOCK}\s*{_OFFSET})?"
_TIME_WITH_HALF_DAY = rf"(?:,?\s+(?:at\s+)?{_CLOCK}\s*(?:([aApP])\.?[mM]\.?)?)?"


@dataclass(frozen=True)
class DatetimeFormat:
    """One way to write dates, each with an optional time of day.

    Args:
        name: as in `Column.datetime_format`.
        example: for messages.
        pattern: RE2 pattern that the whole string must match.
        rewrite: RE2 replacement that gives the eleven fields.
        ambiguous_with: name of the format that reads the same strings as other dates.
    """

    name: str
    example: str
    pattern: str
    rewrite: str
    ambiguous_with: str = ""

    @property
    def has_month_names(self) -> bool:
        """Whether months are words."""
        return "name" in self.name

    @property
    def has_half_days(self) -> bool:
        """Whether the time of day may be followed by AM or PM."""
        return self.rewrite.endswith(r"\7")


def _format(
    name: str, example: str, date: str, fields: str, *, offset: bool = False, ambiguous_with: str = ""
) -> DatetimeFormat:
    """Makes a format whose date has three groups, with the time in groups 4 to 9 (offset) or 4 to 7."""
    # a rewriting knows groups of one digit only: \71 is group 7 and the digit 1, a sign of its own
    clock = r"0\4|0\5|0\6|\71|0\8|0\9" if offset else r"0\4|0\5|0\6|1|0|0"
    time = _TIME_WITH_OFFSET if offset else _TIME_WITH_HALF_DAY
    date_fields, names = fields.split(";")
    rewrite = f"{date_fields}|{clock}|{names}|" + ("" if offset else r"\7")
    return DatetimeFormat(name, example, rf"^\s*{date}{time}\s*$", rewrite, ambiguous_with)


_ALL = (
    _format(
        "year-month-day", "2020-01-31", rf"{_YEAR}[-/.]{_MONTH}[-/.]{_DAY}", r"\1|0\2|0\3;", offset=True
    ),
    _format(
        "day/month/year", "31/01/2020", rf"{_DAY}[-/.]{_MONTH}[-/.]{_SHORT_YEAR}", r"\3|0\2|0\1;",
        ambiguous_with="month/day/year",
    ),
    _format(
        "month/day/year", "01/31/2020", rf"{_MONTH}[-/.]{_DAY}[-/.]{_SHORT_YEAR}", r"\3|0\1|0\2;",
        ambiguous_with="day/month/year",
    ),
    _format(
        "month name day year", "Jan 31, 2020",
        rf"{_WEEKDAY}{_NAME}\.?[\s-]+{_DAY}(?:st|nd|rd|th)?(?:,\s*|[\s-]+){_YEAR}", r"\3|0|0\2;\1",
    ),
    _format(
        "day month name year", "31-Jan-2020",
        rf"{_WEEKDAY}{_DAY}(?:st|nd|rd|th)?[.]?[\s/-]*{_NAME}\.?,?[\s/-]*{_SHORT_YEAR}", r"\3|0|0\1;\2",
    ),
    _format(
        "yearmonthday", "20200131", rf"{_YEAR}(0[1-9]|1[0-2])([0-2][0-9]|3[01])", r"\1|0\2|0\3;", offset=True
    ),
)  # fmt: skip

DATETIME_FORMATS: Mapping[str, DatetimeFormat] = MappingProxyType({form.name: form for form in _ALL})
"""All formats by name, the ones tried first in front."""


def seconds_since_1970(
    numbers: Sequence[Any], name_month: Any, half_day: Any, where: Callable[[Any, Any, Any], Any]
) -> Any:
    """Returns the seconds of a date as float64, NaN for a day that does not exist such as 30 February.

    The same arithmetic serves NumPy arrays and tensors. Days are counted by the proleptic Gregorian
    calendar, with years that begin in March (the method of H. Hinnant, "chrono-compatible low-level date
    algorithms").

    Args:
        numbers: the nine number fields, each float64 of one shape.
        name_month: month by its name, 1 to 12 (float64), 0 where the month is a number.
        half_day: 1.0 for AM, 2.0 for PM, 0.0 where the clock has 24 hours.
        where: `np.where` or `tf.where`.
    """
    year, month, day, hour, minute, second, sign, offset_hours, offset_minutes = numbers
    year = where(year < 69, year + 2000, where(year < 100, year + 1900, year))
    month = month + name_month
    hour = where(half_day > 0, hour % 12 + 12 * (half_day - 1), hour)
    leap = where(((year % 4 == 0) & (year % 100 != 0)) | (year % 400 == 0), year * 0 + 1, year * 0)
    month_days = where(month == 2, 28 + leap, 30 + (month + month // 8) % 2)
    from_march = (month + 9) % 12
    past = year - from_march // 10
    days = 365 * past + past // 4 - past // 100 + past // 400 + (from_march * 306 + 5) // 10 + day - 719469
    offset = sign * (offset_hours * 3600 + offset_minutes * 60)
    seconds = days * 86400 + hour * 3600 + minute * 60 + second - offset
    return where((day <= month_days) & (day > 0), seconds, seconds * 0 + np.nan)


def parse_datetimes(strings: pa.Array, form: DatetimeFormat) -> np.ndarray:
    """Returns seconds since 1970-01-01 (UTC where an offset is written) as float64[n], NaN where unreadable.

    >>> parse_datetimes(pa.array(["1970-01-02", "2021-02-30", "soon"]), DATETIME_FORMATS["year-month-day"])
    array([86400.,    nan,    nan])
    """
    matches = pc.fill_null(pc.match_substring_regex(strings, form.pattern), False)
    if not pc.any(matches).as_py():
        return np.full(len(strings), np.nan)
    rewritten = pc.replace_substring_regex(strings, form.pattern, form.rewrite)
    rewritten = pc.if_else(matches, rewritten, MISSING_FIELDS)
    fields = pc.split_pattern(rewritten, FIELD_SEPARATOR).flatten()
    table = [fields.take(pa.array(np.arange(i, len(fields), NUM_FIELDS))) for i in range(NUM_FIELDS)]
    numbers = [pc.cast(field, pa.float64()).to_numpy(zero_copy_only=False) for field in table[:NUM_NUMBERS]]
    month = pc.index_in(pc.utf8_slice_codeunits(pc.ascii_lower(table[9]), 0, 3), pa.array(MONTHS))
    name_month = pc.fill_null(pc.cast(month, pa.float64()), -1.0).to_numpy(zero_copy_only=False) + 1
    half = pc.index_in(pc.ascii_lower(table[10]), pa.array(["a", "p"]))
    half_day = pc.fill_null(pc.cast(half, pa.float64()), -1.0).to_numpy(zero_copy_only=False) + 1
    seconds = seconds_since_1970(numbers, name_month, half_day, np.where)
    return np.where(matches.to_numpy(zero_copy_only=False), seconds, np.nan)
