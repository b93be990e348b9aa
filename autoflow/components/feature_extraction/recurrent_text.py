"""Texts as read word by word, forwards and backwards, by a recurrent network."""

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


@register
@dataclass(frozen=True)
class RecurrentText(SequenceExtractor):
    """Gated recurrent units that read the words or characters in both directions.

    Units of Cho et al. (EMNLP 2014), in both directions (Schuster and Paliwal 1997), with the greatest state
    of each over the text (Conneau et al., EMNLP 2017). The steps of a text follow one another, so this is the
    slowest encoder for its size; it reads less of a text than the others.

    Args:
        dimensions: width of a token's vector, 8 to 256.
        max_words: words read of a text, 8 to 512.
        max_characters: characters read of a text where they are the tokens, 16 to 1,024.
        num_units: units in each direction, 16 to 256.
    """

    dimensions: int = 48
    max_words: int = 64
    max_characters: int = 128
    num_units: int = 48

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """Draws tokens, vectors and units."""
        return cls(
            tokens=token_choice(hp, profile),
            num_units=hp.Int("num_units", 16, 128, sampling="log", default=cls.num_units),
            dimensions=hp.Int("dimensions", 16, 128, sampling="log", default=cls.dimensions),
            token_dropout=hp.Float("token_dropout", 0.0, 0.4, default=cls.token_dropout),
            dropout=hp.Float("dropout", 0.0, 0.5, default=cls.dropout),
        )

    @classmethod
    def supports(cls, profile: DataProfile) -> bool:
        """500 rows or more, up to 3 columns of texts of up to 500 characters on average."""
        return are_short_texts(profile, min_rows=500, max_characters=500)

    @property
    def width(self) -> int:
        """The units of both directions."""
        return 2 * self.num_units

    def encoder(self, length: int) -> keras.layers.Layer:
        """Returns the units."""
        return _encoder_class()(self.num_units)


@cache
def _encoder_class() -> Callable[[int], keras.layers.Layer]:
    import keras
    import tensorflow as tf

    class Units(keras.layers.Layer):
        """Both directions step together as one batched product, in a loop of core operations.

        `keras.layers.GRU` would make a loop for each direction, and on some machines an operation of cuDNN.
        """

        def __init__(self, num_units: int) -> None:
            super().__init__()
            self.num_units = num_units
            self.inputs_ = keras.layers.Dense(6 * num_units)

        def build(self, shape: tuple[int | None, ...]) -> None:
            """Makes the weights; each gate of each direction has an orthogonal matrix."""
            units = self.num_units
            self.inputs_.build(shape)
            orthogonal = keras.initializers.Orthogonal()
            self.gates = self.add_weight(
                shape=(2, units, 2 * units), initializer=_stacked(orthogonal, units, 2), name="gates"
            )
            self.candidates = self.add_weight(
                shape=(2, units, units), initializer=_stacked(orthogonal, units, 1), name="candidates"
            )

        def call(self, vectors: tf.Tensor, present: tf.Tensor, training: bool = False) -> tf.Tensor:
            """Returns `float32[B, 2 * num_units]`; zeros for a text without tokens."""
            units, shape = self.num_units, tf.shape(vectors)
            inputs = tf.reshape(self.inputs_(vectors), [shape[0], shape[1], 2, 3 * units])
            by_time = tf.transpose(inputs, [1, 2, 0, 3])
            both = tf.stack([by_time[:, 0], tf.reverse(by_time[:, 1], [0])], axis=1)
            forwards = tf.transpose(present, [1, 0, 2])
            masks = tf.stack([forwards, tf.reverse(forwards, [0])], axis=1)
            gates, candidates = self.gates.value, self.candidates.value

            def step(state: tf.Tensor, now: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
                given, mask = now
                opened = tf.sigmoid(given[..., : 2 * units] + tf.matmul(state, gates))
                reset, update = opened[..., :units], opened[..., units:]
                wanted = tf.tanh(given[..., 2 * units :] + tf.matmul(reset * state, candidates))
                return state + mask * update * (wanted - state)  # an empty place leaves the state alone

            first = tf.zeros([2, shape[0], units])
            states = tf.scan(step, (both, masks), initializer=first)
            greatest = tf.reduce_max(states + 2.0 * (masks - 1.0), axis=0)  # states are between -1 and 1
            some = tf.reduce_max(present, axis=1)
            return tf.concat([greatest[0], greatest[1]], axis=1) * some

    return Units


def _stacked(
    initializer: keras.initializers.Initializer, units: int, copies: int
) -> Callable[..., tf.Tensor]:
    """Returns an initialiser for `[2, units, copies * units]` of square matrices, each drawn alone."""

    def draw(shape: tuple[int, ...], dtype: str | None = None) -> tf.Tensor:
        import tensorflow as tf

        squares = [initializer.clone()((units, units), dtype=dtype) for _ in range(2 * copies)]
        return tf.stack([tf.concat(squares[copies * n : copies * (n + 1)], axis=1) for n in range(2)])

    return draw
