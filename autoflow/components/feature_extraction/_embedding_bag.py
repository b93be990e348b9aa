"""The Keras layer behind learned n-gram vectors: looks up and sums only what a row really holds.

No component and no hyperparameter may enter this file.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras
    import numpy as np
    import tensorflow as tf

SPREAD = 0.02
"""Standard deviation of the first vectors."""


def embedding_bag(
    lengths: Sequence[int], weights: Sequence[np.ndarray], dimensions: int, dropout: float
) -> keras.layers.Layer:
    """Returns a layer from numbers `int32[B, sum(lengths)]` to `float32[B, len(lengths) * dimensions]`.

    Args:
        lengths: places of each bag; a place with number 0 is empty.
        sizes: greatest number in each bag; every bag has vectors of its own.
        dimensions: width of a vector.
        dropout: share of the numbers left out in training.
    """
    return _layer_class()(tuple(lengths), list(weights), dimensions, dropout)


@cache
def _layer_class() -> type[keras.layers.Layer]:
    import keras
    import numpy as np
    import tensorflow as tf

    class EmbeddingBag(keras.layers.Layer):
        def __init__(
            self, lengths: tuple[int, ...], weights: list[np.ndarray], dimensions: int, dropout: float
        ) -> None:
            super().__init__()
            self.num_bags, self.dimensions, self.dropout = len(lengths), dimensions, dropout
            sizes = [len(w) for w in weights]
            self.importances = np.concatenate([*weights, [0.0]]).astype(np.float32)
            starts = np.cumsum(sizes) - sizes
            self.bag_of_place = np.repeat(np.arange(len(lengths)), lengths)
            self.first_of_place = np.repeat(starts, lengths).astype(np.int32)
            self.num_vectors = max(1, int(np.sum(sizes)))
            self.seeds = keras.random.SeedGenerator()

        def build(self, shape: tuple[int | None, ...]) -> None:
            normal = keras.initializers.RandomNormal(stddev=SPREAD)
            self.table = self.add_weight(
                shape=(self.num_vectors, self.dimensions), initializer=normal, name="table"
            )

        def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
            return (shape[0], self.num_bags * self.dimensions)

        def call(self, numbers: tf.Tensor, training: bool = False) -> tf.Tensor:
            places = tf.where(numbers > 0)
            if training and self.dropout > 0:
                kept = tf.random.stateless_uniform(tf.shape(places)[:1], tf.cast(self.seeds.next(), tf.int32))
                places = tf.boolean_mask(places, kept >= self.dropout)
            flat = tf.gather_nd(numbers, places) - 1 + tf.gather(self.first_of_place, places[:, 1])
            bags = places[:, 0] * self.num_bags + tf.gather(self.bag_of_place, places[:, 1])
            num_bags = tf.shape(numbers, out_type=tf.int64)[0] * self.num_bags
            # a gradient for the vectors in use only: the table is large and a batch touches little of it
            used, flat = tf.unique(flat)
            weights = tf.gather(tf.constant(self.importances), used)
            vectors = tf.gather(self.table.value, used) * weights[:, tf.newaxis]
            total = tf.sparse.segment_sum(vectors, flat, bags, num_segments=num_bags)
            lengths = tf.math.unsorted_segment_sum(tf.gather(weights**2, flat), bags, num_bags)
            total *= tf.math.rsqrt(lengths + 1e-6)[:, tf.newaxis]
            return tf.reshape(total, [-1, self.num_bags * self.dimensions])

    return EmbeddingBag
