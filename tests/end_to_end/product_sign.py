"""A component from outside the package: the product of two columns decides, which this extractor sees."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from autoflow.components.base import FeatureExtractor, FittedExtractor
from autoflow.components.registry import register
from autoflow.data.schema import ColumnKind


@register
@dataclass(frozen=True)
class PairProducts(FeatureExtractor):
    """The products of all pairs of numeric columns, beside the columns themselves.

    Args:
        scale: what every product is multiplied by, 0.1 to 10.
    """

    accepts: ClassVar = frozenset({ColumnKind.NUMERIC})

    scale: float = 1.0

    @classmethod
    def sample(cls, hp, profile):
        """Draws the scale."""
        return cls(scale=hp.Float("scale", 0.1, 10.0, sampling="log", default=1.0))

    def fit(self, values, *, seed):
        """Remembers the number of columns."""
        return FittedPairProducts(values.shape[1], self.scale)


@dataclass(frozen=True)
class FittedPairProducts(FittedExtractor):
    """What `PairProducts` learned: the number of columns."""

    num_columns: int
    scale: float

    @property
    def widths(self):
        """Each column yields itself and its products with the columns after it."""
        return tuple(self.num_columns - column for column in range(self.num_columns))

    def transform(self, values):
        """Returns columns and products, missing values as 0."""
        return self._features(np.clip(np.nan_to_num(values), -1e6, 1e6), np).astype(np.float32)

    def graph(self, values, tables):
        """Returns the same in TensorFlow."""
        import tensorflow as tf

        filled = tf.where(tf.math.is_nan(values), tf.zeros_like(values), values)
        return tf.cast(self._features(tf.clip_by_value(filled, -1e6, 1e6), tf), tf.float32)

    def _features(self, values, library):
        parts = []
        for column in range(self.num_columns):
            parts.append(values[:, column : column + 1])
            parts.append(self.scale * values[:, column : column + 1] * values[:, column + 1 :])
        return library.concat(parts, axis=1) if library is not np else np.concatenate(parts, axis=1)
