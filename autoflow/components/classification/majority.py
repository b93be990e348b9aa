"""The baseline: class shares of the training rows, whatever the features say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from autoflow.components.base import FitContext, FittedClassifier, LabelledFeatures, MatrixClassifier
from autoflow.components.registry import register
from autoflow.data.schema import DataProfile

if TYPE_CHECKING:
    import keras_tuner
    import tensorflow as tf


@register
@dataclass(frozen=True)
class Majority(MatrixClassifier):
    """Answers the share of each class in the training rows: what any other model has to beat.

    Args:
        smoothing: rows added to every class before shares are taken, 0.01 to 10 (Laplace's rule at 1); a
            class without rows keeps a probability above zero.
    """

    baseline: ClassVar[bool] = True

    smoothing: float = 1.0

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """Returns the only sensible baseline; nothing is drawn."""
        return cls()

    def fit(
        self, train: LabelledFeatures, validation: LabelledFeatures | None, context: FitContext
    ) -> FittedMajority:
        """Counts the classes."""
        counts = np.bincount(train.labels, minlength=context.num_classes) + self.smoothing
        return FittedMajority((counts / counts.sum()).astype(np.float32))


@dataclass(frozen=True, eq=False)
class FittedMajority(FittedClassifier):
    """Class shares.

    Args:
        shares: `float32[num_classes]`.
    """

    shares: np.ndarray

    def predict_probabilities(self, features: np.ndarray) -> np.ndarray:
        """Returns the shares once a row."""
        return np.tile(self.shares, (len(features), 1))

    def graph(self, features: tf.Tensor) -> tf.Tensor:
        """Returns the shares once a row."""
        import tensorflow as tf

        return tf.tile(tf.constant(self.shares)[None, :], [tf.shape(features)[0], 1])
