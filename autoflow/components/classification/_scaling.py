"""Standardisation for classifiers that compare features with each other: linear models and neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

_LIMIT = 10.0
"""Standard deviations beyond which a value is an outlier and is cut off."""

_CHUNK = 1 << 20
"""Numbers that are looked at at once: a copy of all of them in double precision may be gigabytes."""


@dataclass(frozen=True, eq=False)
class Scaling:
    """Shift and scale of each feature, then a cut at ten standard deviations.

    Args:
        shift: `float32[d]`.
        scale: `float32[d]`, what the shifted feature is multiplied by.
    """

    shift: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, features: np.ndarray) -> Scaling:
        """Returns the scaling of training rows `float32[n, d]`; constant features become 0."""
        mean = features.mean(axis=0, dtype=np.float64)
        least, most = features.min(axis=0), features.max(axis=0)
        squares, two_valued = np.zeros(len(mean)), np.ones(len(mean), bool)
        for rows in _chunks(features):
            squares += np.square(features[rows] - mean).sum(axis=0)
            two_valued &= ((features[rows] == least) | (features[rows] == most)).all(axis=0)
        deviation = np.sqrt(squares / len(features))
        low, high = least.astype(np.float64), most.astype(np.float64)
        # a flag that is set in few rows must not become a giant that a penalty cannot hold
        deviation = np.where(two_valued, np.maximum(deviation, 0.1 * (high - low)), deviation)
        varies = (high > low) & (deviation > 1e-12 * np.maximum(np.abs(low), np.abs(high)))
        scale = np.where(varies, 1.0 / np.where(varies, deviation, 1.0), 0.0)
        return cls(mean.astype(np.float32), np.minimum(scale, 1e30).astype(np.float32))

    def transform(self, features: np.ndarray) -> np.ndarray:
        """Returns `float32[n, d]`."""
        return self.overwrite(np.array(features, np.float32))

    def overwrite(self, features: np.ndarray) -> np.ndarray:
        """As `transform`, in the place of the features, which it returns."""
        for rows in _chunks(features):
            features[rows] -= self.shift
            features[rows] *= self.scale
            np.clip(features[rows], -_LIMIT, _LIMIT, out=features[rows])
        return features

    def graph(self, features: tf.Tensor) -> tf.Tensor:
        """Returns the same as `transform` for `tf.float32[B, d]`."""
        import tensorflow as tf

        scaled = (features - tf.constant(self.shift)) * tf.constant(self.scale)
        return tf.clip_by_value(scaled, -_LIMIT, _LIMIT)


def _chunks(features: np.ndarray) -> list[slice]:
    size = max(1, _CHUNK // max(1, features.shape[1]))
    return [slice(start, start + size) for start in range(0, len(features), size)]
