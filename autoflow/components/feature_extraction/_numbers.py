"""What the extractors of numeric columns share: safe statistics, quantiles and missing indicators.

Everything works on whole `[n, k]` matrices, so that 1,500 columns cost a handful of operations. No component
and no hyperparameter may enter this file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

LIMIT = 1e150
"""Values are clipped to this size first: squares and sums of them stay finite in float64."""

FLOAT32_LIMIT = 3e38
"""Largest size of a prepared feature; float32 ends at 3.4e38."""

_ENOUGH_MISSING_SHARE, _ENOUGH_MISSING = 0.01, 5
"""Missing values that make an indicator: a share of the rows, or so many where that is fewer."""


def finite_or_missing(values: np.ndarray) -> np.ndarray:
    """Returns a copy where infinities count as missing and sizes stay within `LIMIT`; for fitting only."""
    return np.clip(np.where(np.isfinite(values), values, np.nan), -LIMIT, LIMIT)


def column_means(values: np.ndarray) -> np.ndarray:
    """Returns `float64[k]` means of the values present, 0 for a column without any."""
    present = ~np.isnan(values)
    total = np.where(present, values, 0.0).sum(axis=0)
    return total / np.maximum(present.sum(axis=0), 1)


def column_scales(values: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Returns `float64[k]` standard deviations of the values present, 1 for constant and empty columns."""
    present = ~np.isnan(values)
    squares = np.square(np.where(present, values - means, 0.0)).sum(axis=0)
    deviations = np.sqrt(squares / np.maximum(present.sum(axis=0), 1))
    lowest, highest = column_ranges(values)
    return np.where((highest > lowest) & (deviations > 0), deviations, 1.0)


def column_ranges(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the least and the greatest value present, `float64[k]` each; 0 for a column without any."""
    present = ~np.isnan(values)
    some = present.any(axis=0)
    lowest = np.where(present, values, np.inf).min(axis=0, initial=np.inf)
    highest = np.where(present, values, -np.inf).max(axis=0, initial=-np.inf)
    return np.where(some, lowest, 0.0), np.where(some, highest, 0.0)


def column_quantiles(values: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Returns `float64[len(probabilities), k]`: observed values nearest to the quantiles; 0 where none is.

    Args:
        values: `float64[n, k]`, NaN where missing.
        probabilities: between 0 and 1, ascending.
    """
    if not len(values):
        return np.zeros((len(probabilities), values.shape[1]))
    ordered = np.sort(values, axis=0)  # NaN goes last
    counts = (~np.isnan(ordered)).sum(axis=0)
    places = np.rint(probabilities[:, None] * np.maximum(counts - 1, 0)).astype(np.int64)
    return np.where(counts > 0, np.take_along_axis(ordered, places, axis=0), 0.0)


def sampled_rows(values: np.ndarray, limit: int, seed: int) -> np.ndarray:
    """Returns all rows, or `limit` of them drawn without replacement."""
    if len(values) <= limit:
        return values
    return values[np.sort(np.random.default_rng(seed).choice(len(values), limit, replace=False))]


@dataclass(frozen=True, eq=False)
class MissingFlags:
    """Appends a 0/1 column behind the features of each column of which enough was missing in training.

    One row in a hundred is enough, and five rows always are. Of fewer, a model would learn the labels by
    heart, and one fold of the rows would have the indicator where the next has not.

    Args:
        columns: `int64[m]`, the source columns that get an indicator.
        order: `int64[d]`, for each output its place in `[features | indicators]`.
        widths: outputs of each source column, its indicator included.
    """

    columns: np.ndarray
    order: np.ndarray
    widths: tuple[int, ...]

    @classmethod
    def learn(cls, values: np.ndarray, widths: np.ndarray, *, wanted: bool) -> MissingFlags:
        """Looks for missing values.

        Args:
            values: `float64[n, k]`, NaN where missing.
            widths: `int64[k]`, features of each source column without the indicator.
            wanted: False for no indicators at all.
        """
        enough = np.clip(_ENOUGH_MISSING_SHARE * len(values), 1, _ENOUGH_MISSING)
        flagged = (np.isnan(values).sum(axis=0) >= enough) & wanted
        columns = np.flatnonzero(flagged)
        sources = np.concatenate([np.repeat(np.arange(len(widths)), widths), columns])
        order = np.argsort(sources, kind="stable")
        return cls(columns, order, tuple(int(width) for width in widths + flagged))

    def append(self, features: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Returns `float32[n, sum(widths)]` from the features of all columns side by side."""
        if not len(self.columns):
            return features
        flags = np.isnan(values[:, self.columns]).astype(np.float32)
        return np.take(np.concatenate([features, flags], axis=1), self.order, axis=1)

    def append_graph(self, features: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
        """As `append`, in TensorFlow."""
        import tensorflow as tf

        if not len(self.columns):
            return features
        flags = tf.cast(tf.math.is_nan(tf.gather(values, self.columns, axis=1)), tf.float32)
        return tf.gather(tf.concat([features, flags], axis=1), self.order, axis=1)
