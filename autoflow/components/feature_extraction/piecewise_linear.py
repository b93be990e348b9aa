"""Numbers as how far they have passed through each of their bins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from autoflow.components.base import FeatureExtractor, FittedExtractor, LookupTables
from autoflow.components.feature_extraction._numbers import (
    LIMIT,
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
_MAX_COLUMNS = 250
_BLOCK_VALUES = 4_000_000
"""Float64 values held at once while rows are encoded: 32 MB."""


@register
@dataclass(frozen=True)
class PiecewiseLinear(FeatureExtractor):
    """Piecewise linear encoding: one feature a quantile bin, 0 before it, 1 behind it and linear within.

    A network or a linear model bends at the bin edges then, as trees do (Gorishniy, Rubachev and Babenko,
    "On Embeddings for Numerical Features in Tabular Deep Learning", NeurIPS 2022). A missing value is
    encoded as the median.

    Args:
        num_bins: bins a column, 2 to 64; fewer where the column has fewer distinct values.
        missing_indicators: whether columns that miss enough training values get a 0/1 column beside them.
    """

    accepts: ClassVar[frozenset[ColumnKind]] = frozenset({ColumnKind.NUMERIC})

    num_bins: int = 16
    missing_indicators: bool = True

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """Draws the number of bins; less than 5,000 features for all columns together."""
        most = int(np.clip(5000 // max(1, len(profile.columns)), 8, 64))
        return cls(num_bins=hp.Int("num_bins", 2, most, sampling="log", default=min(16, most)))

    @classmethod
    def supports(cls, profile: DataProfile) -> bool:
        """Up to 250 columns: the encoding widens the features many times."""
        return len(profile.columns) <= _MAX_COLUMNS

    def fit(self, values: np.ndarray, *, seed: int) -> FittedExtractor:
        """Learns quantile edges without repeats."""
        sample = sampled_rows(finite_or_missing(values), _MAX_ROWS, seed)
        quantiles = column_quantiles(sample, np.linspace(0.0, 1.0, max(self.num_bins, 1) + 1))
        starts, sizes, widths = [], [], []
        for column in range(values.shape[1]):
            edges = np.unique(quantiles[:, column])
            if len(edges) == 1:
                edges = np.array([edges[0], edges[0] + max(1.0, abs(edges[0]))])
            starts.append(edges[:-1])
            sizes.append(np.diff(edges))
            widths.append(len(edges) - 1)
        medians = column_quantiles(sample, np.array([0.5]))[0]
        counts = np.array(widths, np.int64)
        flags = MissingFlags.learn(values, counts, wanted=self.missing_indicators)
        sources = np.repeat(np.arange(len(counts)), counts)
        return FittedPiecewiseLinear(
            sources, np.concatenate(starts), 1.0 / np.maximum(np.concatenate(sizes), 1e-300), medians, flags
        )


@dataclass(frozen=True, eq=False)
class FittedPiecewiseLinear(FittedExtractor):
    """All bins of all columns side by side.

    Args:
        sources: `int64[m]`, the column of each bin.
        starts: `float64[m]`, where each bin begins.
        slopes: `float64[m]`, one over the size of each bin.
        medians: `float64[k]`, what stands for missing.
        flags: missing indicators.
    """

    sources: np.ndarray
    starts: np.ndarray
    slopes: np.ndarray
    medians: np.ndarray
    flags: MissingFlags

    @property
    def widths(self) -> tuple[int, ...]:
        """The bins of each column, and one more where enough was missing."""
        return self.flags.widths

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Returns `float32[n, sum(widths)]` between 0 and 1."""
        filled = np.where(np.isnan(values), self.medians, np.clip(values, -LIMIT, LIMIT))
        features = np.empty((len(values), len(self.sources)), np.float32)
        step = max(1, _BLOCK_VALUES // max(1, len(self.sources)))
        for start in range(0, len(values), step):
            block = np.take(filled[start : start + step], self.sources, axis=1)
            with np.errstate(over="ignore"):  # far beyond a bin of tiny size: infinity is clipped to 1
                features[start : start + step] = np.clip((block - self.starts) * self.slopes, 0.0, 1.0)
        return self.flags.append(features, values)

    def graph(self, values: tf.Tensor, tables: LookupTables) -> tf.Tensor:
        """As `transform`."""
        import tensorflow as tf

        filled = tf.where(tf.math.is_nan(values), self.medians, tf.clip_by_value(values, -LIMIT, LIMIT))
        passed = (tf.gather(filled, self.sources, axis=1) - self.starts) * self.slopes
        return self.flags.append_graph(tf.cast(tf.clip_by_value(passed, 0.0, 1.0), tf.float32), values)
