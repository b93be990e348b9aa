"""Decision trees as flat arrays, one layout for every tree library; `_forest_graph` has them in TensorFlow.

All trees of an ensemble lie in the same arrays, siblings side by side, so that a step down is two gathers
and an addition, done for all trees and rows at once. Reading library models is in `_tree_readers`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from autoflow.components.classification._category_sets import NO_SET, CategorySets

_CHUNK = 1 << 17
"""Pairs of tree and row that NumPy walks at once: the working arrays stay in the second-level cache."""


@dataclass(frozen=True, eq=False)
class Forest:
    """Binary trees whose rows go right where `feature > threshold` or where a category is outside of a set.

    A leaf points at itself with an infinite threshold, so walking on from it changes nothing. So do splits by
    sets have an infinite threshold, and other nodes a set outside of which nothing is. NaN is read as 0, and
    among codes of categories as outside of all sets.

    Args:
        feature: `int32[nodes]` column that a node looks at.
        threshold: `float32[nodes]`, rounded down so that comparing in float32 is exact.
        child: `int32[nodes]` left child; the right one follows it.
        leaf: `int32[nodes]` row of `values` of a leaf.
        roots: `int32[trees]`.
        values: `float32[leaves, width]`.
        turns: the trees take turns in feeding this many groups of outputs (classes of a booster).
        depth: longest way from a root to a leaf.
        sets: of categories; None where no tree splits by them, which saves half of a step's work.
        set_start: `int32[nodes]` which of the sets a node looks at, `NO_SET` for none.
    """

    feature: np.ndarray
    threshold: np.ndarray
    child: np.ndarray
    leaf: np.ndarray
    roots: np.ndarray
    values: np.ndarray
    turns: int
    depth: int
    sets: CategorySets | None
    set_start: np.ndarray

    @classmethod
    def build(
        cls,
        *,
        splits: np.ndarray,
        feature: np.ndarray,
        threshold: np.ndarray,
        left: np.ndarray,
        right: np.ndarray,
        values: np.ndarray,
        turns: int = 1,
        set_of_split: np.ndarray | None = None,
        sets: np.ndarray | None = None,
    ) -> Forest:
        """Returns the forest of trees given one after the other, with M inner nodes in all.

        Args:
            splits: `int[trees]` inner nodes of each tree; a tree has one leaf more.
            feature: `int[M]`.
            threshold: `float64[M]`; rows with values up to it go left.
            left: `int[M]`, number of an inner node of the same tree, or `~number` of a leaf.
            right: likewise.
            values: `float[M + trees, width]` leaf by leaf, tree by tree.
            turns: see the class.
            set_of_split: `int[M]` row of `sets`, or -1 where the threshold decides; rows with a code in the
                set go left.
            sets: `bool[sets, codes]`.
        """
        splits = splits.astype(np.int64)
        first_split = np.cumsum(splits) - splits
        first_node = np.cumsum(2 * splits + 1) - (2 * splits + 1)
        first_leaf = np.cumsum(splits + 1) - (splits + 1)
        tree = np.repeat(np.arange(len(splits)), splits)
        place = np.arange(len(tree)) - first_split[tree]
        children = first_node[tree] + 1 + 2 * place
        num_nodes = int((2 * splits + 1).sum())

        node_of_split = np.zeros(len(tree), np.int64)
        rooted = np.flatnonzero(splits)
        node_of_split[first_split[rooted]] = first_node[rooted]
        leaf = np.zeros(num_nodes, np.int32)
        leaf[first_node] = first_leaf
        for side, offset in ((left, 0), (right, 1)):
            inner = side >= 0
            node_of_split[first_split[tree[inner]] + side[inner]] = children[inner] + offset
            leaf[children[~inner] + offset] = first_leaf[tree[~inner]] + ~side[~inner]

        features = np.zeros(num_nodes, np.int32)
        features[node_of_split] = feature
        thresholds = np.full(num_nodes, np.inf, np.float32)
        by_set = np.full(len(tree), -1) if set_of_split is None else set_of_split
        thresholds[node_of_split] = np.where(by_set < 0, round_down(threshold), np.float32(np.inf))
        set_start, known = np.full(num_nodes, NO_SET, np.int32), None
        if sets is not None and len(sets):
            known = CategorySets.build(sets, np.unique(feature[by_set >= 0]))
            set_start[node_of_split] = known.starts(by_set)
        child = np.arange(num_nodes, dtype=np.int32)
        child[node_of_split] = children
        roots = first_node.astype(np.int32)
        return cls(
            features,
            thresholds,
            child,
            leaf,
            roots,
            values.astype(np.float32),
            turns,
            _depth(roots, child),
            known,
            set_start,
        )

    def first(self, num_trees: int) -> Forest:
        """Returns the forest of its first trees, which may not be split by sets of categories.

        Args:
            num_trees: 1 or more, fewer than there are.
        """
        assert self.sets is None
        num_nodes = int(self.roots[num_trees])
        num_leaves = int(self.leaf[:num_nodes].max()) + 1
        roots, child = self.roots[:num_trees], self.child[:num_nodes]
        return replace(
            self,
            feature=self.feature[:num_nodes],
            threshold=self.threshold[:num_nodes],
            child=child,
            leaf=self.leaf[:num_nodes],
            roots=roots,
            values=self.values[:num_leaves],
            depth=_depth(roots, child),
            set_start=self.set_start[:num_nodes],
        )

    def sums(self, features: np.ndarray) -> np.ndarray:
        """Returns `float32[n, turns * width]`, the leaf values of all trees added up.

        Args:
            features: `float32[n, d]`.
        """
        chunk = max(1, min(_CHUNK // len(self.roots), (1 << 22) // (len(self.roots) * self.values.shape[1])))
        out = np.empty((len(features), self.turns * self.values.shape[1]), np.float32)
        for start in range(0, len(features), chunk):
            out[start : start + chunk] = self._sums(features[start : start + chunk])
        return out

    def _sums(self, features: np.ndarray) -> np.ndarray:
        rows, columns = features.shape
        features = features.astype(np.float32, copy=False)
        if self.sets is None:
            flat = np.nan_to_num(features, nan=0.0, posinf=np.inf, neginf=-np.inf).ravel()
        else:
            flat = self.sets.filled(features).ravel()
        first = np.arange(rows, dtype=np.int32) * np.int32(columns)
        node = np.repeat(self.roots[:, None], rows, axis=1)
        for _ in range(self.depth):
            value = flat[self.feature[node] + first]
            beyond = value > self.threshold[node]
            if self.sets is not None:
                beyond = beyond | self.sets.outside(self.set_start[node], value)
            node = self.child[node] + beyond
        values = self.values[self.leaf[node]]
        width = self.values.shape[1]
        # logits of long boosters lose digits in float32; averaged probabilities do not
        precise = np.float64 if width == 1 else np.float32
        grouped = values.reshape(-1, self.turns, rows, width).sum(axis=0, dtype=precise)
        return np.asarray(grouped.transpose(1, 0, 2).reshape(rows, self.turns * width), np.float32)


def round_down(values: np.ndarray) -> np.ndarray:
    """Returns the largest float32 that is not above each float64: `x <= t` is then the same in both."""
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float32)
    return np.where(rounded > values, np.nextafter(rounded, np.float32(-np.inf)), rounded)


def _depth(roots: np.ndarray, child: np.ndarray) -> int:
    depth, level = 0, roots
    while True:
        inner = level[child[level] != level]
        if not len(inner):
            return depth
        depth, level = depth + 1, np.concatenate([child[inner], child[inner] + 1])
