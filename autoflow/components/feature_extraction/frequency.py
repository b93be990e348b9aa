"""Categories by how often they occur."""

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
)
from autoflow.components.registry import register
from autoflow.data.schema import ColumnKind, DataProfile

if TYPE_CHECKING:
    import keras_tuner
    import tensorflow as tf


@register
@dataclass(frozen=True)
class Frequency(FeatureExtractor):
    """Each category as its smoothed frequency in training, one column a source column.

    Useful where a column has very many categories and how common one is says something: postcodes, names,
    breeds. Categories seen equally often cannot be told apart.

    Args:
        smoothing: rows added to every count, 0.1 to 100; an unseen category has these only.
        logarithmic: whether the share is given as logarithm relative to an even spread over the categories.
    """

    accepts: ClassVar[frozenset[ColumnKind]] = frozenset({ColumnKind.CATEGORICAL})

    smoothing: float = 1.0
    logarithmic: bool = True

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """Draws the smoothing and the scale."""
        return cls(
            smoothing=hp.Float("smoothing", 0.1, 100.0, sampling="log", default=1.0),
            logarithmic=hp.Boolean("logarithmic", default=True),
        )

    def fit(self, values: np.ndarray, *, seed: int) -> FittedExtractor:
        """Counts the categories of every column."""
        vocabularies, frequencies = [], []
        for counts in count_categories(values):
            rows = np.zeros(FIRST + len(counts.values))
            rows[FIRST:] = counts.counts
            rows[MISSING], rows[UNSEEN] = counts.num_missing, 0
            shares = (rows + self.smoothing) / (len(values) + self.smoothing * len(rows))
            vocabularies.append(counts.values)
            frequencies.append(np.log(shares * len(rows)) if self.logarithmic else shares)
        slots = CategorySlots(tuple(vocabularies))
        return FittedFrequency(slots, np.concatenate(frequencies).astype(np.float32))


@dataclass(frozen=True, eq=False)
class FittedFrequency(FittedExtractor):
    """The slots of the categories and the frequency of each slot, `float32`."""

    slots: CategorySlots
    frequencies: np.ndarray

    @property
    def widths(self) -> tuple[int, ...]:
        """One a column."""
        return (1,) * len(self.slots.vocabularies)

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Returns `float32[n, k]`."""
        return self.frequencies[self.slots.find(values)]

    def graph(self, values: tf.Tensor, tables: LookupTables) -> tf.Tensor:
        """As `transform`."""
        import tensorflow as tf

        return tf.gather(self.frequencies, self.slots.find_graph(values, tables))
