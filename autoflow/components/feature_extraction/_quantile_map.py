"""The map of numbers through their empirical distribution, which extractors of numeric columns share.

No component and no hyperparameter may enter this file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from autoflow.components.feature_extraction._numbers import (
    column_quantiles,
    finite_or_missing,
    sampled_rows,
)
from autoflow.components.stored import stored

if TYPE_CHECKING:
    import tensorflow as tf

_MAX_ROWS = 20_000
"""Quantiles of more rows are the same to the third digit, and sorting 1,500 columns takes seconds."""


@dataclass(frozen=True, eq=False)
class QuantileMap:
    """A piecewise linear map a column, constant beyond its knots.

    Args:
        places: `float64[k, m]`, ascending knots, padded with infinity.
        heights: `float64[k, m]`, outputs at the knots.
        slopes: `float64[k, m]`, of the piece that begins at the knot; 0 for the last one.
        last: `float64[k]`, the greatest knot.
    """

    places: np.ndarray
    heights: np.ndarray
    slopes: np.ndarray
    last: np.ndarray

    @classmethod
    def learn(cls, values: np.ndarray, *, num_knots: int, output: str, seed: int) -> QuantileMap:
        """Learns the knots of every column, at most one for two training rows.

        Args:
            values: `float64[n, k]`, NaN where missing.
            num_knots: at most so many a column, 2 or more.
            output: `"normal"` (deviation 1) or `"uniform"` (-1 to 1).
            seed: draws the rows that are looked at where there are many.
        """
        sample = sampled_rows(finite_or_missing(values), _MAX_ROWS, seed)
        num_knots = int(np.clip(num_knots, 2, max(2, len(sample) // 2)))
        probabilities = np.linspace(0.0, 1.0, num_knots)
        knots = column_quantiles(sample, probabilities)
        scores = _scores((np.arange(num_knots) + 0.5) / num_knots, output)
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
        longest = int(counts.max(initial=1))
        last = places[np.arange(num_columns), counts - 1]
        return cls(places[:, :longest].copy(), heights[:, :longest].copy(), slopes[:, :longest].copy(), last)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Returns `float32[n, k]`; missing values become 0, the middle of the distribution."""
        missing = np.isnan(values)
        inside = np.clip(np.where(missing, self.places[:, 0], values), self.places[:, 0], self.last)
        features = np.empty(values.shape, np.float32)
        for column, places in enumerate(self.places):
            piece = np.searchsorted(places, inside[:, column], side="right") - 1
            rise = self.slopes[column, piece] * (inside[:, column] - places[piece])
            features[:, column] = self.heights[column, piece] + rise
        features[missing] = 0.0
        return features

    def graph(self, values: tf.Tensor) -> tf.Tensor:
        """As a call, with one batched search for all columns."""
        import tensorflow as tf

        missing = tf.math.is_nan(values)
        first = self.places[:, 0]
        inside = tf.transpose(tf.clip_by_value(tf.where(missing, first, values), first, self.last))
        places = stored(self.places)
        piece = tf.searchsorted(places, inside, side="right") - 1
        passed = inside - tf.gather(places, piece, batch_dims=1)
        rise = tf.gather(stored(self.slopes), piece, batch_dims=1) * passed
        features = tf.transpose(tf.gather(stored(self.heights), piece, batch_dims=1) + rise)
        return tf.cast(tf.where(missing, tf.constant(0.0, tf.float64), features), tf.float32)


def _scores(probabilities: np.ndarray, output: str) -> np.ndarray:
    if output == "uniform":
        return 2.0 * probabilities - 1.0
    from scipy.special import ndtri

    return ndtri(probabilities)
