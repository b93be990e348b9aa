"""Nearest neighbours with weights that fade out smoothly, so that ties and rounding change nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from autoflow.components.base import FitContext, FittedClassifier, LabelledFeatures, MatrixClassifier
from autoflow.components.classification._classes import PresentClasses, Spread
from autoflow.components.classification._scaling import Scaling
from autoflow.components.registry import register
from autoflow.components.stored import stored
from autoflow.data.schema import DataProfile

if TYPE_CHECKING:
    import keras_tuner
    import tensorflow as tf

_MAX_VALUES = 1_500_000
"""Numbers that the kept rows may hold: 12 MB in double precision."""
_MAX_ROWS = 10_000
_REACH = 1.2
"""Squared distance at which a weight reaches 0, in units of that of the k-th neighbour."""
_TINY = 1e-9


@register
@dataclass(frozen=True)
class NearestNeighbors(MatrixClassifier):
    """Votes of the training rows around a row, in the standardised space.

    A row within reach of the k-th neighbour votes with a weight that falls to 0 at the edge (the
    Epanechnikov kernel with the bandwidth of Loftsgaarden and Quesenberry 1965); rows at the same distance
    always vote alike. At most 10,000 random training rows are kept, fewer for wide features.

    Args:
        num_neighbors: k, 1 to 200.
        smoothing: votes given to the class shares, above 0 to 10: keeps small neighbourhoods humble.
    """

    num_neighbors: int = 20
    smoothing: float = 1.0

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """Draws the neighbourhood and the weight of the class shares."""
        many = profile.num_classes > 10
        return cls(
            num_neighbors=hp.Int("num_neighbors", 3, 100, sampling="log", default=10 if many else 20),
            smoothing=hp.Float(
                "smoothing", 0.05, 5.0, sampling="log", default=0.2 if many else cls.smoothing
            ),
        )

    @classmethod
    def supports(cls, profile: DataProfile) -> bool:
        """Tells whether distances mean something and serving stays quick: 50,000 rows, 60 columns."""
        return profile.num_rows <= 50_000 and len(profile.columns) <= 60

    def fit(
        self, train: LabelledFeatures, validation: LabelledFeatures | None, context: FitContext
    ) -> FittedNearestNeighbors:
        """Keeps the rows, or a random part of them; costs next to nothing."""
        classes = PresentClasses.of(train.labels, context.num_classes)
        kept = max(1, min(len(train.labels), _MAX_ROWS, _MAX_VALUES // max(1, train.features.shape[1])))
        chosen = np.arange(len(train.labels))
        if kept < len(chosen):
            chosen = np.sort(np.random.default_rng(context.seed).choice(chosen, kept, replace=False))
        scaling = Scaling.fit(train.features)
        places = classes.positions(train.labels[chosen])
        by_class = np.argsort(places, kind="stable")
        return FittedNearestNeighbors(
            scaling=scaling,
            rows=scaling.transform(train.features[chosen[by_class]]),
            places=places[by_class],
            prior=(classes.shares * self.smoothing).astype(np.float32),
            neighbors=min(self.num_neighbors, kept),
            spread=classes.spread(),
        )


@dataclass(frozen=True, eq=False)
class FittedNearestNeighbors(FittedClassifier):
    """The kept rows and their classes.

    Args:
        scaling: of the features.
        rows: `float32[m, d]`, standardised.
        places: `int32[m]`, sorted: the class of each row among the present ones.
        prior: `float32[present]`, votes that every row gets.
        neighbors: k.
        spread: to all classes.
    """

    scaling: Scaling
    rows: np.ndarray
    places: np.ndarray
    prior: np.ndarray
    neighbors: int
    spread: Spread

    def predict_probabilities(self, features: np.ndarray) -> np.ndarray:
        """Measures all distances, some rows at a time."""
        rows = self.rows.astype(np.float64)
        lengths = np.square(rows).sum(axis=1)
        chunk = max(1, 2_000_000 // len(rows))
        out = np.empty((len(features), self.spread.num_classes), np.float32)
        voting, starts = np.unique(self.places, return_index=True)
        for start in range(0, len(features), chunk):
            asked = self.scaling.transform(features[start : start + chunk]).astype(np.float64)
            squared = lengths - 2.0 * (asked @ rows.T) + np.square(asked).sum(axis=1, keepdims=True)
            np.maximum(squared, 0.0, out=squared)
            reach = np.partition(squared, self.neighbors - 1, axis=1)[:, self.neighbors - 1 : self.neighbors]
            weights = np.maximum(1.0 - squared / (_REACH * reach + self._tiny), 0.0).astype(np.float32)
            counts = np.tile(self.prior, (len(weights), 1))
            counts[:, voting] += np.add.reduceat(weights, starts, axis=1)
            out[start : start + chunk] = self.spread(counts / counts.sum(axis=1, keepdims=True))
        return out

    def graph(self, features: tf.Tensor) -> tf.Tensor:
        """Returns the same as core ops, distances in double precision."""
        import tensorflow as tf

        rows = self.rows.astype(np.float64)
        asked = tf.cast(self.scaling.graph(features), tf.float64)
        products = tf.matmul(asked, stored(np.ascontiguousarray(rows.T)))
        lengths = stored(np.square(rows).sum(axis=1))
        squared = lengths - 2.0 * products + tf.reduce_sum(tf.square(asked), axis=1, keepdims=True)
        squared = tf.maximum(squared, tf.constant(0.0, tf.float64))
        reach = -tf.math.top_k(-squared, self.neighbors).values[:, -1:]
        weights = tf.maximum(1.0 - squared / (_REACH * reach + self._tiny), tf.constant(0.0, tf.float64))
        by_row = tf.transpose(tf.cast(weights, tf.float32))
        votes = tf.math.unsorted_segment_sum(by_row, stored(self.places), len(self.prior))
        counts = tf.transpose(votes) + tf.constant(self.prior)
        shares = counts / tf.reduce_sum(counts, axis=1, keepdims=True)
        return self.spread.graph(shares)

    @property
    def _tiny(self) -> float:
        # far above the rounding of the distances, far below any distance that matters
        return _TINY * max(1, self.rows.shape[1])
