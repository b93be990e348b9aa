"""Texts as learned vectors of hashed n-grams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from autoflow.components.base import FeatureExtractor, FittedExtractor, LookupTables
from autoflow.components.feature_extraction._embedding_bag import embedding_bag
from autoflow.components.feature_extraction._hashed_ids import HashedIds, hash_factor, learned
from autoflow.components.feature_extraction._open_tokens import HashedCharacters, HashedWords
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
class HashedNgrams(FeatureExtractor):
    """Learned vectors of n-grams, each found by its hash, and averaged: no vocabulary.

    As in fastText (Joulin et al., "Bag of Tricks for Efficient Text Classification", 2017; hashing after
    Weinberger et al., ICML 2009). For open vocabularies: product codes, misspellings, many languages. Its
    size is the same whatever the texts are. Buckets weigh by their inverse document frequency; those that no
    training row hits count as nothing.

    Args:
        tokens: `"words"`, `"characters"`, or `"both"` with a mean of their own each.
        max_words: longest run of words, 1 or 2.
        max_run: longest run of characters, 2 to 4; the shortest is 1, or 2 beside words.
        num_buckets: vectors a column for words and for characters each, 1,000 to 200,000.
        dimensions: width of a vector, 8 to 256.
        dropout: share of the buckets left out in training, 0 to 0.6.
        max_length: most distinct buckets read of a text, 16 to 2,000.
        max_characters: how far a text is read, 100 to 20,000.
    """

    accepts: ClassVar[frozenset[ColumnKind]] = frozenset({ColumnKind.TEXT, ColumnKind.CATEGORICAL})
    trainable: ClassVar[bool] = True

    tokens: str = "both"
    max_words: int = 2
    max_run: int = 4
    num_buckets: int = 30_000
    dimensions: int = 48
    dropout: float = 0.2
    max_length: int = 512
    max_characters: int = 4_000

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """Draws tokens, buckets and width; words alone where texts are long, characters without words."""
        spaced = any(column.spaced for column in profile.columns)
        long = sum(column.mean_characters for column in profile.columns) > _LONG_TEXT
        return cls(
            tokens=hp.Choice(
                "tokens",
                ["words", "characters", "both"],
                default="characters" if not spaced else "words" if long else "both",
            ),
            max_words=hp.Int("max_words", 1, 2, default=cls.max_words),
            max_run=hp.Int("max_run", 2, 4, default=cls.max_run),
            num_buckets=hp.Int("num_buckets", 5000, 100_000, sampling="log", default=cls.num_buckets),
            dimensions=hp.Int("dimensions", 16, 128, sampling="log", default=cls.dimensions),
            dropout=hp.Float("dropout", 0.0, 0.5, default=cls.dropout),
        )

    @classmethod
    def supports(cls, profile: DataProfile) -> bool:
        """Up to 5 columns; some text, or categories in many values of some length."""
        return len(profile.columns) <= 5 and any(
            column.kind is ColumnKind.TEXT or (column.num_distinct >= 50 and column.mean_characters >= 4)
            for column in profile.columns
        )

    def fit(self, values: np.ndarray, *, seed: int) -> FittedExtractor:
        """Draws the hash function; learns how common each bucket is and how many a row needs."""
        factor = hash_factor(seed)
        columns = []
        for column in range(values.shape[1]):
            texts = sampled_texts(values[:, column].tolist(), self.max_characters, seed)
            columns.append(tuple(self._learn(kind, texts, factor) for kind in self._kinds()))
        return FittedHashedNgrams(tuple(columns), self.dimensions, self.dropout)

    def _kinds(self) -> tuple[str, ...]:
        return ("words", "characters") if self.tokens == "both" else (self.tokens,)

    def _learn(self, kind: str, texts: list[str], factor: int) -> tuple[HashedIds, np.ndarray]:
        shortest = 2 if self.tokens == "both" else 1  # single letters say nothing beside words
        sizes = (1, self.max_words) if kind == "words" else (min(shortest, self.max_run), self.max_run)
        tokens = (HashedWords if kind == "words" else HashedCharacters)(self.max_characters)
        ids = HashedIds(tokens, sizes, self.num_buckets, factor, self.max_length)
        return learned(ids, texts)


@dataclass(frozen=True, eq=False)
class FittedHashedNgrams(FittedExtractor):
    """The hash functions of each column, what a bucket weighs, and the shape of the vectors.

    Args:
        columns: one or two a column, each with importances `float32[num_buckets]`.
        dimensions: width of a vector.
        dropout: share of the buckets left out in training.
    """

    columns: tuple[tuple[tuple[HashedIds, np.ndarray], ...], ...]
    dimensions: int
    dropout: float

    @property
    def widths(self) -> tuple[int, ...]:
        """The numbers of each column."""
        return tuple(sum(ids.length for ids, _ in column) for column in self.columns)

    @property
    def layer_widths(self) -> tuple[int, ...]:
        """One vector a hash function."""
        return tuple(len(column) * self.dimensions for column in self.columns)

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Returns numbers `int32[n, sum(widths)]`, 0 where a text has no more."""
        parts = []
        for place, column in enumerate(self.columns):
            texts = values[:, place].tolist()
            parts += [ids.transform(texts) for ids, _ in column]
        return np.concatenate(parts, axis=1)

    def graph(self, values: tf.Tensor, tables: LookupTables) -> tf.Tensor:
        """As `transform`."""
        import tensorflow as tf

        parts = [
            ids.graph(values[:, place], tables)
            for place, column in enumerate(self.columns)
            for ids, _ in column
        ]
        return tf.concat(parts, axis=1)

    def layer(self) -> keras.layers.Layer:
        """Returns the vectors and their weighted mean."""
        bags = [bag for column in self.columns for bag in column]
        return embedding_bag(
            [ids.length for ids, _ in bags],
            [importances for _, importances in bags],
            self.dimensions,
            self.dropout,
        )
