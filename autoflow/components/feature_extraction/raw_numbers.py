"""Numbers as they are, for trees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from autoflow.components.base import FeatureExtractor, FittedExtractor, LookupTables
from autoflow.components.feature_extraction._numbers import (
    FLOAT32_LIMIT,
    LIMIT,
    MissingFlags,
    column_ranges,
    finite_or_missing,
)
from autoflow.components.registry import register
from autoflow.data.schema import ColumnKind, DataProfile

if TYPE_CHECKING:
    import keras_tuner
    import tensorflow as tf

_EXACT_INTEGERS = 2.0**24
_FINEST = 2.0**-23
"""Of a number: the step from one float32 to the next."""
_COARSE = 3e-4
"""Of the range of a column: steps above it merge values that a tree would part."""


@register
@dataclass(frozen=True)
class RawNumbers(FeatureExtractor):
    """Numbers unchanged, for trees; a missing one becomes a value below all others, so that a split finds it.

    Columns in which float32 would merge neighbours (numbers above 2^24, small steps on a large offset) are
    counted from their minimum.

    Args:
        missing_indicators: whether columns that miss enough training values get a 0/1 column beside them.
    """

    accepts: ClassVar[frozenset[ColumnKind]] = frozenset({ColumnKind.NUMERIC})

    missing_indicators: bool = False

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """Draws whether there are indicators, where something is missing at all."""
        if not any(column.missing_share for column in profile.columns):
            return cls()
        return cls(missing_indicators=hp.Boolean("missing_indicators", default=False))

    def fit(self, values: np.ndarray, *, seed: int) -> FittedExtractor:
        """Learns the ranges of the columns."""
        lowest, highest = column_ranges(finite_or_missing(values))
        largest = np.maximum(np.abs(lowest), np.abs(highest))
        wide = (largest > _EXACT_INTEGERS) | (largest * _FINEST > _COARSE * (highest - lowest))
        shifts = np.where(wide, lowest, 0.0)
        # a gap of a tenth of the range survives the rounding to float32 and the binning of tree libraries
        fills = lowest - shifts - np.maximum(1.0, 0.1 * (highest - lowest))
        ones = np.ones(values.shape[1], np.int64)
        flags = MissingFlags.learn(values, ones, wanted=self.missing_indicators)
        return FittedRawNumbers(shifts, fills, flags)


@dataclass(frozen=True, eq=False)
class FittedRawNumbers(FittedExtractor):
    """What is subtracted and what stands for missing, `float64[k]` each, and the indicators."""

    shifts: np.ndarray
    fills: np.ndarray
    flags: MissingFlags

    @property
    def widths(self) -> tuple[int, ...]:
        """One a column, two where an indicator was wanted and enough was missing."""
        return self.flags.widths

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Returns `float32[n, sum(widths)]`."""
        shifted = np.clip(values, -LIMIT, LIMIT) - self.shifts
        filled = np.where(np.isnan(values), self.fills, shifted)
        return self.flags.append(np.clip(filled, -FLOAT32_LIMIT, FLOAT32_LIMIT).astype(np.float32), values)

    def graph(self, values: tf.Tensor, tables: LookupTables) -> tf.Tensor:
        """As `transform`."""
        import tensorflow as tf

        shifted = tf.clip_by_value(values, -LIMIT, LIMIT) - self.shifts
        filled = tf.where(tf.math.is_nan(values), self.fills, shifted)
        clipped = tf.clip_by_value(filled, -FLOAT32_LIMIT, FLOAT32_LIMIT)
        return self.flags.append_graph(tf.cast(clipped, tf.float32), values)
