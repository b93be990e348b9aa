"""Categories as consecutive numbers, for trees."""

from __future__ import annotations

import re
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
    total_distinct,
)
from autoflow.components.registry import register
from autoflow.data.schema import ColumnKind, DataProfile

if TYPE_CHECKING:
    import keras_tuner
    import tensorflow as tf

_MANY = 100_000
"""Distinct values of all columns together, from which those of a single row are left out at first: each is a
string in the exported model. Without them that of 2,000 columns took 18 CPU-seconds and not 29."""
_DIGITS = re.compile(r"([0-9]+)")
_NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?")


@register
@dataclass(frozen=True)
class OrdinalCodes(FeatureExtractor):
    """Each category as its place in an order, one column a source column; made for trees.

    Missing is 0, the categories follow from 1 on; rare and unseen ones share the place behind the last one.
    A classifier that knows sets of categories is told that these are codes.

    Args:
        order: `"alphabetical"` (numbers within a text by size: "2 rooms" before "10 rooms", "1st" before
            "2nd") or `"frequency"` (the most frequent category is 1).
        min_rows: categories with fewer training rows count as unseen, 1 to 100.
    """

    accepts: ClassVar[frozenset[ColumnKind]] = frozenset({ColumnKind.CATEGORICAL})

    order: str = "alphabetical"
    min_rows: int = 1

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """Draws the order and from how many rows on a category counts."""
        fewest = 1 if total_distinct(profile) < _MANY else 2
        return cls(
            order=hp.Choice("order", ["alphabetical", "frequency"], default="alphabetical"),
            min_rows=hp.Int("min_rows", 1, 30, sampling="log", default=fewest),
        )

    def fit(self, values: np.ndarray, *, seed: int) -> FittedExtractor:
        """Learns the categories of every column."""
        vocabularies, codes = [], []
        for counts in count_categories(values):
            kept = counts.frequent(min_rows=self.min_rows, max_categories=len(counts.values)).values
            if self.order == "alphabetical":
                kept = tuple(sorted(kept, key=_natural_order))
            column_codes = np.arange(FIRST + len(kept)) - FIRST + 1
            column_codes[[MISSING, UNSEEN]] = 0, len(kept) + 1
            vocabularies.append(kept)
            codes.append(column_codes)
        return FittedOrdinalCodes(
            CategorySlots(tuple(vocabularies)), np.concatenate(codes).astype(np.float32)
        )


def _natural_order(value: str) -> tuple[list[tuple[bool, float, str]], str]:
    """Numbers come first, by size; texts are split into digits and the rest; the value itself breaks ties."""
    if _NUMBER.fullmatch(value):
        return [(False, float(value), "")], value
    runs = [run for run in _DIGITS.split(value.casefold()) if run]
    return [(False, float(run), "") if run[0] in "0123456789" else (True, 0.0, run) for run in runs], value


@dataclass(frozen=True, eq=False)
class FittedOrdinalCodes(FittedExtractor):
    """The slots of the categories and the code of each slot, `float32`."""

    slots: CategorySlots
    codes: np.ndarray

    @property
    def widths(self) -> tuple[int, ...]:
        """One a column."""
        return (1,) * len(self.slots.vocabularies)

    @property
    def categorical(self) -> bool:
        """Codes they are."""
        return True

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Returns `float32[n, k]` of whole numbers from 0 on."""
        return self.codes[self.slots.find(values)]

    def graph(self, values: tf.Tensor, tables: LookupTables) -> tf.Tensor:
        """As `transform`."""
        import tensorflow as tf

        return tf.gather(self.codes, self.slots.find_graph(values, tables))
