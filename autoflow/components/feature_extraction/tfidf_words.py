"""Texts as weighted words, reduced to a dense vector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from autoflow.components.base import FeatureExtractor, FittedExtractor
from autoflow.components.feature_extraction._text_tokens import WordTokens
from autoflow.components.feature_extraction._tfidf import FittedTfidf, TfidfSettings, learn, sampled_texts
from autoflow.components.registry import register
from autoflow.data.schema import ColumnKind, DataProfile

if TYPE_CHECKING:
    import keras_tuner


@register
@dataclass(frozen=True)
class TfidfWords(FeatureExtractor):
    """Words and word pairs weighted by TF-IDF and reduced by a truncated SVD (latent semantic analysis).

    After Deerwester et al., "Indexing by Latent Semantic Analysis", 1990. For texts whose words are parted by
    spaces; each column has a vocabulary of its own.

    Args:
        max_words: longest run of words that counts as a term, 1 to 3.
        max_features: most terms kept, 500 to 50,000.
        min_rows: training rows that a term must occur in, 1 to 20.
        sublinear: whether a term that occurs c times weighs 1 + log c instead of c.
        dimensions: width of the dense vector, 8 to 300.
        max_characters: how far a text is read, 100 to 20,000.
    """

    accepts: ClassVar[frozenset[ColumnKind]] = frozenset({ColumnKind.TEXT, ColumnKind.CATEGORICAL})

    max_words: int = 2
    max_features: int = 20_000
    min_rows: int = 2
    sublinear: bool = True
    dimensions: int = 128
    max_characters: int = 4_000

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """Draws vocabulary and width; wider for many classes, narrower for columns of categories."""
        text = any(column.kind is ColumnKind.TEXT for column in profile.columns)
        width = (128 if profile.num_classes <= 20 else 256) if text else 32
        return cls(
            max_words=hp.Int("max_words", 1, 2, default=2),
            max_features=hp.Int("max_features", 1000, 50_000, sampling="log", default=20_000),
            min_rows=hp.Int("min_rows", 1, 10, sampling="log", default=2),
            sublinear=hp.Boolean("sublinear", default=True),
            dimensions=hp.Int("dimensions", 16, 300, sampling="log", default=width),
        )

    @classmethod
    def supports(cls, profile: DataProfile) -> bool:
        """Up to 10 columns; some text with spaces, or categories in many values of some length."""
        return len(profile.columns) <= 10 and any(
            column.spaced
            and (
                column.kind is ColumnKind.TEXT or (column.num_distinct >= 50 and column.mean_characters >= 8)
            )
            for column in profile.columns
        )

    def fit(self, values: np.ndarray, *, seed: int) -> FittedExtractor:
        """Learns vocabulary and projection of every column."""
        settings = TfidfSettings(
            (1, self.max_words), self.max_features, self.min_rows, self.sublinear, self.dimensions
        )
        vectors = []
        for column in range(values.shape[1]):
            texts = sampled_texts(values[:, column].tolist(), self.max_characters, seed)
            tokens = WordTokens.learn(
                texts,
                self.max_characters,
                min_count=self.min_rows,
                limit=min(settings.max_tokens, self.max_features),
            )
            vectors.append(learn(tokens, texts, settings, seed))
        return FittedTfidf(tuple(vectors))
