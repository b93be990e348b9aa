"""What random forests and extremely randomised trees share: growing within limits, and the fitted value."""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from autoflow.components.base import FitContext, FittedClassifier, LabelledFeatures, MatrixClassifier
from autoflow.components.classification._classes import PresentClasses, Spread, log_loss
from autoflow.components.classification._forest_graph import forest_sums
from autoflow.components.classification._tree_readers import read_sklearn
from autoflow.components.classification._trees import Forest
from autoflow.data.schema import DataProfile

if TYPE_CHECKING:
    import tensorflow as tf
    from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier

_BYTES = 40_000_000
"""Most that the arrays of a forest may take in an exported model."""
_LEAST_TREES = 30
"""However little a forest counts in a mean."""
_BATCH = 20
"""Trees grown between two looks at the clock at most."""
_LOOKS = (1 / 12, 1 / 6, 1 / 3)
"""Shares of the trees after which a forest is judged."""
_FEW_CLASSES = 50
"""40 of 200 trees told the loss of all to 9 %, on eleven tables of 2 to 27 classes and of 150. But those
of 150 were poor, and of good ones, few of whose leaves have rows of a class, the loss may fall for longer."""
MAX_DEPTH = 24
MAX_CLASSES = 200
"""With more, so few leaves a tree fit into the export that most classes have none."""


def leaf_limit(num_trees: int, num_classes: int) -> int:
    """Returns the leaves that each of `num_trees` trees may have so that the export stays small."""
    bytes_a_leaf = 2 * 16 + 4 * num_classes
    return max(8, _BYTES // (bytes_a_leaf * num_trees))


@dataclass(frozen=True)
class SizedForest(MatrixClassifier):
    """A forest of scikit-learn's that grows in batches until all trees are there or the time is over.

    Args:
        num_trees: trees, 10 to 1,000; fewer where time runs out.
        min_samples_leaf: training rows in a leaf at least, 1 or more.
        column_share: share of columns tried at each split, above 0 to 1; 0 for the square root of their
            number.
        criterion: `"gini"` or `"entropy"`.
        smoothing: rows' worth of weight of the class shares in every leaf, 0 or more.
    """

    num_trees: int = 200
    min_samples_leaf: int = 2
    column_share: float = 0.0
    criterion: str = "gini"
    smoothing: float = 0.1

    @classmethod
    def supports(cls, profile: DataProfile) -> bool:
        """Tells whether the size of an export leaves enough leaves: 200 classes."""
        return profile.num_classes <= MAX_CLASSES

    @abstractmethod
    def library_class(self) -> type[RandomForestClassifier] | type[ExtraTreesClassifier]:
        """Returns scikit-learn's forest."""

    def fit(
        self, train: LabelledFeatures, validation: LabelledFeatures | None, context: FitContext
    ) -> FittedForest:
        """Grows the trees; validation rows only tell whether the fit is hopeless."""
        classes = PresentClasses.of(train.labels, context.num_classes)
        wanted = context.iterations or self.num_trees
        # also where fewer are grown: a refit must be the forest that was scored
        limit = leaf_limit(self.num_trees, len(classes))
        # best-first growth, which a limit of leaves brings, is slower and gives other trees
        is_limited = len(train.labels) // self.min_samples_leaf > limit
        forest = self.library_class()(
            criterion=self.criterion,
            min_samples_leaf=self.min_samples_leaf,
            max_features=self.column_share or "sqrt",
            max_depth=MAX_DEPTH,
            max_leaf_nodes=limit if is_limited else None,
            warm_start=True,
            random_state=context.seed,
            n_jobs=context.num_threads,
        )
        labels = classes.positions(train.labels)
        looks = _LOOKS if validation is not None and np.isfinite(context.hopeless_loss) else ()
        seen: list[tuple[int, float]] = []
        grown, began = 0, time.monotonic()
        while grown < wanted and not (grown and context.out_of_time()):
            grown = min(wanted, grown + _batch(grown, time.monotonic() - began, context))
            forest.set_params(n_estimators=grown)
            forest.fit(train.features, labels)
            if validation is not None and len(seen) < len(looks) and grown >= wanted * looks[len(seen)]:
                fitted = _fitted(forest, classes, self.smoothing)
                loss = log_loss(fitted.predict_probabilities(validation.features), validation.labels)
                seen.append((grown, loss))
                expected = _expected_loss(seen, wanted) if len(classes) <= _FEW_CLASSES else -math.inf
                context.report(grown / wanted, loss, expected_loss=expected)
        return _fitted(forest, classes, self.smoothing)


def _batch(grown: int, seconds: float, context: FitContext) -> int:
    """Returns how many trees to grow before the next look at the clock, from what those so far took."""
    if not grown:
        return max(1, context.num_threads)
    left = context.seconds - (time.monotonic() - context.started)
    return int(np.clip(min(left * grown / max(seconds, 1e-6), _BATCH), 1, _BATCH))


def _expected_loss(seen: list[tuple[int, float]], num_trees: int) -> float:
    """Returns the log-loss that a forest will have: each tree more takes its part of the noise of the mean.

    That noise is as 1 to the number of trees; of few trees the loss falls faster, so that this is rather too
    low.

    Args:
        seen: numbers of trees, rising, and the loss of so many.
        num_trees: of the whole forest.
    """
    if len(seen) < 2:
        return -math.inf
    (few, before), (more, now) = seen[-2:]
    noise = max(0.0, before - now) / (1 / few - 1 / more)
    return now - noise * (1 / more - 1 / num_trees)


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
        """Asks the trees as TensorFlow ops."""
        return self.spread.graph(forest_sums(self.forest, features))

    def lightened(self, weight: float) -> FittedForest:
        """Returns its first trees: what T of them add to the noise of a mean is this weight over sqrt(T)."""
        grown = len(self.forest.roots)
        enough = max(_LEAST_TREES, math.ceil(2 * weight * grown))
        if enough >= grown:
            return self
        forest = self.forest.first(enough)
        values = forest.values * np.float32(grown / enough)  # the leaves hold parts of the mean of all trees
        return replace(self, forest=replace(forest, values=values), iterations=enough)
