"""The first splits of every tree and where their answers lead: what a graph asks instead of stepping down.

A step down a tree costs TensorFlow two look-ups of single numbers, and those are slow. The splits near the
roots are all asked at once, and bit masks tell where the answers lead: QuickScorer (Lucchese et al., SIGIR
2015). How they are asked is in `_exit_masks` and `_exit_tables`, stepping on from there in `_forest_graph`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MOST_EXITS = 32
"""Ways out of the first splits of a tree, a bit each; the last one needs none and is where no bit is left."""

_NOT_THERE = 2.0
"""Start of an exit that a tree does not have: behind all others."""


@dataclass(frozen=True, eq=False)
class FirstSplits:
    """Up to 31 splits of each tree, root first, and the nodes to which they lead.

    Args:
        asked: `int32[P, T]`, the splits.
        is_used: `bool[P, T]`; false in places that a tree does not use.
        mask: `int32[P, T]`, the exits that are left where the row goes right; all of them in unused places.
        exits: `int32[T, E]`, nodes by the lowest bit that is left; of 33 the last is for no bit.
        rest: `int[T]`, steps that may still be to go from an exit.
    """

    asked: np.ndarray
    is_used: np.ndarray
    mask: np.ndarray
    exits: np.ndarray
    rest: np.ndarray

    @classmethod
    def build(cls, roots: np.ndarray, child: np.ndarray) -> FirstSplits:
        """Returns the splits that shorten the longest ways most; arguments are those of a `Forest`."""
        heights = _heights(roots, child)
        ways = _Ways.to(roots, child, heights)
        is_there = ways.start < _NOT_THERE
        # the count of zeros below the lowest bit is 32 where there is no bit
        last = ways.nodes[:, -1:] if ways.nodes.shape[1] == MOST_EXITS else ways.nodes[:, :0]
        return cls(
            asked=ways.asked.astype(np.int32),
            is_used=ways.left_to > ways.left_from,
            mask=ways.masks(),
            exits=np.concatenate([ways.nodes, last], axis=1).astype(np.int32),
            rest=np.where(is_there, heights[ways.nodes], 0).max(axis=1),
        )

    def of(self, trees: np.ndarray) -> FirstSplits:
        """Returns those of some trees, `int[t]`, in their order."""
        return FirstSplits(
            self.asked[:, trees],
            self.is_used[:, trees],
            self.mask[:, trees],
            self.exits[trees],
            self.rest[trees],
        )


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
        most = min(MOST_EXITS, 1 + int(num_splits.max()))
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
