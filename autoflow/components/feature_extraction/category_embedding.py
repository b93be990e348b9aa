"""Categories as learned vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from autoflow.components.base import FeatureExtractor, FittedExtractor, LookupTables
from autoflow.components.feature_extraction._categories import (
    CategorySlots,
    count_categories,
    total_distinct,
)
from autoflow.components.registry import register
from autoflow.data.schema import ColumnKind, DataProfile

if TYPE_CHECKING:
    import keras
    import keras_tuner
    import tensorflow as tf


_MOST_NUMBERS = 2_000_000
"""In the vectors of all categories, before rounding: training holds them five times, the export once."""
_LARGEST_POWER = 1024
"""To which numbers of categories are rounded up; a larger one would waste too many rows."""


@register
@dataclass(frozen=True)
class CategoryEmbedding(FeatureExtractor):
    """Each category as a vector that the network learns; rare and unseen ones share one vector a column.

    The width grows with the number of categories n about as 1.6 n^0.56, the rule of the fastai library (Guo
    and Berkhahn, "Entity Embeddings of Categorical Variables", 2016, for the method).

    Args:
        scale: factor on the width rule, 0.25 to 2.
        max_width: widest vector of a column, 2 to 100.
        min_rows: categories with fewer training rows share a vector with the unseen ones, 1 to 50.
    """

    accepts: ClassVar[frozenset[ColumnKind]] = frozenset({ColumnKind.CATEGORICAL})
    trainable: ClassVar[bool] = True

    scale: float = 1.0
    max_width: int = 50
    min_rows: int = 2

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """Draws width and rarity; of very many categories the vectors are narrow."""
        widest = int(np.clip(_MOST_NUMBERS // max(1, total_distinct(profile)), 5, 100))
        return cls(
            scale=hp.Float("scale", 0.25, 2.0, sampling="log", default=1.0),
            max_width=hp.Int("max_width", 4, widest, sampling="log", default=min(50, widest)),
            min_rows=hp.Int("min_rows", 1, 20, sampling="log", default=2),
        )

    def fit(self, values: np.ndarray, *, seed: int) -> FittedExtractor:
        """Learns which categories get a vector of their own."""
        kept = [
            counts.frequent(min_rows=self.min_rows, max_categories=len(counts.values)).values
            for counts in count_categories(values)
        ]
        slots = CategorySlots(tuple(kept))
        sizes = _rounded_up(slots.sizes)
        # the middle of the numbers that are rounded to these
        usual = np.where(sizes <= _LARGEST_POWER, sizes / np.sqrt(2), sizes - _LARGEST_POWER / 2)
        widths = np.clip(np.round(self.scale * 1.6 * usual**0.56), 1, self.max_width).astype(int)
        return FittedCategoryEmbedding(slots, tuple(widths.tolist()))


def _rounded_up(sizes: np.ndarray) -> np.ndarray:
    """Returns the next powers of two, above 1,024 the next multiples of 1,024.

    The folds of a table have about as many categories each, and with matrices of one size they share one
    compiled network: to compile takes longer than to train on a thousand rows.

    >>> _rounded_up(np.array([3, 100, 128, 2500])).tolist()
    [4, 128, 128, 3072]
    """
    powers = 2 ** np.ceil(np.log2(sizes)).astype(np.int64)
    return np.where(sizes <= _LARGEST_POWER, powers, -(-sizes // _LARGEST_POWER) * _LARGEST_POWER)


@dataclass(frozen=True, eq=False)
class FittedCategoryEmbedding(FittedExtractor):
    """The slots of the categories and the width of each column's vectors."""

    slots: CategorySlots
    vector_widths: tuple[int, ...]

    @property
    def widths(self) -> tuple[int, ...]:
        """One code a column."""
        return (1,) * len(self.vector_widths)

    @property
    def layer_widths(self) -> tuple[int, ...]:
        """The width of each column's vectors."""
        return self.vector_widths

    @property
    def layer_key(self) -> tuple[tuple[int, ...], ...]:
        """The sizes of the matrices and the widths of the vectors."""
        return tuple(_rounded_up(self.slots.sizes).tolist()), self.vector_widths

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Returns codes `int32[n, k]`: 0 for missing, 1 for rare and unseen, then the categories."""
        return (self.slots.find(values) - self.slots.offsets[:-1]).astype(np.int32)

    def graph(self, values: tf.Tensor, tables: LookupTables) -> tf.Tensor:
        """As `transform`."""
        import tensorflow as tf

        return tf.cast(self.slots.find_graph(values, tables) - self.slots.offsets[:-1], tf.int32)

    def layer(self) -> keras.layers.Layer:
        """Returns the embeddings; columns of the same width share one matrix, each with rows of its own."""
        import keras

        codes = keras.Input((len(self.vector_widths),), dtype="int32")
        widths = np.array(self.vector_widths)
        starts = np.cumsum(widths) - widths
        blocks, places = [], []
        for width in np.unique(widths).tolist():
            columns = np.flatnonzero(widths == width)
            sizes = _rounded_up(self.slots.sizes)[columns]
            first = (np.cumsum(sizes) - sizes).astype(np.int32)
            picked = keras.ops.take(codes, columns, axis=1) + first[None]
            # sqrt(1 / width) would let rare categories shout before anything is learned about them
            uniform = keras.initializers.RandomUniform(-0.05, 0.05)
            vectors = keras.layers.Embedding(int(sizes.sum()), width, embeddings_initializer=uniform)(picked)
            blocks.append(keras.layers.Reshape((len(columns) * width,))(vectors))
            places.append((starts[columns][:, None] + np.arange(width)).ravel())
        merged = keras.layers.Concatenate()(blocks) if len(blocks) > 1 else blocks[0]
        order = np.argsort(np.concatenate(places))
        return keras.Model(codes, keras.ops.take(merged, order, axis=1))
