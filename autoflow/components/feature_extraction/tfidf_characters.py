"""Texts as weighted runs of characters, reduced to a dense vector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from autoflow.components.base import FeatureExtractor, FittedExtractor
from autoflow.components.feature_extraction._text_tokens import CharacterTokens
from autoflow.components.feature_extraction._tfidf import FittedTfidf, TfidfSettings, learn, sampled_texts
from autoflow.components.registry import register
from autoflow.data.schema import ColumnKind, DataProfile

if TYPE_CHECKING:
    import keras_tuner


@register
@dataclass(frozen=True)
class TfidfCharacters(FeatureExtractor):
    """Runs of characters weighted by TF-IDF and reduced by a truncated SVD.

    Character n-grams need no words: they fit Japanese and Chinese, codes, names, misspellings and telling
    languages apart (Cavnar and Trenkle, "N-Gram-Based Text Categorization", 1994). Each column has a
    vocabulary of its own.

    Args:
        min_run: shortest run, 1 to 3.
        max_run: longest run, 2 to 5.
        max_features: most runs kept, 500 to 50,000.
        min_rows: training rows that a run must occur in, 1 to 20.
        sublinear: whether a run that occurs c times weighs 1 + log c instead of c.
        dimensions: width of the dense vector, 8 to 300.
        max_characters: how far a text is read, 100 to 20,000.
    """

    accepts: ClassVar[frozenset[ColumnKind]] = frozenset({ColumnKind.TEXT, ColumnKind.CATEGORICAL})

    min_run: int = 1
    max_run: int = 3
    max_features: int = 15_000
    min_rows: int = 2
    sublinear: bool = True
    dimensions: int = 128
    max_characters: int = 1_000

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """Draws runs, vocabulary and width; wider for many classes, narrower for columns of categories."""
        text = any(column.kind is ColumnKind.TEXT for column in profile.columns)
        width = (128 if profile.num_classes <= 20 else 256) if text else 32
        return cls(
            min_run=hp.Int("min_run", 1, 2, default=1),
            max_run=hp.Int("max_run", 2, 4, default=3),
            max_features=hp.Int("max_features", 1000, 50_000, sampling="log", default=15_000),
            min_rows=hp.Int("min_rows", 1, 10, sampling="log", default=2),
            sublinear=hp.Boolean("sublinear", default=True),
            dimensions=hp.Int("dimensions", 16, 300, sampling="log", default=width),
        )

    @classmethod
    def supports(cls, profile: DataProfile) -> bool:
        """Up to 10 columns; some text, or categories in many values of some length."""
        return len(profile.columns) <= 10 and any(
            column.kind is ColumnKind.TEXT or (column.num_distinct >= 50 and column.mean_characters >= 4)
            for column in profile.columns
        )

    def fit(self, values: np.ndarray, *, seed: int) -> FittedExtractor:
        """Learns vocabulary and projection of every column."""
        settings = TfidfSettings(
            (min(self.min_run, self.max_run), self.max_run),
            self.max_features,
            self.min_rows,
            self.sublinear,
            self.dimensions,
        )
        vectors = []
        for column in range(values.shape[1]):
            texts = sampled_texts(values[:, column].tolist(), self.max_characters, seed)
            tokens = CharacterTokens.learn(
                texts, self.max_characters, min_count=self.min_rows, limit=min(settings.max_tokens, 30_000)
            )
            vectors.append(learn(tokens, texts, settings, seed))
        return FittedTfidf(tuple(vectors))
