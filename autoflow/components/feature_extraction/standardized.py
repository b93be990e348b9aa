"""Numbers with mean 0 and deviation 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from autoflow.components.base import FeatureExtractor, FittedExtractor, LookupTables
from autoflow.components.feature_extraction._numbers import (
    LIMIT,
    MissingFlags,
    column_means,
    column_scales,
    finite_or_missing,
)
from autoflow.components.registry import register
from autoflow.data.schema import ColumnKind, DataProfile

if TYPE_CHECKING:
    import keras_tuner
    import tensorflow as tf


@register
@dataclass(frozen=True)
class Standardized(FeatureExtractor):
    """Numbers minus their training mean, divided by their standard deviation; missing ones become the mean.

    The usual choice for linear models and networks when columns have no heavy tails.

    Args:
        limit: outliers are clipped to this many standard deviations, 2 to 20.
        missing_indicators: whether columns that miss enough training values get a 0/1 column beside them.
    """

    accepts: ClassVar[frozenset[ColumnKind]] = frozenset({ColumnKind.NUMERIC})

    limit: float = 6.0
    missing_indicators: bool = True

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """Draws the clipping limit; indicators are always worth their column."""
        return cls(limit=hp.Float("limit", 2.0, 20.0, sampling="log", default=6.0))

    def fit(self, values: np.ndarray, *, seed: int) -> FittedExtractor:
        """Learns means, deviations and which columns miss enough values."""
        usable = finite_or_missing(values)
        means = column_means(usable)
        ones = np.ones(values.shape[1], np.int64)
        flags = MissingFlags.learn(values, ones, wanted=self.missing_indicators)
        return FittedStandardized(means, column_scales(usable, means), self.limit, flags)


@dataclass(frozen=True, eq=False)
class FittedStandardized(FittedExtractor):
    """Means and deviations `float64[k]`, the clipping limit and the indicators."""

    means: np.ndarray
    scales: np.ndarray
    limit: float
    flags: MissingFlags

    @property
    def widths(self) -> tuple[int, ...]:
        """One a column, two where enough was missing."""
        return self.flags.widths

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Returns `float32[n, sum(widths)]` between `-limit` and `limit`."""
        filled = np.where(np.isnan(values), self.means, np.clip(values, -LIMIT, LIMIT))
        scaled = np.clip((filled - self.means) / self.scales, -self.limit, self.limit)
        return self.flags.append(scaled.astype(np.float32), values)

    def graph(self, values: tf.Tensor, tables: LookupTables) -> tf.Tensor:
        """As `transform`."""
        import tensorflow as tf

        filled = tf.where(tf.math.is_nan(values), self.means, tf.clip_by_value(values, -LIMIT, LIMIT))
        scaled = tf.clip_by_value((filled - self.means) / self.scales, -self.limit, self.limit)
        return self.flags.append_graph(tf.cast(scaled, tf.float32), values)
