"""Texts as learned vectors of their words and characters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from autoflow.components.base import FeatureExtractor, FittedExtractor, LookupTables
from autoflow.components.feature_extraction._embedding_bag import embedding_bag
from autoflow.components.feature_extraction._ngram_ids import NgramIds, learn_ids
from autoflow.components.feature_extraction._text_tokens import CharacterTokens, WordTokens
from autoflow.components.feature_extraction._tfidf import sampled_texts
from autoflow.components.registry import register
from autoflow.data.schema import ColumnKind, DataProfile

if TYPE_CHECKING:
    import keras
    import keras_tuner
    import tensorflow as tf


_LONG_TEXT = 300
"""Mean characters from where on the words alone say enough, and runs of characters cost too much."""


@register
@dataclass(frozen=True)
class TokenEmbedding(FeatureExtractor):
    """A vector for each word, word pair and run of characters, learned with the network and averaged.

    The text half of fastText (Joulin et al., "Bag of Tricks for Efficient Text Classification", 2017), with a
    learned vocabulary in place of hashing and the inverse document frequencies as weights of the mean. It
    keeps what a reduced TF-IDF loses where there are many classes.

    Args:
        tokens: `"words"`, `"characters"`, or `"both"` with a mean of their own each.
        max_words: longest run of words that has a vector, 1 to 3.
        max_run: longest run of characters that has a vector, 2 to 5; the shortest is 1, or 2 beside words.
        max_features: most vectors a column for words and for characters each, 500 to 50,000.
        min_rows: training rows that a run must occur in, 1 to 20.
        dimensions: width of a vector, 8 to 256.
        dropout: share of the runs left out in training, 0 to 0.6.
        max_length: most distinct runs read of a text, 16 to 2,000.
        max_characters: how far a text is read, 100 to 20,000.
        pooling: `"mean"`, or `"attention"`, where the network also learns which runs to look at.
    """

    accepts: ClassVar[frozenset[ColumnKind]] = frozenset({ColumnKind.TEXT, ColumnKind.CATEGORICAL})
    trainable: ClassVar[bool] = True

    tokens: str = "both"
    max_words: int = 2
    max_run: int = 3
    max_features: int = 20_000
    min_rows: int = 2
    dimensions: int = 64
    dropout: float = 0.2
    max_length: int = 512
    max_characters: int = 4_000
    pooling: str = "mean"

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """Draws tokens, vocabulary and width; words alone where texts are long, characters without words."""
        spaced = any(column.spaced for column in profile.columns)
        long = sum(column.mean_characters for column in profile.columns) > _LONG_TEXT
        return cls(
            tokens=hp.Choice(
                "tokens",
                ["words", "characters", "both"],
                default="characters" if not spaced else "words" if long else "both",
            ),
            max_words=hp.Int("max_words", 1, 2, default=cls.max_words),
            max_run=hp.Int("max_run", 2, 5, default=cls.max_run if spaced else 4),
            max_features=hp.Int("max_features", 2000, 50_000, sampling="log", default=cls.max_features),
            min_rows=hp.Int("min_rows", 1, 10, sampling="log", default=cls.min_rows),
            dimensions=hp.Int("dimensions", 16, 256, sampling="log", default=cls.dimensions),
            dropout=hp.Float("dropout", 0.0, 0.5, default=cls.dropout),
            pooling=hp.Choice("pooling", ["mean", "attention"], default=cls.pooling),
        )

    @classmethod
    def supports(cls, profile: DataProfile) -> bool:
        """Up to 10 columns; some text, or categories in many values of some length."""
        return len(profile.columns) <= 10 and any(
            column.kind is ColumnKind.TEXT or (column.num_distinct >= 50 and column.mean_characters >= 4)
            for column in profile.columns
        )

    def fit(self, values: np.ndarray, *, seed: int) -> FittedExtractor:
        """Learns the vocabularies of every column."""
        columns = []
        for column in range(values.shape[1]):
            texts = sampled_texts(values[:, column].tolist(), self.max_characters, seed)
            columns.append(tuple(self._learn(kind, texts) for kind in self._kinds()))
        return FittedTokenEmbedding(tuple(columns), self.dimensions, self.dropout, self.pooling)

    def _kinds(self) -> tuple[str, ...]:
        return ("words", "characters") if self.tokens == "both" else (self.tokens,)

    def _learn(self, kind: str, texts: list[str]) -> NgramIds:
        shortest = 2 if self.tokens == "both" else 1  # single letters say nothing beside words
        sizes = (1, self.max_words) if kind == "words" else (min(shortest, self.max_run), self.max_run)
        known = min(int(2 ** (62 / sizes[1])) - 2, self.max_features)  # keys of n-grams fit into an int64
        tokens = (WordTokens if kind == "words" else CharacterTokens).learn(
            texts, self.max_characters, min_count=self.min_rows, limit=known
        )
        return learn_ids(
            tokens,
            texts,
            sizes,
            min_rows=self.min_rows,
            max_features=self.max_features,
            max_length=self.max_length,
        )


@dataclass(frozen=True, eq=False)
class FittedTokenEmbedding(FittedExtractor):
    """The vocabularies of each column and the shape of the vectors.

    Args:
        columns: one or two vocabularies a column.
        dimensions: width of a vector.
        dropout: share of the numbers left out in training.
        pooling: `"mean"` or `"attention"`.
    """

    columns: tuple[tuple[NgramIds, ...], ...]
    dimensions: int
    dropout: float
    pooling: str

    @property
    def widths(self) -> tuple[int, ...]:
        """The numbers of each column."""
        return tuple(sum(ids.length for ids in column) for column in self.columns)

    @property
    def layer_widths(self) -> tuple[int, ...]:
        """One vector a vocabulary."""
        return tuple(len(column) * self.dimensions for column in self.columns)

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Returns numbers `int32[n, sum(widths)]`, 0 where a text has no more."""
        parts = []
        for place, column in enumerate(self.columns):
            texts = values[:, place].tolist()
            parts += [ids.transform(texts) for ids in column]
        return np.concatenate(parts, axis=1)

    def graph(self, values: tf.Tensor, tables: LookupTables) -> tf.Tensor:
        """As `transform`."""
        import tensorflow as tf

        parts = [
            ids.graph(values[:, place], tables) for place, column in enumerate(self.columns) for ids in column
        ]
        return tf.concat(parts, axis=1)

    def layer(self) -> keras.layers.Layer:
        """Returns the vectors and their weighted mean."""
        bags = [ids for column in self.columns for ids in column]
        return embedding_bag(
            [ids.length for ids in bags],
            [ids.idf for ids in bags],
            self.dimensions,
            self.dropout,
            pooling=self.pooling,
        )
