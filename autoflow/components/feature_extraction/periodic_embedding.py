"""Numbers as waves whose lengths are learned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from autoflow.components.base import FeatureExtractor, FittedExtractor, LookupTables
from autoflow.components.feature_extraction._numbers import MissingFlags
from autoflow.components.feature_extraction._quantile_map import QuantileMap
from autoflow.components.registry import register
from autoflow.data.schema import ColumnKind, DataProfile

if TYPE_CHECKING:
    import keras
    import keras_tuner
    import tensorflow as tf

_MAX_COLUMNS = 250
_NUM_KNOTS = 250


@register
@dataclass(frozen=True)
class PeriodicEmbedding(FeatureExtractor):
    """Each number beside a learned mixture of cosines of it, whose frequencies and phases are learned.

    Periodic embeddings (Gorishniy, Rubachev and Babenko, "On Embeddings for Numerical Features in Tabular
    Deep Learning", NeurIPS 2022) in the form of RealMLP (Holzmüller et al. 2024, arXiv 2407.04491): narrow,
    with a bias in the cosine and the number itself kept. Numbers are mapped to a normal distribution first,
    which was better than RealMLP's robust scaling on columns with many zeros; a missing value is the median.

    Args:
        num_waves: cosines a column, 4 to 64.
        dimensions: features a column, the number itself among them, 2 to 16.
        spread: deviation of the first frequencies, in waves over a deviation of the column, 0.01 to 2.
        missing_indicators: whether columns that miss enough training values get a 0/1 column beside them.
    """

    accepts: ClassVar[frozenset[ColumnKind]] = frozenset({ColumnKind.NUMERIC})
    trainable: ClassVar[bool] = True

    num_waves: int = 16
    dimensions: int = 4
    spread: float = 0.1
    missing_indicators: bool = True

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """Draws widths and frequencies."""
        return cls(
            num_waves=hp.Choice("num_waves", [8, 16, 32], default=cls.num_waves),
            dimensions=hp.Int("dimensions", 3, 12, sampling="log", default=cls.dimensions),
            spread=hp.Float("spread", 0.02, 1.0, sampling="log", default=cls.spread),
        )

    @classmethod
    def supports(cls, profile: DataProfile) -> bool:
        """Up to 250 columns: the embedding widens the features several times."""
        return len(profile.columns) <= _MAX_COLUMNS

    def fit(self, values: np.ndarray, *, seed: int) -> FittedExtractor:
        """Learns the distributions and which columns miss enough values; the waves are learned later."""
        ones = np.ones(values.shape[1], np.int64)
        wanted = self.missing_indicators
        return FittedPeriodicEmbedding(
            QuantileMap.learn(values, num_knots=_NUM_KNOTS, output="normal", seed=seed),
            MissingFlags.learn(values, ones, wanted=wanted),
            MissingFlags.learn(values, self.dimensions * ones, wanted=wanted),
            self,
            seed,
        )


@dataclass(frozen=True, eq=False)
class FittedPeriodicEmbedding(FittedExtractor):
    """The map of the numbers, and what the waves are made of.

    Args:
        ranks: the map before the waves.
        flags: missing indicators beside the mapped numbers.
        layer_flags: missing indicators beside the embedded numbers.
        settings: number of waves, width and first frequencies.
        seed: of the first frequencies and phases.
    """

    ranks: QuantileMap
    flags: MissingFlags
    layer_flags: MissingFlags
    settings: PeriodicEmbedding
    seed: int

    @property
    def widths(self) -> tuple[int, ...]:
        """One a column, two where enough was missing."""
        return self.flags.widths

    @property
    def layer_widths(self) -> tuple[int, ...]:
        """The dimensions of each column, one more where enough was missing."""
        return self.layer_flags.widths

    @property
    def layer_key(self) -> tuple[PeriodicEmbedding, tuple[int, ...], int]:
        """Settings, places of the indicators and seed."""
        return self.settings, self.flags.widths, self.seed

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Returns `float32[n, sum(widths)]`, the mapped numbers and the indicators."""
        return self.flags.append(self.ranks(values), values)

    def graph(self, values: tf.Tensor, tables: LookupTables) -> tf.Tensor:
        """As `transform`."""
        return self.flags.append_graph(self.ranks.graph(values), values)

    def layer(self) -> keras.layers.Layer:
        """Returns the waves and their mixture."""
        return _waves_class()(self)


@cache
def _waves_class() -> Callable[[FittedPeriodicEmbedding], keras.layers.Layer]:
    import keras
    import tensorflow as tf

    class Waves(keras.layers.Layer):
        """From mapped numbers and indicators to embedded numbers and indicators."""

        def __init__(self, fitted: FittedPeriodicEmbedding) -> None:
            super().__init__()
            self.settings, self.seed = fitted.settings, fitted.seed
            self.columns = len(fitted.ranks.last)
            self.numbers = np.flatnonzero(fitted.flags.order < self.columns)
            self.indicators = np.flatnonzero(fitted.flags.order >= self.columns)
            self.order = fitted.layer_flags.order

        def build(self, shape: tuple[int | None, ...]) -> None:
            """Makes the weights; frequencies are flat, for matrices decay and these must not."""
            waves, mixed = self.settings.num_waves, self.settings.dimensions - 1
            normal = keras.initializers.RandomNormal(stddev=self.settings.spread, seed=self.seed)
            anywhere = keras.initializers.RandomUniform(-np.pi, np.pi, seed=self.seed + 1)
            uniform = keras.initializers.RandomUniform(-(waves**-0.5), waves**-0.5, seed=self.seed + 2)
            self.frequencies = self.add_weight(shape=(self.columns * waves,), initializer=normal)
            self.phases = self.add_weight(shape=(self.columns * waves,), initializer=anywhere)
            self.mixture = self.add_weight(shape=(self.columns, waves, mixed), initializer=uniform)
            self.biases = self.add_weight(shape=(self.columns * mixed,), initializer="zeros")

        def call(self, mapped: tf.Tensor) -> tf.Tensor:
            """Returns `float32[B, columns * dimensions + indicators]`, the columns in order."""
            columns, mixed = self.columns, self.settings.dimensions - 1
            numbers = tf.gather(mapped, self.numbers, axis=1)
            turns = numbers[:, :, tf.newaxis] * tf.reshape(self.frequencies.value, [columns, -1])
            waves = tf.cos(2 * np.pi * turns + tf.reshape(self.phases.value, [columns, -1]))
            blended = tf.matmul(tf.transpose(waves, [1, 0, 2]), self.mixture.value)
            blended = tf.transpose(blended, [1, 0, 2]) + tf.reshape(self.biases.value, [columns, mixed])
            embedded = tf.concat([numbers[:, :, tf.newaxis], blended], axis=2)
            flat = tf.reshape(embedded, [-1, columns * self.settings.dimensions])
            if not len(self.indicators):
                return flat
            indicators = tf.gather(mapped, self.indicators, axis=1)
            return tf.gather(tf.concat([flat, indicators], axis=1), self.order, axis=1)

        def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, int]:
            """Returns `[B, columns * dimensions + indicators]`."""
            return shape[0], self.columns * self.settings.dimensions + len(self.indicators)

    return Waves
