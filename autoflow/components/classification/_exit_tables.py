"""Asks the first splits of trees one column after the other: for few columns, the faster way.

What all splits of a tree that look at one column leave of its exits depends on nothing but where the value
lies between their thresholds. So each column has a table of masks, a row for each interval, and looking it up
answers all splits of all trees that look at the column: a copy of neighbouring numbers, which is much faster
than to choose between numbers one by one. The idea is that of RapidScorer (Ye et al., KDD 2018), which merges
equal splits of different trees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from autoflow.components.classification._exit_masks import lowest_bit
from autoflow.components.classification._first_splits import MOST_EXITS, FirstSplits
from autoflow.components.stored import stored

if TYPE_CHECKING:
    import tensorflow as tf

_MOST_BYTES = 5_000_000
"""Of all tables of a forest: more would make exports large."""

_COLUMNS_A_PLACE = 1.7
"""Columns of four bytes whose masks are looked up in the time in which one place of `ExitMasks` is asked."""


@dataclass(frozen=True, eq=False)
class Intervals:
    """The intervals into which the thresholds of first splits part the values of each column.

    Args:
        columns: `int[F]`, those that are looked at.
        bounds: of each column its thresholds, `float32[k]`, ascending and different.
    """

    columns: np.ndarray
    bounds: tuple[np.ndarray, ...]

    @classmethod
    def build(cls, first: FirstSplits, feature: np.ndarray, threshold: np.ndarray) -> Intervals:
        """Returns the intervals of all trees; the other arguments are those of a `Forest`."""
        asked = first.asked[first.is_used]
        columns = np.unique(feature[asked])
        return cls(columns, tuple(np.unique(threshold[asked[feature[asked] == each]]) for each in columns))

    def are_worthwhile(self, first: FirstSplits) -> bool:
        """Tells whether tables of these trees are small, and faster than to ask one place after the other."""
        places, num_trees = first.asked.shape
        num_bytes = _word(first.exits.shape[1]).itemsize
        num_rows = sum(len(bounds) + 1 for bounds in self.bounds)
        is_small = num_rows * num_trees * num_bytes <= _MOST_BYTES
        return is_small and 0 < len(self.columns) * num_bytes / 4 <= _COLUMNS_A_PLACE * places

    @property
    def starts(self) -> np.ndarray:
        """`int32[F + 1]`, where the intervals of each column begin if all are in a row, and their number."""
        return np.cumsum([0, *(len(bounds) + 1 for bounds in self.bounds)], dtype=np.int32)

    def graph(self, features: tf.Tensor) -> list[tf.Tensor]:
        """Returns `tf.int32[B]` a column, the interval of each row, for `tf.float32[B, d]` without NaN."""
        import tensorflow as tf

        padded = np.full((len(self.bounds), max(map(len, self.bounds))), np.inf, np.float32)
        for row, bounds in zip(padded, self.bounds, strict=True):
            row[: len(bounds)] = bounds
        values = tf.transpose(tf.gather(features, self.columns, axis=1))
        places = tf.raw_ops.LowerBound(sorted_inputs=stored(padded), values=values)
        return tf.unstack(places + self.starts[:-1, None])


@dataclass(frozen=True, eq=False)
class ExitTables:
    """The exits that each interval of a column leaves of some trees.

    Args:
        table: `int64[intervals, W]`, masks of several trees in one number. Where there are 33 exits, those of
            the first column hold no bit of the 32nd, as in `ExitMasks`.
        word: type of the mask of a tree.
        num_trees: trees; the others in the numbers are none.
    """

    table: np.ndarray
    word: np.dtype
    num_trees: int

    @classmethod
    def build(
        cls, first: FirstSplits, feature: np.ndarray, threshold: np.ndarray, intervals: Intervals
    ) -> ExitTables:
        """Returns the table of some trees; the arguments are those of `Intervals.build`."""
        num_trees, num_exits = first.exits.shape
        word, starts = _word(num_exits), intervals.starts
        table = np.full((starts[-1], _padded(num_trees, word)), -1, word)
        if num_exits > MOST_EXITS:
            table[: starts[1]] = np.iinfo(word).max
        looks = np.where(first.is_used, feature[first.asked], -1)
        for number, (column, bounds) in enumerate(zip(intervals.columns, intervals.bounds, strict=True)):
            place, tree = np.nonzero(looks == column)
            above = 1 + np.searchsorted(bounds, threshold[first.asked[place, tree]])
            of_column = table[starts[number] : starts[number + 1]]
            np.bitwise_and.at(of_column, (above, tree), first.mask[place, tree].astype(word))
            np.bitwise_and.accumulate(of_column, axis=0, out=of_column)
        return cls(table.view(np.int64), word, num_trees)

    def graph(self, intervals: list[tf.Tensor]) -> tf.Tensor:
        """Returns `tf.int32[T, B]`, the lowest exit that is left, from what `Intervals.graph` returns."""
        import tensorflow as tf

        table = stored(self.table)
        alive = tf.gather(table, intervals[0])
        for interval in intervals[1:]:
            # one after the other, as in `ExitMasks`
            with tf.control_dependencies([alive]):
                left_over = tf.gather(table, interval)
            alive = tf.bitwise.bitwise_and(alive, left_over)
        words = tf.bitcast(alive, tf.as_dtype(self.word))
        lowest = tf.transpose(tf.reshape(lowest_bit(words), [-1, _padded(self.num_trees, self.word)]))
        return tf.cast(lowest[: self.num_trees], tf.int32)


def _word(num_exits: int) -> np.dtype:
    """Returns the smallest type with a bit for each exit."""
    return np.dtype(np.int8 if num_exits <= 8 else np.int16 if num_exits <= 16 else np.int32)


def _padded(num_trees: int, word: np.dtype) -> int:
    """Returns for how many trees there are masks in numbers of eight bytes."""
    together = 8 // word.itemsize
    return -(-num_trees // together) * together
