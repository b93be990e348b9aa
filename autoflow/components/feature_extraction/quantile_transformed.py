"""Numbers by their rank among the training values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from autoflow.components.base import FeatureExtractor, FittedExtractor, LookupTables
from autoflow.components.feature_extraction._numbers import (
    MissingFlags,
    column_quantiles,
    finite_or_missing,
    sampled_rows,
)
from autoflow.components.registry import register
from autoflow.data.schema import ColumnKind, DataProfile

if TYPE_CHECKING:
    import keras_tuner
    import tensorflow as tf

_MAX_ROWS = 20_000
"""Quantiles of more rows are the same to the third digit, and sorting 1,500 columns takes seconds."""


@register
@dataclass(frozen=True)
class QuantileTransformed(FeatureExtractor):
    """Numbers mapped through their empirical distribution to a normal or uniform one; outliers lose force.

    Between the learned knots the map is linear, beyond them constant; a value that repeats gets its mean rank
    (as scikit-learn's QuantileTransformer, after Conover 1999). The strongest plain input for networks.

    Args:
        num_knots: 10 to 1,000.
        output: `"normal"` (deviation 1) or `"uniform"` (-1 to 1).
        missing_indicators: whether columns with missing training values get a 0/1 column beside them.
    """

    accepts: ClassVar[frozenset[ColumnKind]] = frozenset({ColumnKind.NUMERIC})

    num_knots: int = 250
    output: str = "normal"
    missing_indicators: bool = True

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """Draws the number of knots and the distribution."""
        return cls(
            num_knots=hp.Int("num_knots", 10, 1000, sampling="log", default=250),
            output=hp.Choice("output", ["normal", "uniform"], default="normal"),
        )

    def fit(self, values: np.ndarray, *, seed: int) -> FittedExtractor:
        """Learns the knots of every column, at most one for two training rows."""
        sample = sampled_rows(finite_or_missing(values), _MAX_ROWS, seed)
        num_knots = int(np.clip(self.num_knots, 2, max(2, len(sample) // 2)))
        probabilities = np.linspace(0.0, 1.0, num_knots)
        knots = column_quantiles(sample, probabilities)
        scores = _scores((np.arange(num_knots) + 0.5) / num_knots, self.output)
        num_columns = values.shape[1]
        places = np.full((num_columns, num_knots), np.inf)
        heights = np.zeros((num_columns, num_knots))
        slopes = np.zeros((num_columns, num_knots))
        counts = np.ones(num_columns, np.int64)
        for column in range(num_columns):
            distinct, inverse, repeats = np.unique(knots[:, column], return_inverse=True, return_counts=True)
            height = np.bincount(inverse, weights=scores) / repeats
            counts[column] = len(distinct)
            places[column, : len(distinct)] = distinct
            heights[column, : len(distinct)] = height
            slopes[column, : len(distinct) - 1] = np.diff(height) / np.maximum(np.diff(distinct), 1e-300)
        ones = np.ones(num_columns, np.int64)
        flags = MissingFlags.learn(values, ones, wanted=self.missing_indicators)
        longest = int(counts.max(initial=1))
        last = places[np.arange(num_columns), counts - 1]
        return FittedQuantileTransformed(
            places[:, :longest].copy(), heights[:, :longest].copy(), slopes[:, :longest].copy(), last, flags
        )


def _scores(probabilities: np.ndarray, output: str) -> np.ndarray:
    if output == "uniform":
        return 2.0 * probabilities - 1.0
    from scipy.special import ndtri

    return ndtri(probabilities)


@dataclass(frozen=True, eq=False)
class FittedQuantileTransformed(FittedExtractor):
    """A piecewise linear map a column.

    Args:
        places: `float64[k, m]`, ascending knots, padded with infinity.
        heights: `float64[k, m]`, outputs at the knots.
        slopes: `float64[k, m]`, of the piece that begins at the knot; 0 for the last one.
        last: `float64[k]`, the greatest knot.
        flags: missing indicators.
    """

    places: np.ndarray
    heights: np.ndarray
    slopes: np.ndarray
    last: np.ndarray
    flags: MissingFlags

    @property
    def widths(self) -> tuple[int, ...]:
        """One a column, two where missing values were seen."""
        return self.flags.widths

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Returns `float32[n, sum(widths)]`; missing values become 0, the middle of the distribution."""
        missing = np.isnan(values)
        inside = np.clip(np.where(missing, self.places[:, 0], values), self.places[:, 0], self.last)
        features = np.empty(values.shape, np.float32)
        for column, places in enumerate(self.places):
            piece = np.searchsorted(places, inside[:, column], side="right") - 1
            rise = self.slopes[column, piece] * (inside[:, column] - places[piece])
            features[:, column] = self.heights[column, piece] + rise
        features[missing] = 0.0
        return self.flags.append(features, values)

    def graph(self, values: tf.Tensor, tables: LookupTables) -> tf.Tensor:
        """As `transform`, with one batched search for all columns."""
        import tensorflow as tf

        missing = tf.math.is_nan(values)
        first = self.places[:, 0]
        inside = tf.transpose(tf.clip_by_value(tf.where(missing, first, values), first, self.last))
        places = tf.constant(self.places)
        piece = tf.searchsorted(places, inside, side="right") - 1
        passed = inside - tf.gather(places, piece, batch_dims=1)
        rise = tf.gather(self.slopes, piece, batch_dims=1) * passed
        features = tf.transpose(tf.gather(self.heights, piece, batch_dims=1) + rise)
        features = tf.where(missing, tf.constant(0.0, tf.float64), features)
        return self.flags.append_graph(tf.cast(features, tf.float32), values)
