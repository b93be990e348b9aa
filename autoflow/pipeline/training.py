"""Trains a network: extractor layers, a concatenation layer and a classifier body, as one Keras model.

The fitted network is a value of NumPy arrays again; the Keras model is rebuilt from it where it is needed.
What a trial or a search is must not be known here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from autoflow.components.base import Concatenation, FitContext, FittedExtractor, NeuralClassifier

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

_PREDICT_ROWS = 8192
_EXECUTION_FLOPS = 4e9
"""Work of one call into TensorFlow, about a quarter of a second: the clock is read between calls."""
_DECAY = 0.2
"""Factor on the learning rate when validation log-loss has not improved for half the patience."""
_FLAT_SHARE = 0.6
"""Share of a refit's epochs at the full learning rate; then it falls in a line to a twentieth."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """Prepared features and labels of some rows.

    Args:
        blocks: for each node of the pipeline what its extractor's `transform` returned, `float32[n, d]` or
            `int32[n, d]`.
        labels: `int32[n]`.
    """

    blocks: tuple[np.ndarray, ...]
    labels: np.ndarray


@dataclass(frozen=True, eq=False)
class FittedNetwork:
    """A trained network as a value: components and weights, so that it pickles without TensorFlow.

    Args:
        extractors: one a node, fitted.
        concatenation: how their features are merged.
        classifier: the body behind it.
        num_classes: number of classes.
        dtypes: of the prepared blocks, `"float32"` or `"int32"`.
        weights: in the order of the Keras model's `weights`.
        iterations: epochs of training behind these weights.
    """

    extractors: tuple[FittedExtractor, ...]
    concatenation: Concatenation
    classifier: NeuralClassifier
    num_classes: int
    dtypes: tuple[str, ...]
    weights: tuple[np.ndarray, ...]
    iterations: int

    def predict_probabilities(self, blocks: Sequence[np.ndarray]) -> np.ndarray:
        """Returns `float32[n, num_classes]` for one prepared array a node."""
        return _softmax(_logits(self.build(), blocks))

    def graph(self, blocks: Sequence[tf.Tensor]) -> tf.Tensor:
        """Returns the same as a tensor, for use while a `tf.function` is traced.

        The weights go in as constants, so an exporter has no variables to look after.

        Args:
            blocks: `tf.float32[B, d]` or `tf.int32[B, d]`, one a node.
        """
        import tensorflow as tf

        with tf.init_scope():  # variables cannot be made inside a trace
            model = self.build()
            trained = [variable.numpy() for variable in model.trainable_variables]
            others = [variable.numpy() for variable in model.non_trainable_variables]
        logits, _ = model.stateless_call(
            [tf.constant(value) for value in trained],
            [tf.constant(value) for value in others],
            list(blocks),
            training=False,
        )
        return tf.nn.softmax(tf.cast(logits, tf.float32))

    def build(self) -> keras.Model:
        """Returns the Keras model from prepared blocks to logits, with the trained weights; made once."""
        model: keras.Model | None = self.__dict__.get("_model")
        if model is None:
            model = _model(
                self.extractors, self.concatenation, self.classifier, self.num_classes, self.dtypes, seed=0
            )
            model.set_weights(list(self.weights))
            self.__dict__["_model"] = model
        return model

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_model"}


def fit_network(
    extractors: Sequence[FittedExtractor],
    concatenation: Concatenation,
    classifier: NeuralClassifier,
    train: Prepared,
    validation: Prepared | None,
    context: FitContext,
) -> FittedNetwork:
    """Returns a network trained by AdamW (Loshchilov and Hutter 2019) with early stopping.

    With validation rows the learning rate falls, from the best weights so far, when log-loss stands still
    for half the patience, and training ends when it does so for all of it. With `context.iterations` that
    many epochs are trained and no row is held out. The same seed gives the same network on one thread.

    Args:
        extractors: fitted, one a node; those with a trainable layer train along.
        concatenation: merges their outputs.
        classifier: the body and the training recipe.
        train: training rows, one or more.
        validation: rows for early stopping; None in a refit.
        context: classes, seed, time and number of epochs. The number of threads is a setting of the
            process that TensorFlow takes before it starts, so the caller sees to it.

    Raises:
        HopelessTrial: where `context.report` gives the fit up.
    """
    import keras

    keras.utils.set_random_seed(context.seed % 2**31)
    dtypes = tuple("int32" if block.dtype.kind == "i" else "float32" for block in train.blocks)
    model = _model(
        tuple(extractors), concatenation, classifier, context.num_classes, dtypes, seed=context.seed % 2**31
    )
    rows = len(train.labels)
    batch_size = max(1, min(classifier.batch_size, rows // 4))
    steps = math.ceil(rows / batch_size)
    flops = 6 * batch_size * max(10_000, model.count_params())
    model.compile(
        optimizer=_optimizer(classifier),
        loss=_loss(classifier.label_smoothing),
        jit_compile=False,
        steps_per_execution=max(1, min(math.ceil(steps / 8), int(_EXECUTION_FLOPS / flops))),
    )
    held_out = validation if context.iterations is None else None
    epochs = context.iterations or (classifier.max_epochs if held_out else max(1, classifier.max_epochs // 3))
    course = _Course(model, classifier, held_out, context, epochs, steps)
    model.fit(
        list(train.blocks),
        train.labels,
        batch_size=batch_size,
        epochs=epochs,
        verbose=0,
        callbacks=[
            keras.callbacks.LambdaCallback(
                on_train_batch_begin=course.before_steps,
                on_train_batch_end=course.after_steps,
                on_epoch_end=course.after_epoch,
            )
        ],
    )
    weights, best_epoch = course.result()
    return FittedNetwork(
        tuple(extractors), concatenation, classifier, context.num_classes, dtypes, weights, best_epoch
    )


class _Course:
    """The course of one training: learning rate, best weights, and when to stop."""

    def __init__(
        self,
        model: keras.Model,
        classifier: NeuralClassifier,
        held_out: Prepared | None,
        context: FitContext,
        epochs: int,
        steps: int,
    ) -> None:
        self.model, self.classifier, self.context = model, classifier, context
        self.held_out, self.epochs, self.steps = held_out, epochs, steps
        self.epoch = self.best_epoch = 0
        self.best_loss = float("inf")
        self.best: tuple[np.ndarray, ...] = ()
        self.factor = 1.0

    def before_steps(self, step: int, logs: object = None) -> None:
        """Sets the learning rate: a warm-up over the first epoch, then what the course has come to."""
        warm_up = min(1.0, (step + 1) / self.steps) if self.epoch == 0 else 1.0
        if self.held_out is None:
            done = (self.epoch + step / self.steps) / self.epochs
            self.factor = min(1.0, 0.05 + 0.95 * (1 - done) / (1 - _FLAT_SHARE))
        self.model.optimizer.learning_rate.assign(self.classifier.learning_rate * self.factor * warm_up)

    def after_steps(self, step: int, logs: object = None) -> None:
        """Stops when the time is over."""
        if self.context.out_of_time():
            self.model.stop_training = True

    def after_epoch(self, epoch: int, logs: object = None) -> None:
        """Looks at the validation rows and decides how to go on."""
        self.epoch = epoch + 1
        if self.held_out is None:
            return
        loss = _log_loss(_logits(self.model, self.held_out.blocks), self.held_out.labels)
        if loss < self.best_loss:
            self.best_loss, self.best_epoch, self.best = loss, self.epoch, self._weights()
        self.context.report(self.epoch / self.epochs, self.best_loss)
        waited = self.epoch - self.best_epoch
        half = max(1, self.classifier.patience // 2)
        if waited >= self.classifier.patience or not self.best:
            self.model.stop_training = True
        elif waited == half:
            self.factor *= _DECAY
            self.model.set_weights(list(self.best))

    def result(self) -> tuple[tuple[np.ndarray, ...], int]:
        """Returns the best weights and their epoch."""
        return (self.best, self.best_epoch) if self.best else (self._weights(), max(1, self.epoch))

    def _weights(self) -> tuple[np.ndarray, ...]:
        return tuple(self.model.get_weights())


def _model(
    extractors: tuple[FittedExtractor, ...],
    concatenation: Concatenation,
    classifier: NeuralClassifier,
    num_classes: int,
    dtypes: tuple[str, ...],
    *,
    seed: int,
) -> keras.Model:
    import keras

    inputs, features, widths = [], [], []
    for extractor, dtype in zip(extractors, dtypes, strict=True):
        block = keras.layers.Input((sum(extractor.widths),), dtype=dtype)
        layer = extractor.layer()
        inputs.append(block)
        features.append(block if layer is None else layer(block))
        widths.append(extractor.layer_widths)
    fused = concatenation.layer(widths)(features)
    return keras.Model(inputs, classifier.body(int(fused.shape[-1]), num_classes, seed)(fused))


def _optimizer(classifier: NeuralClassifier) -> keras.optimizers.Optimizer:
    import keras

    optimizer = keras.optimizers.AdamW(
        classifier.learning_rate, weight_decay=classifier.weight_decay, global_clipnorm=1.0
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def _loss(smoothing: float) -> Any:
    import keras

    if smoothing <= 0:
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def smoothed(labels: Any, logits: Any) -> Any:
        # the cross-entropy to even shares, without a row of shares for every label
        even = keras.ops.logsumexp(logits, axis=-1) - keras.ops.mean(logits, axis=-1)
        true = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
        return (1.0 - smoothing) * true + smoothing * even

    return smoothed


def _logits(model: keras.Model, blocks: Sequence[np.ndarray]) -> np.ndarray:
    # called eagerly: tracing a predict function costs more than it saves
    rows = len(blocks[0])
    parts = []
    for start in range(0, rows, _PREDICT_ROWS):
        parts.append(
            np.asarray(model([block[start : start + _PREDICT_ROWS] for block in blocks], training=False))
        )
    return np.concatenate(parts) if parts else np.zeros((0, int(model.output_shape[-1])), np.float32)


def _softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), np.float32)


def _log_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    logits = logits.astype(np.float64)
    top = logits.max(axis=1)
    total = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    return float((total - logits[np.arange(len(labels)), labels]).mean())
