"""The Keras layer behind learned n-gram vectors: looks up and sums only what a row really holds.

No component and no hyperparameter may enter this file.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from autoflow.components.vector_table import VectorTable

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

_SPREAD = 0.02
"""Standard deviation of the first vectors: small, for those of rare n-grams are noise until learned."""


def embedding_bag(
    lengths: Sequence[int],
    importances: Sequence[np.ndarray],
    dimensions: int,
    dropout: float,
    *,
    pooling: str = "mean",
) -> keras.layers.Layer:
    """Returns a layer from numbers `int32[B, sum(lengths)]` to `float32[B, len(lengths) * dimensions]`.

    A bag is the sum of its vectors, weighted by their importances and over the length of these weights. With
    attention, the importances are multiplied by the softmax of learned scores of the vectors first.

    Args:
        lengths: places of each bag; a place with number 0 is empty.
        importances: for each bag `float32[v]`, where v is its greatest number; every bag has vectors of its
            own.
        dimensions: width of a vector.
        dropout: share of the numbers left out in training.
        pooling: `"mean"` or `"attention"`.
    """
    sizes = np.array([len(part) for part in importances], np.int64)
    first_vectors = np.repeat(np.cumsum(sizes) - sizes, lengths).astype(np.int32)
    bags = np.repeat(np.arange(len(lengths)), lengths)
    flat = np.concatenate([*importances, [0.0]]).astype(np.float32)
    return _layer_class()(bags, first_vectors, flat, dimensions, dropout, pooling)


@cache
def _layer_class() -> type[keras.layers.Layer]:
    """Returns the class, which needs Keras to be declared."""
    import keras
    import tensorflow as tf

    class EmbeddingBag(keras.layers.Layer):
        """Sums vectors; see `embedding_bag`.

        Args:
            bags: `int64[places]`, the bag of each place, ascending.
            first_vectors: `int32[places]`, the vector of number 1 at each place.
            importances: `float32[v + 1]`, of all vectors; the last is of none.
            dimensions: width of a vector.
            dropout: share of the numbers left out in training.
            pooling: `"mean"` or `"attention"`.
        """

        def __init__(
            self,
            bags: np.ndarray,
            first_vectors: np.ndarray,
            importances: np.ndarray,
            dimensions: int,
            dropout: float,
            pooling: str,
        ) -> None:
            super().__init__()
            self.bags, self.first_vectors, self.importances = bags, first_vectors, importances
            self.num_bags, self.dimensions, self.dropout = int(bags[-1]) + 1, dimensions, dropout
            self.attends = pooling == "attention"
            self.seeds = keras.random.SeedGenerator()

        def build(self, shape: tuple[int | None, ...]) -> None:
            """Makes the vectors."""
            normal = keras.initializers.RandomNormal(stddev=_SPREAD)
            shape = (len(self.importances), self.dimensions)
            self.vectors = self.add_weight(shape=shape, initializer=normal, name="vectors")
            self.vector_tables = [VectorTable(self.vectors)]
            if self.attends:  # from zeros: attention begins as the mean
                shape = (self.num_bags, self.dimensions)
                self.queries = self.add_weight(shape=shape, initializer="zeros", name="queries")

        def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
            """Returns the shape of the bags."""
            return (shape[0], self.num_bags * self.dimensions)

        def call(self, numbers: tf.Tensor, training: bool = False) -> tf.Tensor:
            """Returns the bags of each row side by side."""
            places = tf.where(numbers > 0)
            if training and self.dropout > 0:
                seed = tf.cast(self.seeds.next(), tf.int32)
                kept = tf.random.stateless_uniform(tf.shape(places)[:1], seed) >= self.dropout
                places = tf.boolean_mask(places, kept)
            found = tf.gather_nd(numbers, places) - 1 + tf.gather(self.first_vectors, places[:, 1])
            bags = places[:, 0] * self.num_bags + tf.gather(self.bags, places[:, 1])
            num_bags = tf.shape(numbers, out_type=tf.int64)[0] * self.num_bags
            # a gradient for the vectors in use only: the table is large and a batch touches little of it
            used, found = tf.unique(found)
            weights = tf.gather(tf.constant(self.importances), used)
            plain = self.vector_tables[0].rows(used)
            vectors = plain * weights[:, tf.newaxis]
            if self.attends:
                shares = self._shares(tf.gather(plain, found), bags, num_bags)
                each = tf.gather(vectors, found) * shares[:, tf.newaxis]
                total = tf.math.unsorted_segment_sum(each, bags, num_bags)
                squares = tf.math.unsorted_segment_sum(
                    (tf.gather(weights, found) * shares) ** 2, bags, num_bags
                )
            else:
                total = tf.sparse.segment_sum(vectors, found, bags, num_segments=num_bags)
                squares = tf.math.unsorted_segment_sum(tf.gather(weights**2, found), bags, num_bags)
            total *= tf.math.rsqrt(tf.maximum(squares, 1.0))[:, tf.newaxis]
            return tf.reshape(total, [-1, self.num_bags * self.dimensions])

        def _shares(self, vectors: tf.Tensor, bags: tf.Tensor, num_bags: tf.Tensor) -> tf.Tensor:
            """Returns the attention on each vector as a part of the greatest in its bag, 0 to 1."""
            queries = tf.gather(self.queries.value, bags % self.num_bags)
            scores = tf.reduce_sum(queries * vectors, axis=1)
            greatest = tf.stop_gradient(tf.math.unsorted_segment_max(scores, bags, num_bags))
            return tf.exp(scores - tf.gather(greatest, bags))

    return EmbeddingBag
