"""Categories by the classes of their training rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from autoflow.components.base import CrossFittedExtractor, FittedExtractor, LookupTables
from autoflow.components.feature_extraction._categories import (
    UNSEEN,
    CategorySlots,
    count_categories,
)
from autoflow.components.registry import register
from autoflow.data.schema import ColumnKind, DataProfile
from autoflow.data.split import fold_numbers

if TYPE_CHECKING:
    import keras_tuner
    import tensorflow as tf

_FEWEST_ROWS = 2
_STRENGTHS = 1.0, 1000.0
"""Rows that the prior counts at least and at most: few categories tell little about how they differ."""
_LEAST_OF_UNSEEN = 20.0
"""The same at least for unseen categories, which rows of others speak for."""


@register
@dataclass(frozen=True)
class TargetStatistics(CrossFittedExtractor):
    """The share of each class among a category's rows, as logarithm relative to its share in all rows.

    Made for columns of hundreds or thousands of categories: what one-hot columns would have to learn from few
    rows each is given at once. A category with few rows is drawn to the shares of all rows (Micci-Barreca
    2001), the more the less the categories of its column differ: the number of rows that the prior counts is
    that of a beta-binomial model, estimated from the variance within and between categories (Ridout et al.
    1999). Training rows are described by the rows of the other folds; a group of rows is in one fold.
    Categories of a single row count as one, which unseen ones are told of, too: 0 where there are none.

    Args:
        smoothing: factor on the number of rows that the prior counts, 0.1 to 10.
        max_classes: only the shares of that many classes, the most frequent ones, 1 to 100.
    """

    accepts: ClassVar[frozenset[ColumnKind]] = frozenset({ColumnKind.CATEGORICAL})

    smoothing: float = 1.0
    max_classes: int = 10

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """Draws the smoothing and the number of classes; at most 2,000 features in all."""
        most = int(np.clip(2000 // max(1, len(profile.columns)), 2, 40))
        return cls(
            smoothing=hp.Float("smoothing", 0.1, 10.0, sampling="log", default=1.0),
            max_classes=hp.Int("max_classes", 1, most, sampling="log", default=min(10, most)),
        )

    def fit_transform(
        self,
        values: np.ndarray,
        labels: np.ndarray,
        num_classes: int,
        *,
        seed: int,
        ties: np.ndarray | None = None,
    ) -> tuple[FittedExtractor, np.ndarray]:
        """Counts the classes of every category, once with all rows and once without each fold."""
        # scikit-learn's TargetEncoder gives every class, takes the prior from the fold (which then tells the
        # fold), and shrinks a category of a single row not at all
        # by its own row a category tells nothing while it is learned, and takes its place in the graph
        slots = CategorySlots(
            tuple(
                counts.frequent(min_rows=_FEWEST_ROWS, max_categories=len(counts.values)).values
                for counts in count_categories(values)
            )
        )
        codes = slots.find(values) - slots.offsets[:-1]
        classes = _told_classes(np.bincount(labels, minlength=num_classes), self.max_classes)
        hits = (labels[:, None] == classes).astype(np.float64)
        folds = fold_numbers(labels, ties, seed=seed)
        statistics, features = [], []
        for column, size in enumerate(slots.sizes.tolist()):
            table, own = self._column(codes[:, column], size, hits, folds)
            statistics.append(table)
            features.append(own)
        return FittedTargetStatistics(slots, np.concatenate(statistics)), np.concatenate(features, axis=1)

    def _column(
        self, codes: np.ndarray, size: int, hits: np.ndarray, folds: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns what the slots of a column tell, `float32[size, c]`, and its rows, `float32[n, c]`."""
        prior = hits.mean(axis=0)
        counts, rows = _counted(codes, hits, size), np.bincount(codes, minlength=size)
        told_apart = np.arange(size) != UNSEEN
        strength = np.full(size, self.smoothing * _prior_rows(counts[told_apart], rows[told_apart]))
        # rows of different categories say little about what an unseen one will be
        strength[UNSEEN] = max(strength[UNSEEN], _LEAST_OF_UNSEEN)
        own = np.empty(hits.shape, np.float32)
        for fold in range(int(folds.max()) + 1):
            part = folds == fold
            there = codes[part]
            others = counts - _counted(there, hits[part], size), rows - np.bincount(there, minlength=size)
            own[part] = _log_ratios(*others, prior, strength)[there]
        return _log_ratios(counts, rows, prior, strength), own


def _told_classes(class_counts: np.ndarray, most: int) -> np.ndarray:
    """Returns the classes whose shares are given, the most frequent first; of two one says it all."""
    classes = np.argsort(-class_counts, kind="stable")[: np.count_nonzero(class_counts)]
    return classes[1:] if len(classes) == 2 else classes[:most]


def _counted(codes: np.ndarray, hits: np.ndarray, size: int) -> np.ndarray:
    """Returns `float64[size, c]`, rows of each slot and class."""
    return np.stack([np.bincount(codes, hit, minlength=size) for hit in hits.T], axis=1)


def _prior_rows(counts: np.ndarray, rows: np.ndarray) -> float:
    """Returns how many rows the prior should count: (1 - r) / r for the correlation r within a category."""
    counts, rows = counts[rows > 0], rows[rows > 0].astype(np.float64)
    total, number = rows.sum(), len(rows)
    if number < 2 or total == number:  # nothing differs, or nothing repeats
        return _STRENGTHS[1]
    shares, overall = counts / rows[:, None], counts.sum(axis=0) / total
    within = (rows[:, None] * shares * (1 - shares)).sum() / (total - number)
    between = (rows[:, None] * (shares - overall) ** 2).sum() / (number - 1)
    usual_rows = (total - (rows**2).sum() / total) / (number - 1)
    spread = between + (usual_rows - 1) * within
    correlation = (between - within) / spread if spread > 0 else 0.0
    least = 1 / (1 + _STRENGTHS[1])
    return float(np.clip(1 / max(correlation, least) - 1, *_STRENGTHS))


def _log_ratios(counts: np.ndarray, rows: np.ndarray, prior: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """Returns `float32[size, c]`, logarithms of smoothed shares relative to the prior."""
    shares = (counts + strength[:, None] * prior) / (rows + strength)[:, None]
    return np.where(rows[:, None] > 0, np.log(shares / prior), 0.0).astype(np.float32)


@dataclass(frozen=True, eq=False)
class FittedTargetStatistics(FittedExtractor):
    """The slots of the categories and what each slot's rows tell, `float32[slots, classes]`."""

    slots: CategorySlots
    statistics: np.ndarray

    @property
    def widths(self) -> tuple[int, ...]:
        """One a class."""
        return (self.statistics.shape[1],) * len(self.slots.vocabularies)

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Returns `float32[n, k * classes]`."""
        return self.statistics[self.slots.find(values)].reshape(len(values), -1)

    def graph(self, values: tf.Tensor, tables: LookupTables) -> tf.Tensor:
        """As `transform`."""
        import tensorflow as tf

        told = tf.gather(self.statistics, self.slots.find_graph(values, tables))
        return tf.reshape(told, [-1, sum(self.widths)])
