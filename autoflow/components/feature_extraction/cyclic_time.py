"""Datetimes as points on the circles of day, week, month and year."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from autoflow.components.base import FeatureExtractor, FittedExtractor, LookupTables
from autoflow.components.feature_extraction._datetimes import (
    DAY_SECONDS,
    calendar,
    medians,
    within_calendar,
    within_calendar_graph,
)
from autoflow.components.feature_extraction._numbers import (
    MissingFlags,
    column_means,
    column_scales,
)
from autoflow.components.registry import register
from autoflow.data.schema import ColumnKind, DataProfile

if TYPE_CHECKING:
    import keras_tuner
    import tensorflow as tf

_NUM_CYCLES = 4


@register
@dataclass(frozen=True)
class CyclicTime(FeatureExtractor):
    """Sine and cosine of the time of day, the weekday, the day of the month and the day of the year.

    Midnight lies beside 23:59 and December beside January, which linear models and networks cannot see in
    plain numbers. Cycles that do not vary in training are left out. The day count follows as a trend; a
    missing moment becomes the median moment, with a 0/1 column beside it where missing values were seen.

    Args:
        harmonics: how many multiples of each cycle are given, 1 to 3; more of them draw sharper peaks.
        trend: whether the standardised day count is given too.
    """

    accepts: ClassVar[frozenset[ColumnKind]] = frozenset({ColumnKind.DATETIME})

    harmonics: int = 1
    trend: bool = True

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """Draws harmonics and trend."""
        return cls(
            harmonics=hp.Int("harmonics", 1, 3, default=1),
            trend=hp.Boolean("trend", default=True),
        )

    def fit(self, values: np.ndarray, *, seed: int) -> FittedExtractor:
        """Learns which cycles vary and the scale of the trend."""
        fills = medians(within_calendar(values))
        moments = np.where(np.isnan(values), fills, within_calendar(values))
        phases, days = _phases(moments, np.floor)
        stacked = np.stack(phases, axis=2)
        varies = (stacked != stacked[:1]).any(axis=0)  # [k, cycles]
        per_column = np.tile(varies, (1, 2 * self.harmonics))
        trend = np.full((values.shape[1], 1), self.trend) | ~varies.any(axis=1, keepdims=True)
        kept = np.concatenate([per_column, trend], axis=1)
        means = column_means(days)
        flags = MissingFlags.learn(values, kept.sum(axis=1), wanted=True)
        return FittedCyclicTime(
            fills, self.harmonics, np.flatnonzero(kept), means, column_scales(days, means), flags
        )


def _phases(moments: Any, floor: Callable[[Any], Any]) -> tuple[list[Any], Any]:
    """Returns the phase within each cycle, 0 to 1, and the days since 1970 as fractions."""
    _, _, day, weekday, day_of_year, _, _, _, days = calendar(moments, floor)
    day_share = (moments - days * DAY_SECONDS) / DAY_SECONDS
    return [day_share, weekday / 7.0, (day - 1.0) / 31.0, (day_of_year - 1.0) / 366.0], moments / DAY_SECONDS


@dataclass(frozen=True, eq=False)
class FittedCyclicTime(FittedExtractor):
    """What stands for missing, the places of kept outputs, scales of the trend, indicators."""

    fills: np.ndarray
    harmonics: int
    kept: np.ndarray
    means: np.ndarray
    scales: np.ndarray
    flags: MissingFlags

    @property
    def widths(self) -> tuple[int, ...]:
        """Two for each kept cycle and harmonic, one for the trend, one where missing values were seen."""
        return self.flags.widths

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Returns `float32[n, sum(widths)]`."""
        moments = np.where(np.isnan(values), self.fills, within_calendar(values))
        phases, days = _phases(moments, np.floor)
        waves = []
        for harmonic in range(1, self.harmonics + 1):
            angles = [phase * (2.0 * np.pi * harmonic) for phase in phases]
            waves += [np.sin(angle) for angle in angles] + [np.cos(angle) for angle in angles]
        trend = np.clip((days - self.means) / self.scales, -10.0, 10.0)
        stacked = np.stack([*waves, trend], axis=2)
        flat = stacked.reshape(len(stacked), stacked.shape[1] * stacked.shape[2])
        return self.flags.append(flat[:, self.kept].astype(np.float32), values)

    def graph(self, values: tf.Tensor, tables: LookupTables) -> tf.Tensor:
        """As `transform`."""
        import tensorflow as tf

        moments = within_calendar_graph(values, self.fills)
        phases, days = _phases(moments, tf.floor)
        waves = []
        for harmonic in range(1, self.harmonics + 1):
            angles = [phase * (2.0 * np.pi * harmonic) for phase in phases]
            waves += [tf.sin(angle) for angle in angles] + [tf.cos(angle) for angle in angles]
        trend = tf.clip_by_value((days - self.means) / self.scales, -10.0, 10.0)
        width = len(self.fills) * (2 * self.harmonics * _NUM_CYCLES + 1)
        flat = tf.reshape(tf.stack([*waves, trend], axis=2), [-1, width])
        return self.flags.append_graph(tf.cast(tf.gather(flat, self.kept, axis=1), tf.float32), values)
