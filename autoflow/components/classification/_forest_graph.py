"""A forest as TensorFlow operations: the first splits are asked at once, the rest of the way is in steps.

All trees are led down together, some thousands at once, so that what is in between stays in the cache.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from autoflow.components.classification._exit_masks import ExitMasks
from autoflow.components.classification._exit_tables import ExitTables, Intervals
from autoflow.components.classification._first_splits import FirstSplits
from autoflow.components.classification._trees import Forest
from autoflow.components.stored import looked_up, stored

if TYPE_CHECKING:
    import tensorflow as tf

_TREES_AT_ONCE = 2048
_SHARE_GOING = 0.9
"""Of the trees in a step: where fewer still have steps to go, the others are left out."""


def forest_sums(forest: Forest, features: tf.Tensor) -> tf.Tensor:
    """Returns the same as `Forest.sums`, `tf.float32[B, turns * width]`, for `tf.float32[B, d]`."""
    import tensorflow as tf

    if forest.sets is None:
        known = tf.where(tf.math.is_nan(features), tf.zeros_like(features), features)
    else:
        known = forest.sets.filled_graph(features)
    first = FirstSplits.build(forest.roots, forest.child)
    ask = _asker(forest, first, known)
    leaves, leaf = forest.values, forest.leaf
    if leaves.shape[1] > 1:  # of shares of classes; those of boosters differ
        leaves, number = _distinct_rows(leaves)
        leaf = number[leaf]
    total: tf.Tensor | None = None
    step = max(1, _TREES_AT_ONCE // forest.turns) * forest.turns
    for start in range(0, len(forest.roots), step):
        rest = first.rest[start : start + step]
        order = np.argsort(-rest, kind="stable")
        part = first.of(start + order)
        with tf.control_dependencies([] if total is None else [total]):
            place = ask(part) + _starts(part.exits)
        if part.rest.any():
            node = looked_up(stored(part.exits.ravel()), place)
            node = _stepped_down(forest, node, part.rest, known)
            values = looked_up(stored(leaves), looked_up(stored(leaf), node))
            if forest.turns > 1:
                values = tf.gather(values, np.argsort(order))
        else:  # the trees are in their order, and an exit is a leaf
            values = looked_up(stored(leaves[leaf[part.exits.ravel()]]), place)
        sums = _added_up(values, forest.turns)
        total = sums if total is None else total + sums
    return tf.cast(total, tf.float32)


def _asker(forest: Forest, first: FirstSplits, known: tf.Tensor) -> Callable[[FirstSplits], tf.Tensor]:
    """Returns what asks the first splits of some trees, the faster way."""
    if forest.sets is None:
        intervals = Intervals.build(first, forest.feature, forest.threshold)
        if intervals.are_worthwhile(first):
            within = intervals.graph(known)

            def look_up(part: FirstSplits) -> tf.Tensor:
                return ExitTables.build(part, forest.feature, forest.threshold, intervals).graph(within)

            return look_up

    def ask(part: FirstSplits) -> tf.Tensor:
        masks = ExitMasks.build(part, forest.feature, forest.threshold, forest.set_start)
        return masks.graph(known, forest.sets)

    return ask


def _stepped_down(forest: Forest, node: tf.Tensor, rest: np.ndarray, known: tf.Tensor) -> tf.Tensor:
    """Returns the leaves `tf.int32[T, B]` below nodes `tf.int32[T, B]`, for features without NaN.

    Args:
        forest: of which these are some trees, in any order.
        node: where each row is in each tree.
        rest: `int[T]`, the most steps to go in each tree, descending.
        known: `tf.float32[B, d]`.
    """
    import tensorflow as tf

    rows, columns = tf.shape(known)[0], tf.shape(known)[1]
    flat, first = tf.reshape(known, [-1]), tf.range(rows) * columns
    # TensorFlow's look-up costs the same for one number and for four: one table, one look-up a step
    parts = [forest.feature, forest.child, forest.threshold.view(np.int32)]
    table = stored(np.stack(parts if forest.sets is None else [*parts, forest.set_start], axis=1))
    arrived = []
    num_trees = len(rest)
    # unrolled: a while loop costs more than the gathers of one row
    for step in range(int(rest[0])):
        going = int((rest > step).sum())
        if going < _SHARE_GOING * num_trees:
            arrived.append(node[going:])
            node, num_trees = node[:going], going
        feature, child, threshold, *start = tf.unstack(looked_up(table, node), axis=-1)
        value = looked_up(flat, feature + first)
        beyond = value > tf.bitcast(threshold, tf.float32)
        if forest.sets is not None:
            beyond = beyond | forest.sets.outside_graph(start[0], value)
        node = child + tf.cast(beyond, tf.int32)
    return tf.concat([node, *reversed(arrived)], axis=0)


def _added_up(values: tf.Tensor, turns: int) -> tf.Tensor:
    """Returns the sums `tf[B, turns * width]` of leaves `tf.float32[T, B, width]`.

    As float64 where the width is 1: logits of long boosters lose digits in float32, averaged probabilities do
    not.
    """
    import tensorflow as tf

    rows, width = tf.shape(values)[1], int(values.shape[2])
    precise = tf.cast(values, tf.float64) if width == 1 else values
    grouped = tf.reduce_sum(tf.reshape(precise, [-1, turns, rows, width]), axis=0)
    return tf.reshape(tf.transpose(grouped, [1, 0, 2]), [rows, turns * width])


def _starts(exits: np.ndarray) -> np.ndarray:
    """Returns `int32[T, 1]`, where the exits of each tree begin when all lie in one row."""
    return np.arange(len(exits), dtype=np.int32)[:, None] * np.int32(exits.shape[1])


def _distinct_rows(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the different rows of `float32[n, width]`, and `int32[n]`, which of them each is.

    Leaves of a few rows are all alike in a forest, of 270,000 some hundreds differ.
    """
    whole = np.ascontiguousarray(values).view(np.dtype((np.void, values.itemsize * values.shape[1])))
    _, first, number = np.unique(whole.ravel(), return_index=True, return_inverse=True)
    return values[first], number.astype(np.int32)
