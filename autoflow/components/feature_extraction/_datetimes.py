"""The calendar of moments given as seconds since 1970-01-01, written once for NumPy and for TensorFlow.

The functions use `+ - * /` and a floor function only, in float64, so that both libraries give the same bits.
No component and no hyperparameter may enter this file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

DAY_SECONDS = 86_400.0

FIRST_SECOND = -62_135_596_800.0
"""0001-01-01 00:00:00."""

LAST_SECOND = 253_402_300_799.0
"""9999-12-31 23:59:59."""

PARTS = (
    "year",
    "month",
    "day",
    "weekday",
    "day_of_year",
    "hour",
    "minute",
    "second",
    "days",
)
"""Names of what `calendar` returns, in order; "days" are whole days since 1970-01-01."""


def within_calendar(values: np.ndarray) -> np.ndarray:
    """Returns the values clipped to the years 1 to 9999 and rounded to milliseconds; NaN stays NaN.

    TensorFlow takes the smallest numbers for zero, and a moment just before a midnight would differ by a day.
    """
    return np.rint(np.clip(values, FIRST_SECOND, LAST_SECOND) * 1000.0) / 1000.0


def within_calendar_graph(values: tf.Tensor, fills: np.ndarray) -> tf.Tensor:
    """As `within_calendar`, with `fills` (`float64[k]`) where a value is missing."""
    import tensorflow as tf

    rounded = tf.round(tf.clip_by_value(values, FIRST_SECOND, LAST_SECOND) * 1000.0) / 1000.0
    return tf.where(tf.math.is_nan(values), fills, rounded)


def medians(values: np.ndarray) -> np.ndarray:
    """Returns `float64[k]`, an observed middle value of each column, 0 (1970) for a column without values."""
    counts = (~np.isnan(values)).sum(axis=0)
    if not len(values):
        return np.zeros(values.shape[1])
    middle = np.take_along_axis(np.sort(values, axis=0), (np.maximum(counts, 1) - 1)[None] // 2, axis=0)[0]
    return np.where(counts > 0, middle, 0.0)


def calendar(seconds: Any, floor: Callable[[Any], Any]) -> tuple[Any, ...]:
    """Returns the parts named in `PARTS` as float64 of the same shape.

    The civil calendar from days follows Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms": years
    begin in March, so that the leap day is the last day.

    Args:
        seconds: float64 array or tensor of finite seconds since 1970-01-01, from year 1 to 9999.
        floor: `numpy.floor` or `tensorflow.floor`.

    Returns:
        Month 1 to 12, day 1 to 31, weekday 0 (Monday) to 6, day of year 1 to 366, hour 0 to 23, minute and
        second 0 to 59, days since 1970-01-01.
    """
    days = floor(seconds / DAY_SECONDS)
    second_of_day = floor(seconds - days * DAY_SECONDS)
    shifted = days + 719_468.0
    era = floor(shifted / 146_097.0)
    day_of_era = shifted - era * 146_097.0
    leap_days = floor(day_of_era / 1460.0) - floor(day_of_era / 36_524.0) + floor(day_of_era / 146_096.0)
    year_of_era = floor((day_of_era - leap_days) / 365.0)
    day_of_march_year = day_of_era - (
        365.0 * year_of_era + floor(year_of_era / 4.0) - floor(year_of_era / 100.0)
    )
    march_month = floor((5.0 * day_of_march_year + 2.0) / 153.0)
    day = day_of_march_year - floor((153.0 * march_month + 2.0) / 5.0) + 1.0
    next_year = floor(march_month / 10.0)
    month = march_month + 3.0 - 12.0 * next_year
    year = year_of_era + era * 400.0 + next_year
    past = year - 1.0
    new_year = 365.0 * past + floor(past / 4.0) - floor(past / 100.0) + floor(past / 400.0) - 719_162.0
    weekday = days + 3.0 - 7.0 * floor((days + 3.0) / 7.0)
    hour = floor(second_of_day / 3600.0)
    minute = floor(second_of_day / 60.0) - 60.0 * hour
    second = second_of_day - 60.0 * floor(second_of_day / 60.0)
    return year, month, day, weekday, days - new_year + 1.0, hour, minute, second, days
