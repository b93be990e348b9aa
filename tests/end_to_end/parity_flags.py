"""A component from outside the package: whether numbers are odd, which no other extractor sees."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from autoflow.components.base import FeatureExtractor, FittedExtractor
from autoflow.components.registry import register
from autoflow.data.schema import ColumnKind


@register
@dataclass(frozen=True)
class ParityFlags(FeatureExtractor):
    """Whether each number, counted in units and rounded, is odd.

    Args:
        unit: what one counts as, 0.5 to 2.
    """

    accepts: ClassVar = frozenset({ColumnKind.NUMERIC})

    unit: float = 1.0

    @classmethod
    def sample(cls, hp, profile):
        """Draws the unit."""
        return cls(unit=hp.Float("unit", 0.5, 2.0, sampling="log", default=1.0))

    def fit(self, values, *, seed):
        """Learns nothing but the number of columns."""
        return FittedParityFlags(values.shape[1], self.unit)


@dataclass(frozen=True)
class FittedParityFlags(FittedExtractor):
    """What `ParityFlags` learned."""

    num_columns: int
    unit: float

    @property
    def widths(self):
        """One flag a column."""
        return (1,) * self.num_columns

    def transform(self, values):
        """Returns 0 or 1; missing numbers count as 0."""
        counted = np.rint(np.clip(np.nan_to_num(values), -1e9, 1e9) / self.unit)
        return np.mod(counted, 2).astype(np.float32)

    def graph(self, values, tables):
        """Returns the same in TensorFlow."""
        import tensorflow as tf

        known = tf.where(tf.math.is_nan(values), tf.zeros_like(values), values)
        counted = tf.round(tf.clip_by_value(known, -1e9, 1e9) / self.unit)
        return tf.cast(tf.math.floormod(counted, 2.0), tf.float32)
