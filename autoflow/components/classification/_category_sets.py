"""Sets of category codes, as bits: what the decisions of a forest on categories are looked up in.

The walk down the trees is in `_trees`; nothing about trees may enter this file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

_BITS = 32


@dataclass(frozen=True, eq=False)
class CategorySets:
    """Sets of codes, numbered from 1 on; number 0 stands for no set, outside of which nothing is.

    Args:
        words: `int32[sets + 1, w]`, bit `c + 1` of a row says that code `c` is outside; bit 0 is for what is
            below 0 or missing, and bit `num_codes + 1` for what is beyond.
        num_codes: codes from 0 on that a set can hold.
        columns: `int32[k]`, the features that are codes.
    """

    words: np.ndarray
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
        outside = np.ones((num_sets + 1, -(-(num_codes + 2) // _BITS) * _BITS), bool)
        outside[0] = False
        outside[1:, 1 : num_codes + 1] = ~members
        words = np.packbits(outside, axis=1, bitorder="little").view("<u4").astype(np.uint32)
        return cls(words.view(np.int32), num_codes, np.asarray(columns, np.int32))

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

    def outside(self, number: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Returns `int32` of the same shape, 1 where a value is a code outside of a set.

        Args:
            number: `int32` of any shape, 0 for no set.
            values: `float32` of the same shape, no NaN; fractions are cut off.
        """
        bit = np.clip(values, -1, self.num_codes).astype(np.int32) + 1
        word = self.words.ravel()[number * np.int32(self.words.shape[1]) + (bit >> 5)]
        return (word >> (bit & 31)) & 1

    def outside_graph(self, number: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
        """As `outside`."""
        import tensorflow as tf

        bit = tf.cast(tf.clip_by_value(values, -1.0, float(self.num_codes)), tf.int32) + 1
        place = number * self.words.shape[1] + tf.bitwise.right_shift(bit, 5)
        word = tf.gather(tf.constant(self.words.ravel()), place)
        return tf.bitwise.bitwise_and(tf.bitwise.right_shift(word, tf.bitwise.bitwise_and(bit, 31)), 1)
