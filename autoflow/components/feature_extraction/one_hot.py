"""Categories as one 0/1 column each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from autoflow.components.base import FeatureExtractor, FittedExtractor, LookupTables
from autoflow.components.feature_extraction._categories import (
    FIRST,
    MISSING,
    UNSEEN,
    CategorySlots,
    count_categories,
    indicator_graph,
    indicator_matrix,
    total_distinct,
)
from autoflow.components.registry import register
from autoflow.data.schema import ColumnKind, DataProfile

if TYPE_CHECKING:
    import keras_tuner
    import tensorflow as tf

_MAX_TOTAL = 5000


@register
@dataclass(frozen=True)
class OneHot(FeatureExtractor):
    """One 0/1 column a frequent category, one for rare and unseen ones, one for missing where it was seen.

    The safe choice for linear models and networks with up to some hundred categories.

    Args:
        min_rows: categories with fewer training rows share one column, 1 to 100.
        max_categories: columns for the most frequent categories of one source column, 2 to 2,000.
    """

    accepts: ClassVar[frozenset[ColumnKind]] = frozenset({ColumnKind.CATEGORICAL})

    min_rows: int = 3
    max_categories: int = 200

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """Draws how rare a category must be to lose its column; at most 4,000 columns in all."""
        most = int(np.clip(4000 // max(1, len(profile.columns)), 20, 1000))
        return cls(
            min_rows=hp.Int("min_rows", 1, 50, sampling="log", default=3),
            max_categories=hp.Int("max_categories", 10, most, sampling="log", default=min(200, most)),
        )

    @classmethod
    def supports(cls, profile: DataProfile) -> bool:
        """Up to 5,000 categories of all columns together."""
        return total_distinct(profile) <= _MAX_TOTAL

    def fit(self, values: np.ndarray, *, seed: int) -> FittedExtractor:
        """Learns the frequent categories of every column."""
        vocabularies, places, widths = [], [], []
        width = 0
        for counts in count_categories(values):
            kept = counts.frequent(min_rows=self.min_rows, max_categories=self.max_categories)
            others = width if len(kept.values) < len(counts.values) or not kept.values else -1
            first = width + (others >= 0)
            end = first + len(kept.values)
            missing = end if counts.num_missing else -1
            column_places = np.arange(FIRST + len(kept.values)) - FIRST + first
            column_places[[MISSING, UNSEEN]] = missing, others
            vocabularies.append(kept.values)
            places.append(column_places)
            widths.append(end + (missing >= 0) - width)
            width += widths[-1]
        return FittedOneHot(CategorySlots(tuple(vocabularies)), np.concatenate(places), tuple(widths))


@dataclass(frozen=True, eq=False)
class FittedOneHot(FittedExtractor):
    """The slots of the categories, for each slot its output column or -1, and the widths."""

    slots: CategorySlots
    places: np.ndarray
    source_widths: tuple[int, ...]

    @property
    def widths(self) -> tuple[int, ...]:
        """The kept categories of each column, one more for the others, one more for missing."""
        return self.source_widths

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Returns `float32[n, sum(widths)]` of 0 and 1; a category that was never seen rare is all zeros."""
        return indicator_matrix(self.places[self.slots.find(values)], None, sum(self.widths))

    def graph(self, values: tf.Tensor, tables: LookupTables) -> tf.Tensor:
        """As `transform`."""
        import tensorflow as tf

        places = tf.gather(self.places, self.slots.find_graph(values, tables))
        return indicator_graph(places, None, sum(self.widths))
