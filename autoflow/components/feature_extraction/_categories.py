"""What the extractors of categories share: one vocabulary a column, and one lookup table for all of them.

A value becomes a *slot*: an index into any array that says something about every category of every column. No
component and no hyperparameter may enter this file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from autoflow.components.base import LookupTables
from autoflow.data.schema import DataProfile

if TYPE_CHECKING:
    import tensorflow as tf

_SEPARATOR = "\x1f"

MISSING = 0
"""Slot of a missing value, within its column."""

UNSEEN = 1
"""Slot of a value that has none of its own, within its column."""

FIRST = 2
"""Slot of the first kept category, within its column."""


def total_distinct(profile: DataProfile) -> int:
    """Returns the number of distinct values of all columns together."""
    return sum(column.num_distinct for column in profile.columns)


@dataclass(frozen=True, eq=False)
class CategoryCounts:
    """Categories of one column in the training rows.

    Args:
        values: distinct non-missing values, the most frequent first, equally frequent ones by alphabet.
        counts: `int64[len(values)]`, their rows.
        num_missing: rows without a value.
    """

    values: tuple[str, ...]
    counts: np.ndarray
    num_missing: int

    def frequent(self, *, min_rows: int, max_categories: int) -> CategoryCounts:
        """Returns the categories with at least `min_rows` rows, at most `max_categories` of them."""
        kept = min(int((self.counts >= min_rows).sum()), max_categories)
        return CategoryCounts(self.values[:kept], self.counts[:kept], self.num_missing)


def count_categories(values: np.ndarray) -> list[CategoryCounts]:
    """Counts the values of every column of `object[n, k]`."""
    return [_count(values[:, column]) for column in range(values.shape[1])]


def _count(values: np.ndarray) -> CategoryCounts:
    codes, distinct = pd.factorize(values)
    counts = np.bincount(codes, minlength=len(distinct))
    pairs = sorted(zip((-counts).tolist(), distinct.tolist(), strict=True))
    num_missing = sum(-count for count, value in pairs if value == "")
    kept = [(value, -count) for count, value in pairs if value != ""]
    return CategoryCounts(
        tuple(value for value, _ in kept), np.array([count for _, count in kept], np.int64), num_missing
    )


@dataclass(frozen=True)
class CategorySlots:
    """Numbers the categories of all columns: per column missing, unseen, then what it knows.

    Args:
        vocabularies: kept categories of each column, in slot order.
    """

    vocabularies: tuple[tuple[str, ...], ...]

    @property
    def offsets(self) -> np.ndarray:
        """`int64[k + 1]`: the first slot of each column, and the number of slots."""
        sizes = [FIRST + len(vocabulary) for vocabulary in self.vocabularies]
        return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    @property
    def sizes(self) -> np.ndarray:
        """`int64[k]`: number of slots of each column."""
        return np.diff(self.offsets)

    def find(self, values: np.ndarray) -> np.ndarray:
        """Returns slots `int64[n, k]` of `object[n, k]`."""
        slots = np.empty(values.shape, np.int64)
        for column, (vocabulary, offset) in enumerate(zip(self.vocabularies, self.offsets, strict=False)):
            codes, distinct = pd.factorize(values[:, column])
            index = pd.Index(np.array(vocabulary, dtype=object), dtype=object)
            places = index.get_indexer(pd.Index(distinct, dtype=object))
            known = np.where(places >= 0, places + FIRST, UNSEEN)
            known[np.array([value == "" for value in distinct], bool)] = MISSING
            slots[:, column] = known[codes] + offset
        return slots

    def find_graph(self, values: tf.Tensor, tables: LookupTables) -> tf.Tensor:
        """Returns slots `int64[B, k]` of `string[B, k]`, with one table for all columns."""
        import tensorflow as tf

        keys: list[str] = []
        numbers: list[int] = []
        for column, vocabulary in enumerate(self.vocabularies):
            prefix = f"{column}{_SEPARATOR}"
            keys += [prefix, *(prefix + value for value in vocabulary)]
            numbers += [MISSING, *range(FIRST, FIRST + len(vocabulary))]
        table = tables.table(keys, numbers, UNSEEN)
        prefixes = [f"{column}{_SEPARATOR}" for column in range(len(self.vocabularies))]
        return table.lookup(prefixed(values, prefixes)) + tf.constant(self.offsets[:-1])


def prefixed(values: tf.Tensor, prefixes: Sequence[str]) -> tf.Tensor:
    """Returns `string[B, k]` with a text of its column before each value."""
    import tensorflow as tf

    row = tf.constant([list(prefixes)], tf.string)
    return tf.strings.join([tf.tile(row, [tf.shape(values)[0], 1]), values])


def indicator_matrix(places: np.ndarray, signs: np.ndarray | None, width: int) -> np.ndarray:
    """Returns `float32[n, width]` that adds 1 (or its sign) at the places of each row.

    Args:
        places: `int64[n, k]`, columns of the result that differ within a row, or -1 for none.
        signs: `float32[n, k]` or None.
        width: number of columns.
    """
    features = np.zeros((len(places), width), np.float32)
    rows, columns = np.nonzero(places >= 0)
    features[rows, places[rows, columns]] = 1.0 if signs is None else signs[rows, columns]
    return features


def indicator_graph(places: tf.Tensor, signs: tf.Tensor | None, width: int) -> tf.Tensor:
    """As `indicator_matrix`, for `int64[B, k]` and `float32[B, k]`."""
    import tensorflow as tf

    rows, columns = tf.shape(places, tf.int64)[0], tf.shape(places, tf.int64)[1]
    # what is at no place goes to a column behind the others, which is cut off
    flat = tf.reshape(tf.where(places < 0, tf.constant(width, tf.int64), places), [-1])
    row = tf.repeat(tf.range(rows), columns)
    ones = tf.ones_like(flat, tf.float32) if signs is None else tf.reshape(signs, [-1])
    return tf.scatter_nd(tf.stack([row, flat], axis=1), ones, [rows, width + 1])[:, :width]
