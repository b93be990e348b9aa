"""Texts as seen by a small transformer over their words or characters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Self

from autoflow.components.feature_extraction._token_sequences import (
    SequenceExtractor,
    are_short_texts,
    token_choice,
)
from autoflow.components.registry import register
from autoflow.data.schema import DataProfile

if TYPE_CHECKING:
    import keras
    import keras_tuner
    import tensorflow as tf

_FAR = 1e9
"""Subtracted from the score of an empty place: its share becomes exactly 0."""
_HIDDEN = 2
"""Width of the hidden layer of a block as a multiple of the width of a vector."""
_POSITION_SPREAD = 0.02
"""Standard deviation of the first position vectors: the words speak first."""


@register
@dataclass(frozen=True)
class TransformerText(SequenceExtractor):
    """Words or characters that look at each other before they are averaged.

    The encoder of Vaswani et al. ("Attention Is All You Need", NeurIPS 2017) with learned positions,
    normalisation before each part (Xiong et al., ICML 2020), and trained from scratch, so it is kept small.

    Args:
        min_count: times that a token must occur in training, 1 to 20; rarer ones share one vector.
        token_dropout: share of the tokens left out in training, 0 to 0.6.
        num_blocks: blocks of attention and hidden layer, 1 to 4.
        num_heads: heads of the attention, 1 to 8; the width of a vector is a multiple of it.
        pooling: `"mean"` of the tokens, or `"attention"`, a mean weighted by a learned score.
    """

    min_count: int = 3
    token_dropout: float = 0.2
    num_blocks: int = 1
    num_heads: int = 4
    pooling: str = "mean"

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """Draws tokens, size and pooling."""
        return cls(
            tokens=token_choice(hp, profile),
            num_blocks=hp.Int("num_blocks", 1, 2, default=cls.num_blocks),
            num_heads=hp.Choice("num_heads", [1, 2, 4], default=cls.num_heads),
            pooling=hp.Choice("pooling", ["mean", "attention"], default=cls.pooling),
            dimensions=hp.Int("dimensions", 32, 128, step=16, default=cls.dimensions),
            token_dropout=hp.Float("token_dropout", 0.0, 0.4, default=cls.token_dropout),
            dropout=hp.Float("dropout", 0.0, 0.5, default=cls.dropout),
        )

    @classmethod
    def supports(cls, profile: DataProfile) -> bool:
        """1,000 rows or more, up to 3 columns of texts of up to 1,000 characters on average."""
        return are_short_texts(profile, min_rows=1000, max_characters=1000)

    @property
    def width(self) -> int:
        """The width of a vector."""
        return self.dimensions

    def encoder(self, length: int) -> keras.layers.Layer:
        """Returns positions, blocks and pooling."""
        return _encoder_class()(length, self)


@cache
def _encoder_class() -> Callable[[int, TransformerText], keras.layers.Layer]:
    import keras
    import tensorflow as tf

    class Transformer(keras.layers.Layer):
        """Position vectors, blocks, normalisation and pooling."""

        def __init__(self, length: int, settings: TransformerText) -> None:
            super().__init__()
            self.length, self.settings = length, settings
            blocks, width = range(settings.num_blocks), settings.dimensions
            self.norms = [keras.layers.LayerNormalization() for _ in range(2 * settings.num_blocks + 1)]
            self.projections = [keras.layers.Dense(3 * width) for _ in blocks]
            self.joins = [keras.layers.Dense(width) for _ in blocks]
            self.hidden = [keras.layers.Dense(_HIDDEN * width, activation="gelu") for _ in blocks]
            self.outputs_ = [keras.layers.Dense(width) for _ in blocks]
            self.dropout = keras.layers.Dropout(settings.dropout / 2)
            self.scores = [keras.layers.Dense(1)] if settings.pooling == "attention" else []

        def build(self, shape: tuple[int | None, ...]) -> None:
            """Makes the weights."""
            width = self.settings.dimensions
            normal = keras.initializers.RandomNormal(stddev=_POSITION_SPREAD)
            self.positions = self.add_weight(shape=(self.length, width), initializer=normal, name="positions")
            for layer in [*self.norms, *self.projections, *self.joins, *self.hidden, *self.scores]:
                layer.build((None, None, width))
            for layer in self.outputs_:
                layer.build((None, None, _HIDDEN * width))

        def call(self, vectors: tf.Tensor, present: tf.Tensor, training: bool = False) -> tf.Tensor:
            """Returns `float32[B, dimensions]`; zeros for a text without tokens."""
            states = vectors + self.positions.value[: tf.shape(vectors)[1]]
            for block in range(self.settings.num_blocks):
                seen = self._attend(block, self.norms[2 * block](states), present)
                states += self.dropout(seen, training=training)
                hidden = self.hidden[block](self.norms[2 * block + 1](states))
                states += self.dropout(self.outputs_[block](hidden), training=training)
            states = self.norms[-1](states)
            if self.scores:
                shares = tf.nn.softmax(self.scores[0](states) + _FAR * (present - 1.0), axis=1) * present
            else:
                shares = present / tf.maximum(tf.reduce_sum(present, axis=1, keepdims=True), 1.0)
            return tf.reduce_sum(states * shares, axis=1)

        def _attend(self, block: int, states: tf.Tensor, present: tf.Tensor) -> tf.Tensor:
            heads = self.settings.num_heads
            size = self.settings.dimensions // heads
            rows, places = tf.shape(states)[0], tf.shape(states)[1]
            parts = tf.reshape(self.projections[block](states), [rows, places, 3, heads, size])
            queries, keys, values = tf.unstack(tf.transpose(parts, [2, 0, 3, 1, 4]))
            scores = tf.matmul(queries * size**-0.5, keys, transpose_b=True)
            away = _FAR * (tf.transpose(present, [0, 2, 1]) - 1.0)
            seen = tf.matmul(tf.nn.softmax(scores + away[:, tf.newaxis]), values)
            joined = tf.reshape(tf.transpose(seen, [0, 2, 1, 3]), [rows, places, heads * size])
            return self.joins[block](joined)

    return Transformer
