"""Datetimes as the time that has passed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from autoflow.components.base import FeatureExtractor, FittedExtractor, LookupTables
from autoflow.components.feature_extraction._datetimes import (
    DAY_SECONDS,
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
_MAX_DIFFERENCES = 8


@register
@dataclass(frozen=True)
class ElapsedTime(FeatureExtractor):
    """Days since 1970 and the days between the date columns, standardised.

    The time from order to delivery, or from birth to admission, is often what matters when a table has
    several dates. A missing moment becomes the median moment, with a 0/1 column beside it where missing
    values were seen.

    Args:
        differences: whether the days since each earlier column follow, up to the 8 columns before.
    """

    accepts: ClassVar[frozenset[ColumnKind]] = frozenset({ColumnKind.DATETIME})

    differences: bool = True

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """Draws whether differences are given, where there are two columns or more."""
        if len(profile.columns) < 2:
            return cls()
        return cls(differences=hp.Boolean("differences", default=True))

    def fit(self, values: np.ndarray, *, seed: int) -> FittedExtractor:
        """Learns means and deviations of days and differences."""
        num_columns = values.shape[1]
        pairs = [(column, -1) for column in range(num_columns)]
        if self.differences:
            pairs += [
                (column, earlier)
                for column in range(num_columns)
                for earlier in range(max(0, column - _MAX_DIFFERENCES), column)
            ]
        pairs.sort()
        laters, earliers = np.array(pairs, np.int64).reshape(-1, 2).T
        fills = medians(within_calendar(values))
        moments = np.where(np.isnan(values), fills, within_calendar(values))
        days = _days(moments, laters, earliers)
        means = column_means(days)
        flags = MissingFlags.learn(values, np.bincount(laters, minlength=num_columns), wanted=True)
        return FittedElapsedTime(fills, laters, earliers, means, column_scales(days, means), flags)


def _days(moments: np.ndarray, laters: np.ndarray, earliers: np.ndarray) -> np.ndarray:
    padded = np.concatenate([moments, np.zeros((len(moments), 1))], axis=1)  # the last stands for 1970
    return (padded[:, laters] - padded[:, earliers]) / DAY_SECONDS


@dataclass(frozen=True, eq=False)
class FittedElapsedTime(FittedExtractor):
    """What stands for missing, which columns are subtracted (-1 for none), scale and indicators."""

    fills: np.ndarray
    laters: np.ndarray
    earliers: np.ndarray
    means: np.ndarray
    scales: np.ndarray
    flags: MissingFlags

    @property
    def widths(self) -> tuple[int, ...]:
        """One a column, one for each earlier column, one where missing values were seen."""
        return self.flags.widths

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Returns `float32[n, sum(widths)]`."""
        moments = np.where(np.isnan(values), self.fills, within_calendar(values))
        days = _days(moments, self.laters, self.earliers)
        scaled = np.clip((days - self.means) / self.scales, -_LIMIT, _LIMIT)
        return self.flags.append(scaled.astype(np.float32), values)

    def graph(self, values: tf.Tensor, tables: LookupTables) -> tf.Tensor:
        """As `transform`."""
        import tensorflow as tf

        moments = within_calendar_graph(values, self.fills)
        padded = tf.pad(moments, [[0, 0], [0, 1]])
        earliers = np.where(self.earliers < 0, len(self.fills), self.earliers)
        days = (tf.gather(padded, self.laters, axis=1) - tf.gather(padded, earliers, axis=1)) / DAY_SECONDS
        scaled = tf.clip_by_value((days - self.means) / self.scales, -_LIMIT, _LIMIT)
        return self.flags.append_graph(tf.cast(scaled, tf.float32), values)
