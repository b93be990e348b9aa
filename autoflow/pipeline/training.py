"""Trains a network: extractor layers, a concatenation layer and a classifier body, as one Keras model.

What comes out is a value of NumPy arrays, see `network`. What a trial or a search is must not be known here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from autoflow.components.base import (
    Concatenation,
    FitContext,
    FittedExtractor,
    HopelessTrial,
    NeuralClassifier,
)
from autoflow.pipeline.network import PREDICT_ROWS, FittedNetwork, network_model

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

_CALL_SECONDS = 0.25
"""Aim for one call into TensorFlow: the clock is read between calls."""
_BETA_1, _BETA_2 = 0.9, 0.999
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

    seed = context.seed % 2**31
    keras.utils.set_random_seed(seed)
    dtypes = tuple("int32" if block.dtype.kind == "i" else "float32" for block in train.blocks)
    model = network_model(
        tuple(extractors), concatenation, classifier, context.num_classes, dtypes, seed=seed
    )
    rows = len(train.labels)
    batch_size = max(1, min(classifier.batch_size, rows // 4))
    held_out = validation if context.iterations is None else None
    course = _Course(model, classifier, held_out, context, rows // batch_size)
    take_steps = _steps(model, classifier, train)
    random = np.random.default_rng(seed)
    chunk = 4
    while not course.over:
        # rows beyond the last full batch wait for another epoch: batch statistics of two rows mislead
        order = random.permutation(rows)[: course.steps * batch_size].reshape(course.steps, batch_size)
        chunk = _run_epoch(take_steps, order.astype(np.int32), course.rates(), chunk, context)
        course.end_epoch()
    weights, best_epoch = course.result()
    network = FittedNetwork(
        tuple(extractors), concatenation, classifier, context.num_classes, dtypes, weights, best_epoch
    )
    return network.with_model(model)


def _run_epoch(
    take_steps: Callable[[np.ndarray, np.ndarray], object],
    order: np.ndarray,
    rates: np.ndarray,
    chunk: int,
    context: FitContext,
) -> int:
    """Takes the steps of an epoch, or those that time allows; returns how many to take in a call."""
    done = 0
    while done < len(order) and not (done and context.out_of_time()):
        started = time.monotonic()
        taken = min(chunk, len(order) - done)
        take_steps(order[done : done + taken], rates[done : done + taken])
        done += taken
        quick = time.monotonic() - started < _CALL_SECONDS * taken / chunk
        chunk = min(1024, chunk * 2) if quick else max(1, chunk // 2)
    return chunk


class _Course:
    """The course of one training: learning rates, best weights, and when to stop."""

    def __init__(
        self,
        model: keras.Model,
        classifier: NeuralClassifier,
        held_out: Prepared | None,
        context: FitContext,
        steps: int,
    ) -> None:
        self.model, self.classifier, self.context = model, classifier, context
        self.held_out, self.steps = held_out, steps
        self.held_out_logits = _logits(model, held_out) if held_out else None
        unwatched = context.iterations or max(1, classifier.max_epochs // 3)
        self.epochs = classifier.max_epochs if held_out else unwatched
        self.epoch = self.best_epoch = 0
        self.best_loss = float("inf")
        self.best: tuple[np.ndarray, ...] = ()
        self.factor = 1.0
        self.over = False

    def rates(self) -> np.ndarray:
        """Returns `float32[steps]` learning rates of the coming epoch; the first one warms up."""
        step = np.arange(self.steps)
        rates = np.full(self.steps, self.classifier.learning_rate * self.factor)
        if self.epoch == 0:
            rates *= (step + 1) / self.steps
        if self.held_out is None:
            left = 1 - (self.epoch + step / self.steps) / self.epochs
            rates *= np.minimum(1.0, 0.05 + 0.95 * left / (1 - _FLAT_SHARE))
        return rates.astype(np.float32)

    def end_epoch(self) -> None:
        """Looks at the validation rows and decides how to go on.

        Raises:
            HopelessTrial: where the context gives the fit up.
        """
        self.epoch += 1
        self.over = self.epoch >= self.epochs or self.context.out_of_time()
        if self.held_out is None or self.held_out_logits is None:
            return
        loss = _log_loss(self.held_out_logits(), self.held_out.labels)
        if loss < self.best_loss:
            self.best_loss, self.best_epoch, self.best = loss, self.epoch, self._weights()
        self.context.report(self.epoch / self.epochs, self.best_loss)
        waited = self.epoch - self.best_epoch
        if waited >= self.classifier.patience or not self.best:
            self.over = True
        elif waited == max(1, self.classifier.patience // 2):
            self.factor *= _DECAY
            self.model.set_weights(list(self.best))

    def result(self) -> tuple[tuple[np.ndarray, ...], int]:
        """Returns the best weights and their epoch; raises HopelessTrial where training diverged."""
        weights, epoch = (self.best, self.best_epoch) if self.best else (self._weights(), self.epoch)
        if not all(np.isfinite(weight).all() for weight in weights):
            raise HopelessTrial(
                f"the network diverged: learning rate {self.classifier.learning_rate:.3g} is too high here"
            )
        return weights, epoch

    def _weights(self) -> tuple[np.ndarray, ...]:
        return tuple(self.model.get_weights())


def _logits(model: keras.Model, rows: Prepared) -> Callable[[], np.ndarray]:
    """Returns a function that gives the present logits of some rows, `float32[n, num_classes]`."""
    import tensorflow as tf

    blocks = [tf.constant(block) for block in rows.blocks]
    predict = tf.function(lambda batch: model(batch, training=False), autograph=False, reduce_retracing=True)

    def logits() -> np.ndarray:
        parts = [
            predict([block[start : start + PREDICT_ROWS] for block in blocks])
            for start in range(0, len(rows.labels), PREDICT_ROWS)
        ]
        return np.concatenate([part.numpy() for part in parts])

    return logits


def _steps(
    model: keras.Model, classifier: NeuralClassifier, train: Prepared
) -> Callable[[np.ndarray, np.ndarray], object]:
    """Returns a function that takes a step of AdamW for each row of batch indices, with its learning rate.

    The loop over batches is inside TensorFlow and the update is its fused kernel: on small tables that is
    four times as fast as `keras.Model.fit`, whose data pipeline costs more than the network.
    """
    import tensorflow as tf

    blocks = [tf.constant(block) for block in train.blocks]
    labels = tf.constant(train.labels)
    variables = [variable.value for variable in model.trainable_variables]
    slots = [(tf.Variable(tf.zeros_like(v)), tf.Variable(tf.zeros_like(v))) for v in variables]
    # matrices decay, biases and the scales of normalisation do not
    decays = [classifier.weight_decay if len(v.shape) > 1 else 0.0 for v in variables]
    count = tf.Variable(0.0)

    def step(chosen: tf.Tensor, rate: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            logits = model([tf.gather(block, chosen) for block in blocks], training=True)
            loss = _loss(tf.gather(labels, chosen), logits, classifier.label_smoothing)
            loss += sum(model.losses)
        gradients, _ = tf.clip_by_global_norm(tape.gradient(loss, variables), 1.0)
        time_step = count.assign_add(1.0)
        for variable, gradient, (mean, square), decay in zip(
            variables, gradients, slots, decays, strict=True
        ):
            if gradient is None:
                continue
            if decay > 0:
                variable.assign_sub(rate * decay * variable)
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=mean.handle,
                v=square.handle,
                beta1_power=tf.pow(_BETA_1, time_step),
                beta2_power=tf.pow(_BETA_2, time_step),
                lr=rate,
                beta1=_BETA_1,
                beta2=_BETA_2,
                epsilon=1e-8,
                grad=tf.convert_to_tensor(gradient),
            )

    def take_steps(order: tf.Tensor, rates: tf.Tensor) -> tf.Tensor:
        def body(number: tf.Tensor) -> list[tf.Tensor]:
            step(order[number], rates[number])
            return [number + 1]

        return tf.while_loop(lambda number: number < tf.shape(order)[0], body, [tf.constant(0)])[0]

    batches = tf.TensorSpec([None, None], tf.int32)
    return tf.function(take_steps, autograph=False, input_signature=[batches, tf.TensorSpec([None])])


def _loss(labels: tf.Tensor, logits: tf.Tensor, smoothing: float) -> tf.Tensor:
    import tensorflow as tf

    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    if smoothing > 0:
        # the cross-entropy to even shares, without a row of shares for every label
        even = tf.reduce_logsumexp(logits, axis=-1) - tf.reduce_mean(logits, axis=-1)
        losses = (1.0 - smoothing) * losses + smoothing * even
    return tf.reduce_mean(losses)


def _log_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    logits = logits.astype(np.float64)
    top = logits.max(axis=1)
    total = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    return float((total - logits[np.arange(len(labels)), labels]).mean())
