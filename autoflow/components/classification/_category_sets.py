"""Sets of category codes as one table of flags, in which a forest looks up its decisions on categories.

The walk down the trees is in `_trees` and `_forest_graph`; nothing about trees may enter this file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from autoflow.components.stored import looked_up, stored

if TYPE_CHECKING:
    import tensorflow as tf

NO_SET = 1
"""Start of the first flags: one is before them, for what is below 0."""


@dataclass(frozen=True, eq=False)
class CategorySets:
    """Sets of codes, each named by its start in the table; `NO_SET` is one outside of which nothing is.

    Bytes and not bits, for in a graph every operation on them is done for all trees, rows and steps.

    Args:
        flags: `bool[(sets + 1) * (num_codes + 2)]`; `flags[start + c]` says that code `c` is outside, the
            flags around the codes that what is below 0 or beyond them is.
        num_codes: codes from 0 on that a set can hold.
        columns: `int32[k]`, the features that are codes.
    """

    flags: np.ndarray
    num_codes: int
    columns: np.ndarray

    @classmethod
    def build(cls, members: np.ndarray, columns: np.ndarray) -> CategorySets:
        """Returns the sets.

        Args:
            members: `bool[sets, num_codes]`, the codes of each.
            columns: see the class.
        """
        num_sets, num_codes = members.shape
        outside = np.ones((num_sets + 1, num_codes + 2), bool)
        outside[0] = False
        outside[1:, 1:-1] = ~members
        return cls(outside.ravel(), num_codes, np.asarray(columns, np.int32))

    def starts(self, numbers: np.ndarray) -> np.ndarray:
        """Returns `int32` starts of sets by their number in the order of `build`; -1 is for none."""
        return np.asarray((numbers + 1) * (self.num_codes + 2) + NO_SET, np.int32)

    def filled(self, features: np.ndarray) -> np.ndarray:
        """Returns `float32[n, d]` with numbers for NaN: -1 among codes, which no set holds, 0 elsewhere."""
        missing = np.zeros(features.shape[1], np.float32)
        missing[self.columns] = -1.0
        return np.where(np.isnan(features), missing, features)

    def filled_graph(self, features: tf.Tensor) -> tf.Tensor:
        """As `filled`."""
        import tensorflow as tf

        marks = tf.one_hot(tf.constant(self.columns), tf.shape(features)[1])
        return tf.where(tf.math.is_nan(features), -tf.reduce_sum(marks, axis=0), features)

    def outside(self, start: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Returns `bool` of the same shape: whether a value is a code outside of a set.

        Args:
            start: `int32` of any shape.
            values: `float32` of the same shape, no NaN; fractions are cut off.
        """
        code = np.clip(values, -1, self.num_codes).astype(np.int32)
        return np.asarray(self.flags[start + code])

    def outside_graph(self, start: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
        """As `outside`."""
        import tensorflow as tf

        code = tf.cast(tf.clip_by_value(values, -1.0, float(self.num_codes)), tf.int32)
        return looked_up(stored(self.flags), start + code)

    def each_outside_graph(self, starts: np.ndarray, columns: np.ndarray, by_column: tf.Tensor) -> tf.Tensor:
        """Returns `tf.bool[S, B]`: for each set and row whether the row's code is outside.

        Args:
            starts: `int32[S]`.
            columns: `int32[S]`, the feature that each set is of, ascending.
            by_column: `tf.float32[d, B]` without NaN.
        """
        import tensorflow as tf

        around = np.arange(-1, self.num_codes + 1)
        outside = []
        for column in np.unique(columns):
            # a row of flags for each code: looking up one copies the answers of all sets of a column
            flags = self.flags[starts[columns == column] + around[:, None]]
            code = tf.cast(tf.clip_by_value(by_column[column], -1.0, float(self.num_codes)), tf.int32)
            outside.append(tf.gather(stored(flags), code + 1))
        return tf.transpose(tf.concat(outside, axis=1))
