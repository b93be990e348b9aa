"""The first splits of every tree, answered all at once: what a graph does instead of stepping down.

A step down a tree costs TensorFlow two gathers of single numbers, and those are slow. Asking a split of all
rows is a comparison of vectors, so the splits near the roots are all asked, and bit masks tell where the
answers lead: QuickScorer (Lucchese et al., SIGIR 2015). Stepping on from there is in `_trees`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from autoflow.components.classification._category_sets import NO_SET, CategorySets
from autoflow.components.stored import stored

if TYPE_CHECKING:
    import tensorflow as tf

_MOST_EXITS = 32
"""Ways out of the first splits of a tree, a bit each; the last one needs none and is where no bit is left."""

_AT_ONCE = 8192
"""Different splits by thresholds that are asked in one operation."""

_ALL_BUT_LAST = 2 ** (_MOST_EXITS - 1) - 1
_NOT_THERE = 2.0
"""Start of an exit that a tree does not have: behind all others."""


@dataclass(frozen=True, eq=False)
class FirstSplits:
    """Up to 31 splits of each tree, root first, and the nodes to which they lead.

    Args:
        feature: `int32[U]`, what each different split looks at, those by thresholds first.
        threshold: `float32[U - S]`.
        set_start: `int32[S]`, of splits by sets of categories, as in `Forest`.
        split: `int32[P, T]`, for each tree and place the split that is asked there.
        mask: `int32[P, T]`, the exits that are left where the row goes right; all of them in a place that a
            tree does not use.
        exits: `int32[T, E]`, nodes by the lowest bit that is left; of 33 the last is for no bit.
        rest: `int[T]`, steps that may still be to go from an exit; the trees are sorted by it, most first.
        order: `int[T]`, the trees.
    """

    feature: np.ndarray
    threshold: np.ndarray
    set_start: np.ndarray
    split: np.ndarray
    mask: np.ndarray
    exits: np.ndarray
    rest: np.ndarray
    order: np.ndarray

    @classmethod
    def build(
        cls,
        roots: np.ndarray,
        feature: np.ndarray,
        threshold: np.ndarray,
        child: np.ndarray,
        set_start: np.ndarray,
    ) -> FirstSplits:
        """Returns the splits that shorten the longest ways most; arguments are those of a `Forest`."""
        heights = _heights(roots, child)
        ways = _Ways.to(roots, child, heights)
        is_there = ways.start < _NOT_THERE
        rest = np.where(is_there, heights[ways.nodes], 0).max(axis=1)
        by_rest = np.argsort(-rest, kind="stable")
        looks = np.stack([set_start, feature, threshold.view(np.int32)], axis=-1)[ways.asked]
        used = ways.left_to > ways.left_from
        looks[~used] = looks[used][:1]  # any that is asked anyway
        different, number = _distinct_looks(looks)
        by_threshold = different[:, 0] == NO_SET
        # the count of zeros below the lowest bit is 32 where there is no bit
        last = ways.nodes[:, -1:] if ways.nodes.shape[1] == _MOST_EXITS else ways.nodes[:, :0]
        return cls(
            feature=different[:, 1],
            threshold=different[by_threshold, 2].view(np.float32),
            set_start=different[~by_threshold, 0],
            split=number[:, by_rest],
            mask=ways.masks()[:, by_rest],
            exits=np.concatenate([ways.nodes, last], axis=1)[by_rest].astype(np.int32),
            rest=rest[by_rest],
            order=by_rest,
        )

    def graph(self, features: tf.Tensor, sets: CategorySets | None) -> tf.Tensor:
        """Returns `tf.int32[T, B]`, places in `exits` laid flat, for `tf.float32[B, d]` without NaN."""
        import tensorflow as tf

        num_thresholds = len(self.threshold)
        by_column = tf.transpose(features)
        # part by part: the values of all splits and rows would take four times the room of the answers
        answers = [
            tf.gather(by_column, self.feature[:num_thresholds][part]) > self.threshold[part, None]
            for part in np.split(np.arange(num_thresholds), range(_AT_ONCE, num_thresholds, _AT_ONCE))
        ]
        if sets is not None and len(self.set_start):
            columns = self.feature[num_thresholds:]
            answers.append(sets.each_outside_graph(self.set_start, columns, by_column))
        goes_right = answers[0] if len(answers) == 1 else tf.concat(answers, axis=0)
        alive = tf.fill([len(self.exits), tf.shape(features)[0]], tf.constant(_ALL_BUT_LAST, tf.int32))
        splits, masks = tf.unstack(stored(self.split)), tf.unstack(stored(self.mask[:, :, None]))
        for split, mask in zip(splits, masks, strict=True):
            # one after the other: left to itself, TensorFlow makes all of them first and holds them at once
            with tf.control_dependencies([alive]):
                left_over = tf.where(tf.gather(goes_right, split), mask, -1)
            alive = tf.bitwise.bitwise_and(alive, left_over)
        below = tf.bitwise.bitwise_and(tf.bitwise.invert(alive), alive - 1)
        lowest = tf.cast(tf.raw_ops.PopulationCount(x=below), tf.int32)
        first = np.arange(len(self.exits), dtype=np.int32) * np.int32(self.exits.shape[1])
        return lowest + stored(first[:, None])


@dataclass(frozen=True, eq=False)
class _Ways:
    """Which splits are asked, and where they lead.

    Exits are parts of the line from 0 to 1, as they lie in the tree from left to right.

    Args:
        nodes: `int[T, E]`, the exits from left to right.
        start: `float[T, E]`, where the part of each begins; `_NOT_THERE` in places that a tree does not use.
        asked: `int[P, T]`, the splits, root first.
        left_from: `float[P, T]`, where the part to the left of each split begins.
        left_to: `float[P, T]`, where it ends; not above `left_from` in places that a tree does not use.
    """

    nodes: np.ndarray
    start: np.ndarray
    asked: np.ndarray
    left_from: np.ndarray
    left_to: np.ndarray

    @classmethod
    def to(cls, roots: np.ndarray, child: np.ndarray, heights: np.ndarray) -> _Ways:
        """Returns the ways that leave the fewest steps: the exit with most below it is split next."""
        trees = np.arange(len(roots))
        num_splits = np.diff(np.append(roots, len(child))) // 2
        most = min(_MOST_EXITS, 1 + int(num_splits.max()))
        nodes = np.zeros((len(roots), most), np.int64)
        start, width = np.full(nodes.shape, _NOT_THERE), np.zeros(nodes.shape)
        nodes[:, 0], start[:, 0], width[:, 0] = roots, 0.0, 1.0
        asked = np.zeros((most - 1, len(roots)), np.int64)
        left_from, left_to = np.zeros(asked.shape), np.zeros(asked.shape)
        for place in range(most - 1):
            highest = np.where(start < _NOT_THERE, heights[nodes], 0).argmax(axis=1)
            node = nodes[trees, highest]
            splits = child[node] != node
            tree, at, node = trees[splits], highest[splits], node[splits]
            half = width[tree, at] / 2
            middle = start[tree, at] + half
            asked[place, tree] = node
            left_from[place, tree], left_to[place, tree] = start[tree, at], middle
            # the left side stays in the place of the exit that is split, the right side takes a new one
            nodes[tree, at], nodes[tree, place + 1] = child[node], child[node] + 1
            start[tree, place + 1] = middle
            width[tree, at] = width[tree, place + 1] = half
        order = start.argsort(axis=1)
        nodes, start = (np.take_along_axis(each, order, axis=1) for each in (nodes, start))
        return cls(nodes, start, asked, left_from, left_to)

    def masks(self) -> np.ndarray:
        """Returns `int32[P, T]`: a bit for each exit that is not to the left of the split."""
        bits = np.left_shift(np.uint32(1), np.arange(self.start.shape[1], dtype=np.uint32))
        masks = np.empty(self.asked.shape, np.uint32)
        for place, (low, high) in enumerate(zip(self.left_from, self.left_to, strict=True)):
            to_the_left = (self.start >= low[:, None]) & (self.start < high[:, None])
            masks[place] = ~(to_the_left @ bits)
        return masks.view(np.int32)


def _heights(roots: np.ndarray, child: np.ndarray) -> np.ndarray:
    """Returns `int[nodes]`, the steps from each node to the leaf that is farthest below it."""
    levels, level = [], roots
    while len(level := level[child[level] != level]):
        levels.append(level)
        level = np.concatenate([child[level], child[level] + 1])
    heights = np.zeros(len(child), np.int64)
    for level in reversed(levels):
        heights[level] = 1 + np.maximum(heights[child[level]], heights[child[level] + 1])
    return heights


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
