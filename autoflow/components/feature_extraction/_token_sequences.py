"""What the encoders of token sequences share: texts as rows of token numbers in reading order.

Fitting, both twins of the numbering and the Keras layer that holds the vectors are here; how the sequence of
vectors becomes one vector is the encoder of each component. No component may enter this file.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from autoflow.components.base import FeatureExtractor, FittedExtractor, LookupTables
from autoflow.components.feature_extraction._ngram_ids import length_for_most, places_in_rows
from autoflow.components.feature_extraction._text_tokens import CharacterTokens, Tokens, WordTokens
from autoflow.components.feature_extraction._tfidf import blocks, sampled_texts
from autoflow.components.vector_table import VectorTable
from autoflow.data.schema import ColumnKind, DataProfile

if TYPE_CHECKING:
    import keras
    import keras_tuner
    import tensorflow as tf

_CHARACTERS_A_WORD = 10
"""A text is read for this many characters for each word that has room: words and their spaces are shorter."""
_CHARACTERS_A_CHARACTER = 2
"""Likewise for characters, since runs of white space count as one."""
_LENGTH_STEP, _VECTORS_STEP = 8, 512
"""Sizes are rounded up to these, so that one compiled network serves all folds of the rows."""
_SPREAD = 0.1
"""Standard deviation of the first vectors."""


@dataclass(frozen=True, eq=False)
class TokenSequence:
    """From a text to the numbers of its tokens in reading order, then 0.

    Args:
        tokens: how a text is cut; tokens that it does not know get the number after its last.
        length: numbers a row; tokens beyond are left out.
    """

    tokens: Tokens
    length: int

    @property
    def num_vectors(self) -> int:
        """Rows of a table with a vector for every number, 0 and the unknown included; a round number."""
        return _rounded_up(self.tokens.size + 2, _VECTORS_STEP)

    def transform(self, texts: Sequence[str]) -> np.ndarray:
        """Returns `int32[n, length]`."""
        result = np.zeros((len(texts), self.length), np.int32)
        for start, end in blocks(texts):
            numbers, rows = self.tokens.find(texts[start:end])
            places = places_in_rows(rows)
            fits = places < self.length
            known = np.where(numbers > 0, numbers, self.tokens.size + 1)
            result[start + rows[fits], places[fits]] = known[fits]
        return result

    def graph(self, texts: tf.Tensor, tables: LookupTables) -> tf.Tensor:
        """As `transform`, of `string[B]`."""
        import tensorflow as tf

        num_rows = tf.shape(texts, out_type=tf.int64)[0]
        numbers, rows = self.tokens.find_graph(texts, tables)
        known = tf.cast(tf.where(numbers > 0, numbers, self.tokens.size + 1), tf.int32)
        ragged = tf.RaggedTensor.from_value_rowids(known, rows, num_rows, validate=False)
        return ragged.to_tensor(0, shape=[None, self.length])


def _rounded_up(number: int, step: int) -> int:
    return -(-number // step) * step


@dataclass(frozen=True)
class SequenceExtractor(FeatureExtractor):
    """A vector for each token, and an encoder over the sequence of them that trains with the network.

    Args:
        tokens: `"words"` or `"characters"`.
        max_features: most tokens a column that have a vector, 100 to 50,000.
        min_count: times that a token must occur in training, 1 to 20; rarer ones share one vector.
        dimensions: width of a token's vector, 8 to 256.
        token_dropout: share of the tokens left out in training, 0 to 0.6.
        dropout: share of the encoded features left out in training, 0 to 0.6.
        max_words: words read of a text, 8 to 512.
        max_characters: characters read of a text where they are the tokens, 16 to 1,024.
    """

    accepts: ClassVar[frozenset[ColumnKind]] = frozenset({ColumnKind.TEXT})
    trainable: ClassVar[bool] = True

    tokens: str = "words"
    max_features: int = 20_000
    min_count: int = 2
    dimensions: int = 64
    token_dropout: float = 0.1
    dropout: float = 0.3
    max_words: int = 128
    max_characters: int = 256

    @property
    @abstractmethod
    def width(self) -> int:
        """Number of features of an encoded text."""

    @abstractmethod
    def encoder(self, length: int) -> keras.layers.Layer:
        """Returns a new layer, to be called with vectors `float32[B, T, dimensions]` and `present`.

        `present` is `float32[B, T, 1]`, 1 where there is a token and 0 behind the end; vectors there are 0.
        The result is `float32[B, width]` and does not depend on how many empty places T includes.

        Args:
            length: greatest T.
        """

    def fit(self, values: np.ndarray, *, seed: int) -> FittedExtractor:
        """Learns the vocabulary and the length of every column."""
        columns = []
        for column in range(values.shape[1]):
            columns.append(self._learn(values[:, column].tolist(), seed))
        return FittedTokenSequences(tuple(columns), self)

    def _learn(self, texts: list[str], seed: int) -> TokenSequence:
        kind: type[WordTokens] | type[CharacterTokens]
        if self.tokens == "words":
            kind, most, each = WordTokens, self.max_words, _CHARACTERS_A_WORD
        else:
            kind, most, each = CharacterTokens, self.max_characters, _CHARACTERS_A_CHARACTER
        texts = sampled_texts(texts, most * each, seed)
        tokens = kind.learn(texts, most * each, min_count=self.min_count, limit=self.max_features)
        _, rows = tokens.find(texts)
        wanted = length_for_most(np.bincount(rows, minlength=len(texts)))
        return TokenSequence(tokens, min(_rounded_up(wanted, _LENGTH_STEP), most))


def token_choice(hp: keras_tuner.HyperParameters, profile: DataProfile) -> str:
    """Draws the kind of token; characters by default where no text has spaces between words."""
    spaced = any(column.spaced for column in profile.columns)
    return str(hp.Choice("tokens", ["words", "characters"], default="words" if spaced else "characters"))


def are_short_texts(profile: DataProfile, *, min_rows: int, max_characters: float) -> bool:
    """Tells whether there are rows enough for a network over sequences and its cost is bounded.

    Args:
        profile: of one node.
        min_rows: least number of rows.
        max_characters: greatest mean length of the texts; longer ones say most of it behind the end.
    """
    return (
        profile.num_rows >= min_rows
        and len(profile.columns) <= 3
        and all(column.mean_characters <= max_characters for column in profile.columns)
    )


@dataclass(frozen=True, eq=False)
class FittedTokenSequences(FittedExtractor):
    """The numbering of each column and the component that encodes the sequences.

    Args:
        columns: one a column.
        extractor: the component that was fitted.
    """

    columns: tuple[TokenSequence, ...]
    extractor: SequenceExtractor

    @property
    def widths(self) -> tuple[int, ...]:
        """The numbers of each column."""
        return tuple(column.length for column in self.columns)

    @property
    def layer_widths(self) -> tuple[int, ...]:
        """The width of the encoder for each column."""
        return (self.extractor.width,) * len(self.columns)

    @property
    def layer_key(self) -> Hashable:
        """The component and the sizes: the layer holds nothing else of the rows."""
        return self.extractor, tuple((column.length, column.num_vectors) for column in self.columns)

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Returns numbers `int32[n, sum(widths)]`, 0 where a text has no more."""
        parts = [column.transform(values[:, place].tolist()) for place, column in enumerate(self.columns)]
        return np.concatenate(parts, axis=1)

    def graph(self, values: tf.Tensor, tables: LookupTables) -> tf.Tensor:
        """As `transform`."""
        import tensorflow as tf

        return tf.concat(
            [column.graph(values[:, place], tables) for place, column in enumerate(self.columns)], axis=1
        )

    def layer(self) -> keras.layers.Layer:
        """Returns the vectors and the encoders, each column with its own."""
        return _layer_class()(self.columns, self.extractor)


@cache
def _layer_class() -> Callable[[Sequence[TokenSequence], SequenceExtractor], keras.layers.Layer]:
    """Returns the class, which needs Keras to be declared."""
    import keras
    import tensorflow as tf

    class EncodedSequences(keras.layers.Layer):
        """From numbers `int32[B, sum(lengths)]` to `float32[B, columns * width]`.

        Args:
            columns: lengths and numbers of vectors.
            extractor: makes the encoders.
        """

        def __init__(self, columns: Sequence[TokenSequence], extractor: SequenceExtractor) -> None:
            super().__init__()
            self.lengths = [column.length for column in columns]
            self.num_vectors = [column.num_vectors for column in columns]
            self.extractor = extractor
            self.encoders = [extractor.encoder(length) for length in self.lengths]
            self.features_dropout = keras.layers.Dropout(extractor.dropout)
            self.seeds = keras.random.SeedGenerator()

        def build(self, shape: tuple[int | None, ...]) -> None:
            """Makes the vectors and the encoders' weights."""
            dimensions = self.extractor.dimensions
            normal = keras.initializers.RandomNormal(stddev=_SPREAD)
            self.vector_tables = [
                VectorTable(
                    self.add_weight(shape=(count, dimensions), initializer=normal, name=f"vectors_{place}")
                )
                for place, count in enumerate(self.num_vectors)
            ]
            for encoder in self.encoders:
                encoder.build((None, None, dimensions))

        def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
            """Returns the shape of the features."""
            return (shape[0], len(self.lengths) * self.extractor.width)

        def call(self, numbers: tf.Tensor, training: bool = False) -> tf.Tensor:
            """Returns the encoded columns of each row side by side."""
            encoded = []
            columns = tf.split(numbers, self.lengths, axis=1)
            for column, vectors, encoder in zip(columns, self.vector_tables, self.encoders, strict=True):
                # short texts cost little: nobody looks at places that are empty in the whole batch
                used = tf.reduce_max(tf.math.count_nonzero(column, axis=1, dtype=tf.int32))
                column = column[:, : tf.maximum(used, 1)]
                present = tf.cast(column > 0, tf.float32)[:, :, tf.newaxis]
                kept = present
                if training and self.extractor.token_dropout > 0:
                    seed = tf.cast(self.seeds.next(), tf.int32)
                    chance = tf.random.stateless_uniform(tf.shape(present), seed)
                    kept = present * tf.cast(chance >= self.extractor.token_dropout, tf.float32)
                found = vectors.rows(column) * kept
                encoded.append(encoder(found, present, training=training))
            return self.features_dropout(tf.concat(encoded, axis=1), training=training)

    return EncodedSequences
