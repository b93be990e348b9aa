"""Reads fitted LightGBM and scikit-learn ensembles into `Forest` arrays.

LightGBM's text format is parsed in a few joined passes, as its own dumps take seconds for thousands of
trees. Linear trees are never trained here and not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from autoflow.components.classification._trees import Forest

_ZERO = np.float32(1e-35)
"""LightGBM reads smaller magnitudes as 0, which its threshold just below 0 sends right."""

_CATEGORICAL = 1
"""Bit of a decision type: the split is by a set of categories."""

if TYPE_CHECKING:
    from sklearn.tree import DecisionTreeClassifier


def read_lightgbm(model: str, *, turns: int) -> Forest:
    """Returns the forest of a LightGBM model string.

    Args:
        model: what `Booster.model_to_string` gives, trained with `use_missing=False`.
        turns: trees in a boosting round.
    """
    trees = [_lines(block) for block in model.split("\nTree=")[1:]]
    values = _numbers(trees, "leaf_value", np.float64)
    threshold = _numbers(trees, "threshold", np.float64)
    below = float(np.nextafter(-_ZERO, np.float32(-np.inf)))
    decision = _numbers(trees, "decision_type", np.int64)
    by_set = (decision & _CATEGORICAL) > 0
    # of a split by categories, the threshold is the number of its set in the tree
    first_set = np.cumsum([0] + [int(tree["num_cat"]) for tree in trees])[:-1]
    tree_of_split = np.repeat(np.arange(len(trees)), [int(tree["num_leaves"]) - 1 for tree in trees])
    set_of_split = np.where(
        by_set, np.where(by_set, threshold, 0).astype(np.int64) + first_set[tree_of_split], -1
    )
    threshold = np.where((threshold < 0) & (threshold >= -_ZERO), below, threshold)
    return Forest.build(
        splits=np.array([int(tree["num_leaves"]) - 1 for tree in trees]),
        feature=_numbers(trees, "split_feature", np.int64),
        threshold=threshold,
        left=_numbers(trees, "left_child", np.int64),
        right=_numbers(trees, "right_child", np.int64),
        values=values[:, None],
        turns=turns,
        set_of_split=set_of_split,
        sets=_category_sets([tree for tree in trees if int(tree["num_cat"])]),
    )


def _category_sets(trees: Sequence[dict[str, str]]) -> np.ndarray | None:
    """Returns `bool[sets, codes]` of trees that have sets, which LightGBM writes as words of 32 bits."""
    if not trees:
        return None
    boundaries = [np.array(tree["cat_boundaries"].split(), np.int64) for tree in trees]
    lengths = np.concatenate([np.diff(each) for each in boundaries])
    words = np.array(" ".join(tree["cat_threshold"] for tree in trees).split(), np.uint32)
    number = np.repeat(np.arange(len(lengths)), lengths)
    place = np.arange(len(words)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    padded = np.zeros((len(lengths), lengths.max()), "<u4")
    padded[number, place] = words
    return np.unpackbits(padded.view(np.uint8), axis=1, bitorder="little").astype(bool)


def read_sklearn(
    estimators: Sequence[DecisionTreeClassifier], shares: np.ndarray, *, smoothing: float
) -> Forest:
    """Returns the forest of scikit-learn's trees; the mean of the leaves, not their sum, is in `sums`.

    Args:
        estimators: fitted trees, one or more.
        shares: `float64[classes]`, what a leaf is drawn towards.
        smoothing: rows' worth of weight of `shares` in every leaf, 0 for none.
    """
    parts = []
    for estimator in estimators:
        tree = estimator.tree_
        inner = tree.children_left >= 0
        number = np.where(inner, np.cumsum(inner) - 1, ~(np.cumsum(~inner) - 1))
        rows = tree.weighted_n_node_samples[~inner][:, None]
        value = tree.value[~inner, 0, :]
        value = (value / value.sum(axis=1, keepdims=True) * rows + smoothing * shares) / (rows + smoothing)
        parts.append(
            (
                tree.feature[inner],
                tree.threshold[inner],
                number[tree.children_left[inner]],
                number[tree.children_right[inner]],
                value / len(estimators),
            )
        )
    feature, threshold, left, right, values = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Forest.build(
        splits=np.array([len(part[0]) for part in parts]),
        feature=feature,
        threshold=threshold,
        left=left,
        right=right,
        values=values,
    )


def _lines(block: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in block.split("\n\n", 1)[0].splitlines())
    return {key: value for key, _, value in pairs}


def _numbers(trees: Sequence[dict[str, str]], key: str, dtype: type) -> np.ndarray:
    # single-leaf trees have leaf values, but no splits or empty ones
    joined = " ".join(tree.get(key, "") for tree in trees if key == "leaf_value" or tree["num_leaves"] != "1")
    return np.array(joined.split(), dtype=dtype)
