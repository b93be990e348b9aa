"""Booleans as 0 and 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from autoflow.components.base import FeatureExtractor, FittedExtractor, LookupTables
from autoflow.components.feature_extraction._numbers import MissingFlags
from autoflow.components.registry import register
from autoflow.data.schema import ColumnKind, DataProfile

if TYPE_CHECKING:
    import keras_tuner
    import tensorflow as tf


@register
@dataclass(frozen=True)
class BooleanFlags(FeatureExtractor):
    """Booleans as 0 and 1; a missing one is 0.5, which trees split off and linear models take as "unknown".

    Args:
        missing_indicators: whether columns that miss enough training values get a 0/1 column beside them.
    """

    accepts: ClassVar[frozenset[ColumnKind]] = frozenset({ColumnKind.BOOLEAN})

    missing_indicators: bool = True

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """There is nothing worth searching."""
        return cls()

    def fit(self, values: np.ndarray, *, seed: int) -> FittedExtractor:
        """Learns which columns miss enough values."""
        ones = np.ones(values.shape[1], np.int64)
        return FittedBooleanFlags(MissingFlags.learn(values, ones, wanted=self.missing_indicators))


@dataclass(frozen=True, eq=False)
class FittedBooleanFlags(FittedExtractor):
    """Which columns get an indicator."""

    flags: MissingFlags

    @property
    def widths(self) -> tuple[int, ...]:
        """One a column, two where enough was missing."""
        return self.flags.widths

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Returns `float32[n, sum(widths)]` between 0 and 1."""
        features = np.where(np.isnan(values), 0.5, np.clip(values, 0.0, 1.0)).astype(np.float32)
        return self.flags.append(features, values)

    def graph(self, values: tf.Tensor, tables: LookupTables) -> tf.Tensor:
        """As `transform`."""
        import tensorflow as tf

        clipped = tf.clip_by_value(values, 0.0, 1.0)
        half = tf.constant(0.5, tf.float64)
        features = tf.cast(tf.where(tf.math.is_nan(values), half, clipped), tf.float32)
        return self.flags.append_graph(features, values)
