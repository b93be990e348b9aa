"""Asks the first splits of trees one place after the other: for many columns, and for sets of categories."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from autoflow.components.classification._category_sets import NO_SET, CategorySets
from autoflow.components.classification._first_splits import MOST_EXITS, FirstSplits
from autoflow.components.stored import stored

if TYPE_CHECKING:
    import tensorflow as tf

_AT_ONCE = 8192
"""Different splits by thresholds that are asked in one operation."""

_NEVER = int(np.array(np.inf, np.float32).view(np.int32))
"""Bits of a threshold that nothing is above."""

_ALL_BUT_LAST = 2 ** (MOST_EXITS - 1) - 1


@dataclass(frozen=True, eq=False)
class ExitMasks:
    """The different splits of some trees, each answered once, and the masks of the exits that answers leave.

    Args:
        feature: `int32[U]`, what each different split looks at, those by thresholds first.
        threshold: `float32[U - S]`.
        set_start: `int32[S]`, of splits by sets of categories, as in `Forest`.
        split: `int32[P, T]`, for each tree and place the split that is asked there.
        mask: `int32[P, T]`, as in `FirstSplits`.
    """

    feature: np.ndarray
    threshold: np.ndarray
    set_start: np.ndarray
    split: np.ndarray
    mask: np.ndarray

    @classmethod
    def build(
        cls, first: FirstSplits, feature: np.ndarray, threshold: np.ndarray, set_start: np.ndarray
    ) -> ExitMasks:
        """Returns what asks `first`; the other arguments are those of a `Forest`."""
        looks = np.stack([set_start, feature, threshold.view(np.int32)], axis=-1)[first.asked]
        looks[~first.is_used] = NO_SET, 0, _NEVER
        different, number = _distinct_looks(looks)
        by_threshold = different[:, 0] == NO_SET
        return cls(
            feature=different[:, 1],
            threshold=different[by_threshold, 2].view(np.float32),
            set_start=different[~by_threshold, 0],
            split=number,
            mask=first.mask,
        )

    def graph(self, features: tf.Tensor, sets: CategorySets | None) -> tf.Tensor:
        """Returns `tf.int32[T, B]`, the lowest exit that is left, for `tf.float32[B, d]` without NaN."""
        import tensorflow as tf

        num_thresholds = len(self.threshold)
        by_column = tf.transpose(features)
        # part by part: the values of all splits and rows would take four times the room of the answers
        answers = [
            tf.gather(by_column, stored(self.feature[part])) > stored(self.threshold[part, None])
            for part in np.split(np.arange(num_thresholds), range(_AT_ONCE, num_thresholds, _AT_ONCE))
        ]
        if sets is not None and len(self.set_start):
            columns = self.feature[num_thresholds:]
            answers.append(sets.each_outside_graph(self.set_start, columns, by_column))
        goes_right = answers[0] if len(answers) == 1 else tf.concat(answers, axis=0)
        alive = tf.fill([self.split.shape[1], tf.shape(features)[0]], tf.constant(_ALL_BUT_LAST, tf.int32))
        splits, masks = tf.unstack(stored(self.split)), tf.unstack(stored(self.mask[:, :, None]))
        for split, mask in zip(splits, masks, strict=True):
            # one after the other: left to itself, TensorFlow makes all of them first and holds them at once
            with tf.control_dependencies([alive]):
                left_over = tf.where(tf.gather(goes_right, split), mask, -1)
            alive = tf.bitwise.bitwise_and(alive, left_over)
        return tf.cast(lowest_bit(alive), tf.int32)


def lowest_bit(numbers: tf.Tensor) -> tf.Tensor:
    """Returns `tf.uint8` of the same shape: the place of the lowest bit; the number of bits where none is."""
    import tensorflow as tf

    below = tf.bitwise.bitwise_and(tf.bitwise.invert(numbers), numbers - 1)
    return tf.raw_ops.PopulationCount(x=below)


def _distinct_looks(looks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the different rows `int32[U, 3]` of `int32[P, T, 3]`, and `int32[P, T]`, which of them each is.

    Rows are start of a set, feature and bits of a threshold. Those without a set come first.
    """
    flat = looks.reshape(-1, 3)
    order = np.lexsort((flat[:, 2], flat[:, 0], flat[:, 1], flat[:, 0] != NO_SET))
    is_new = np.ones(len(flat), bool)
    is_new[1:] = (flat[order[1:]] != flat[order[:-1]]).any(axis=1)
    number = np.empty(len(flat), np.int32)
    number[order] = np.cumsum(is_new) - 1
    return flat[order[is_new]], number.reshape(looks.shape[:2])
