"""Multinomial logistic regression, fitted by L-BFGS in single precision within a time limit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from autoflow.components.base import FitContext, FittedClassifier, LabelledFeatures, MatrixClassifier
from autoflow.components.classification._classes import PresentClasses, Spread, log_loss, softmax
from autoflow.components.classification._scaling import Scaling
from autoflow.components.registry import register
from autoflow.components.stored import stored
from autoflow.data.schema import DataProfile

if TYPE_CHECKING:
    import keras_tuner
    import tensorflow as tf

_LOGITS_AT_ONCE = 25_000_000
"""Of rows times classes: a million rows of 1,000 classes have 4 GB of them."""
_CHECK = 5
"""Iterations between two looks at the validation rows."""


@register
@dataclass(frozen=True)
class LogisticRegression(MatrixClassifier):
    """A linear model with softmax and a squared penalty on standardised features.

    The path of L-BFGS (Liu and Nocedal 1989) starts at the class shares and is stopped where validation
    log-loss no longer falls, which regularises wide tables beside the penalty.

    Args:
        l2: penalty; the loss is the sum over rows plus `l2 / 2` times the squared weights. 0.001 to 10,000.
        max_iterations: L-BFGS steps at most, 10 to 1,000.
        patience: steps without improvement on validation rows after which the fit stops.
    """

    l2: float = 10.0
    max_iterations: int = 200
    patience: int = 20

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """Draws the penalty; stronger at first for few rows."""
        default = 20.0 if profile.num_rows < 2000 else (cls.l2 if profile.num_rows < 10_000 else 1.0)
        return cls(l2=hp.Float("l2", 1e-2, 1e4, sampling="log", default=default))

    def fit(
        self, train: LabelledFeatures, validation: LabelledFeatures | None, context: FitContext
    ) -> FittedLogisticRegression:
        """Minimises penalised log-loss; threads of the linear algebra are limited to the context's."""
        from threadpoolctl import threadpool_limits

        classes = PresentClasses.of(train.labels, context.num_classes)
        scaling = Scaling.fit(train.features)
        path = _Path(classes, scaling, validation if context.iterations is None else None, self, context)
        with threadpool_limits(context.num_threads):
            scale = scaling.overwrite if train.is_disposable else scaling.transform
            path.follow(scale(train.features), classes.positions(train.labels))
        weights, intercepts = path.best
        steps = max(1, path.best_step)
        return FittedLogisticRegression(scaling, weights, intercepts, classes.spread(), steps)


class _Path:
    """The steps of one optimisation: what was best so far, and when to stop."""

    def __init__(
        self,
        classes: PresentClasses,
        scaling: Scaling,
        validation: LabelledFeatures | None,
        model: LogisticRegression,
        context: FitContext,
    ) -> None:
        self.model, self.context, self.classes = model, context, classes
        self.steps = context.iterations or model.max_iterations
        self.step = self.best_step = 0
        self.best_loss = float("inf")
        self.shape = (len(scaling.shift) + 1, len(classes))
        self.parameters = np.zeros(self.shape)
        self.parameters[-1] = np.log(classes.shares)
        self.best = self._split(self.parameters)
        self.spread = classes.spread()
        self.held_out = scaling.transform(validation.features) if validation is not None else None
        self.held_out_labels = validation.labels if validation is not None else None

    def follow(self, features: np.ndarray, labels: np.ndarray) -> None:
        """Runs the optimiser; the best parameters are in `best`."""
        from scipy.optimize import minimize

        rows = len(labels)
        at_once = max(1, _LOGITS_AT_ONCE // self.shape[1])
        parts = [slice(start, start + at_once) for start in range(0, rows, at_once)]

        def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
            weights, intercepts = self._split(flat.reshape(self.shape))
            value, gradient = 0.0, np.zeros(self.shape)
            for part in parts:
                value += _add_part(features[part], labels[part], weights, intercepts, gradient)
            gradient /= rows
            gradient[:-1] += self.model.l2 / rows * weights
            penalty = self.model.l2 / (2 * rows) * float(np.square(weights, dtype=np.float64).sum())
            return value / rows + penalty, gradient.ravel()

        minimize(
            loss,
            self.parameters.ravel(),
            jac=True,
            method="L-BFGS-B",
            callback=self._stepped,
            options={"maxiter": self.steps, "ftol": 1e-7, "gtol": 1e-6, "maxcor": 10},
        )
        if self.held_out is None:
            self.best, self.best_step = self._split(self.parameters), self.step
        elif self.step % _CHECK:
            self._check()

    def _stepped(self, flat: np.ndarray) -> None:
        self.step += 1
        self.parameters = flat.reshape(self.shape).copy()
        if self.held_out is not None and self.step % _CHECK == 0:
            self._check()
            self.context.report(self.step / self.steps, self.best_loss)
            if self.step - self.best_step >= self.model.patience:
                raise StopIteration
        if self.context.out_of_time():
            raise StopIteration

    def _check(self) -> None:
        if self.held_out is None or self.held_out_labels is None:
            return
        weights, intercepts = self._split(self.parameters)
        probabilities = self.spread(softmax(self.held_out @ weights + intercepts))
        loss = log_loss(probabilities, self.held_out_labels)
        if loss < self.best_loss:
            self.best_loss, self.best_step, self.best = loss, self.step, (weights, intercepts)

    def _split(self, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return parameters[:-1].astype(np.float32), parameters[-1].astype(np.float32)


def _add_part(
    features: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray,
    intercepts: np.ndarray,
    gradient: np.ndarray,
) -> float:
    """Adds the gradient of the loss of some rows, `float64[d + 1, C]`, and returns the loss, a sum."""
    every = np.arange(len(labels))
    logits = features @ weights
    logits += intercepts
    logits -= logits.max(axis=1, keepdims=True)
    chosen = logits[every, labels].astype(np.float64)
    np.exp(logits, out=logits)
    total = logits.sum(axis=1, keepdims=True)
    value = float((np.log(total[:, 0], dtype=np.float64) - chosen).sum())
    logits /= total
    logits[every, labels] -= 1.0
    gradient[:-1] += features.T @ logits
    gradient[-1] += logits.sum(axis=0, dtype=np.float64)
    return value


@dataclass(frozen=True, eq=False)
class FittedLogisticRegression(FittedClassifier):
    """A linear map to logits.

    Args:
        scaling: of the features.
        weights: `float32[d, present]`.
        intercepts: `float32[present]`.
        spread: to all classes.
        iterations: L-BFGS steps taken.
    """

    scaling: Scaling
    weights: np.ndarray
    intercepts: np.ndarray
    spread: Spread
    iterations: int

    def predict_probabilities(self, features: np.ndarray) -> np.ndarray:
        """Returns the softmax of the linear map."""
        logits = self.scaling.transform(features) @ self.weights + self.intercepts
        return self.spread(softmax(logits))

    def graph(self, features: tf.Tensor) -> tf.Tensor:
        """Returns the same as core ops."""
        import tensorflow as tf

        logits = tf.matmul(self.scaling.graph(features), stored(self.weights))
        return self.spread.graph(tf.nn.softmax(logits + tf.constant(self.intercepts)))
