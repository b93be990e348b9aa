"""Texts as the strongest answers of learned filters over their words or characters."""

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
class ConvolutionalText(SequenceExtractor):
    """Filters of several widths over the words or characters of a text, each with its strongest answer.

    Finds phrases wherever they stand (Kim, "Convolutional Neural Networks for Sentence Classification", EMNLP
    2014). Worth trying where the order of words matters and there are some hundred rows a class.

    Args:
        min_count: times that a token must occur in training, 1 to 20; rarer ones share one vector.
        dimensions: width of a token's vector, 8 to 256.
        widths: tokens that a filter of each width sees, 1 to 7.
        num_filters: filters of each width, 16 to 256.
    """

    min_count: int = 1
    dimensions: int = 32
    widths: tuple[int, ...] = (1, 2, 3)
    num_filters: int = 64

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """Draws tokens, vectors and filters; longer filters over characters."""
        tokens = token_choice(hp, profile)
        return cls(
            tokens=tokens,
            widths=cls.widths if tokens == "words" else (2, 3, 4),
            num_filters=hp.Int("num_filters", 32, 128, sampling="log", default=cls.num_filters),
            min_count=hp.Int("min_count", 1, 10, sampling="log", default=cls.min_count),
            dimensions=hp.Int("dimensions", 16, 128, sampling="log", default=cls.dimensions),
            token_dropout=hp.Float("token_dropout", 0.0, 0.4, default=cls.token_dropout),
            dropout=hp.Float("dropout", 0.0, 0.5, default=cls.dropout),
        )

    @classmethod
    def supports(cls, profile: DataProfile) -> bool:
        """300 rows or more, up to 3 columns of texts of up to 2,000 characters on average."""
        return are_short_texts(profile, min_rows=300, max_characters=2000)

    @property
    def width(self) -> int:
        """One feature a filter."""
        return len(self.widths) * self.num_filters

    def encoder(self, length: int) -> keras.layers.Layer:
        """Returns the filters."""
        return _encoder_class()(self.widths, self.num_filters)


@cache
def _encoder_class() -> Callable[[tuple[int, ...], int], keras.layers.Layer]:
    import keras
    import tensorflow as tf

    class Filters(keras.layers.Layer):
        """Convolutions of several widths, each with the greatest of its answers over the text."""

        def __init__(self, widths: tuple[int, ...], num_filters: int) -> None:
            super().__init__()
            self.convolutions = [
                keras.layers.Conv1D(num_filters, width, padding="same", activation="relu") for width in widths
            ]

        def build(self, shape: tuple[int | None, ...]) -> None:
            """Makes the filters."""
            for convolution in self.convolutions:
                convolution.build(shape)

        def call(self, vectors: tf.Tensor, present: tf.Tensor, training: bool = False) -> tf.Tensor:
            """Returns `float32[B, widths * num_filters]`; an answer is 0 or more, so 0 stands for none."""
            answers = [tf.reduce_max(found(vectors) * present, axis=1) for found in self.convolutions]
            return tf.concat(answers, axis=1)

    return Filters
