"""What random forests and extremely randomised trees share: growing within limits, and the fitted value."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from autoflow.components.base import FitContext, FittedClassifier, LabelledFeatures
from autoflow.components.classification._classes import PresentClasses, Spread, log_loss
from autoflow.components.classification._tree_readers import read_sklearn
from autoflow.components.classification._trees import Forest

if TYPE_CHECKING:
    import tensorflow as tf
    from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier

_BYTES = 40_000_000
"""Most that the arrays of a forest may take in an exported model."""
_BATCH = 20
"""Trees grown between two looks at the clock at most."""
MAX_DEPTH = 24
MAX_CLASSES = 200
"""With more, so few leaves a tree fit into the export that most classes have none."""


def leaf_limit(num_trees: int, num_classes: int) -> int:
    """Returns the leaves that each of `num_trees` trees may have so that the export stays small."""
    bytes_a_leaf = 2 * 16 + 4 * num_classes
    return max(8, _BYTES // (bytes_a_leaf * num_trees))


def grow(
    make: Callable[[int | None], RandomForestClassifier | ExtraTreesClassifier],
    *,
    num_trees: int,
    min_samples_leaf: int,
    smoothing: float,
    train: LabelledFeatures,
    validation: LabelledFeatures | None,
    context: FitContext,
) -> FittedForest:
    """Grows trees in batches until all are there or the time is over.

    Args:
        make: returns an unfitted, warm-starting scikit-learn forest with the given limit of leaves.
        num_trees: trees wanted; `context.iterations` takes its place in a refit.
        min_samples_leaf: the limit that `make` sets, to see whether a limit of leaves is needed at all.
        smoothing: see `read_sklearn`.
        train: training rows.
        validation: rows that tell whether the fit is hopeless.
        context: as in `MatrixClassifier.fit`.
    """
    classes = PresentClasses.of(train.labels, context.num_classes)
    wanted = context.iterations or num_trees
    limit = leaf_limit(wanted, len(classes))
    # best-first growth, which a limit of leaves brings, is slower and gives other trees
    forest = make(limit if len(train.labels) // min_samples_leaf > limit else None)
    labels = classes.positions(train.labels)
    watched = validation is not None and np.isfinite(context.hopeless_loss)
    grown, began = 0, time.monotonic()
    while grown < wanted and not (grown and context.out_of_time()):
        grown = min(wanted, grown + _batch(grown, time.monotonic() - began, context))
        forest.set_params(n_estimators=grown)
        forest.fit(train.features, labels)
        if watched and validation is not None and grown >= wanted / 3:
            fitted = _fitted(forest, classes, smoothing)
            loss = log_loss(fitted.predict_probabilities(validation.features), validation.labels)
            context.report(grown / wanted, loss)
            watched = False
    return _fitted(forest, classes, smoothing)


def _batch(grown: int, seconds: float, context: FitContext) -> int:
    """Returns how many trees to grow before the next look at the clock, from what those so far took."""
    if not grown:
        return max(1, context.num_threads)
    left = context.seconds - (time.monotonic() - context.started)
    return int(np.clip(min(left * grown / max(seconds, 1e-6), _BATCH), 1, _BATCH))


def _fitted(
    forest: RandomForestClassifier | ExtraTreesClassifier, classes: PresentClasses, smoothing: float
) -> FittedForest:
    read = read_sklearn(forest.estimators_, classes.shares, smoothing=smoothing)
    return FittedForest(read, classes.spread(), len(forest.estimators_))


@dataclass(frozen=True, eq=False)
class FittedForest(FittedClassifier):
    """Trees whose averaged leaves are probabilities.

    Args:
        forest: one output a present class.
        spread: to all classes.
        iterations: number of trees.
    """

    forest: Forest
    spread: Spread
    iterations: int

    def predict_probabilities(self, features: np.ndarray) -> np.ndarray:
        """Walks the trees in NumPy."""
        return self.spread(self.forest.sums(features))

    def graph(self, features: tf.Tensor) -> tf.Tensor:
        """Walks the trees by gathers."""
        return self.spread.graph(self.forest.graph(features))
