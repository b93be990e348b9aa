"""Datetimes as year, month, day, weekday, hour and the like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from autoflow.components.base import FeatureExtractor, FittedExtractor, LookupTables
from autoflow.components.feature_extraction._datetimes import (
    PARTS,
    calendar,
    medians,
    within_calendar,
    within_calendar_graph,
)
from autoflow.components.feature_extraction._numbers import MissingFlags, column_means, column_scales
from autoflow.components.registry import register
from autoflow.data.schema import ColumnKind, DataProfile

if TYPE_CHECKING:
    import keras_tuner
    import tensorflow as tf

_LIMIT = 10.0
"""Prepared parts are clipped to this many standard deviations."""


@register
@dataclass(frozen=True)
class CalendarParts(FeatureExtractor):
    """Year, month, day, weekday, day of year, hour, minute, second and the day count, standardised.

    Only parts that vary in training are kept. A missing moment becomes the median moment, with a 0/1 column
    beside it where missing values were seen. Made for trees, which find seasons and office hours by splits.

    Args:
        fine: whether minute and second are kept as well.
    """

    accepts: ClassVar[frozenset[ColumnKind]] = frozenset({ColumnKind.DATETIME})

    fine: bool = True

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """Draws whether minutes and seconds count."""
        return cls(fine=hp.Boolean("fine", default=True))

    def fit(self, values: np.ndarray, *, seed: int) -> FittedExtractor:
        """Learns which parts vary, and their means and deviations."""
        fills = medians(within_calendar(values))
        moments = np.where(np.isnan(values), fills, within_calendar(values))
        parts = np.stack(calendar(moments, np.floor), axis=2)  # [n, k, parts]
        varies = (parts != parts[:1]).any(axis=0)
        if not self.fine:
            varies[:, [PARTS.index("minute"), PARTS.index("second")]] = False
        varies[~varies.any(axis=1), PARTS.index("days")] = True
        flat = parts.reshape(len(parts), parts.shape[1] * parts.shape[2])[:, varies.ravel()]
        means = column_means(flat)
        flags = MissingFlags.learn(values, varies.sum(axis=1), wanted=True)
        return FittedCalendarParts(fills, np.flatnonzero(varies), means, column_scales(flat, means), flags)


@dataclass(frozen=True, eq=False)
class FittedCalendarParts(FittedExtractor):
    """What stands for missing, the places of the kept parts in `[k * parts]`, their scale, and indicators."""

    fills: np.ndarray
    kept: np.ndarray
    means: np.ndarray
    scales: np.ndarray
    flags: MissingFlags

    @property
    def widths(self) -> tuple[int, ...]:
        """The kept parts of each column, and one more where missing values were seen."""
        return self.flags.widths

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Returns `float32[n, sum(widths)]`."""
        moments = np.where(np.isnan(values), self.fills, within_calendar(values))
        parts = np.stack(calendar(moments, np.floor), axis=2)
        flat = parts.reshape(len(parts), parts.shape[1] * parts.shape[2])
        scaled = np.clip((flat[:, self.kept] - self.means) / self.scales, -_LIMIT, _LIMIT)
        return self.flags.append(scaled.astype(np.float32), values)

    def graph(self, values: tf.Tensor, tables: LookupTables) -> tf.Tensor:
        """As `transform`."""
        import tensorflow as tf

        moments = within_calendar_graph(values, self.fills)
        parts = tf.stack(calendar(moments, tf.floor), axis=2)
        flat = tf.reshape(parts, [-1, len(self.fills) * len(PARTS)])
        scaled = (tf.gather(flat, self.kept, axis=1) - self.means) / self.scales
        clipped = tf.clip_by_value(scaled, -_LIMIT, _LIMIT)
        return self.flags.append_graph(tf.cast(clipped, tf.float32), values)
