"""Trains a network: extractor layers, a concatenation layer and a classifier body, as one Keras model.

What comes out is a value of NumPy arrays, see `network`; one step is in `steps`. What a trial or a search is
must not be known here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from autoflow.components.base import (
    Concatenation,
    FitContext,
    FittedExtractor,
    HopelessTrial,
    NeuralClassifier,
)
from autoflow.pipeline.network import FittedNetwork, with_halved_tables
from autoflow.pipeline.steps import CompiledNetwork, architecture, compiled

_LEAST_BATCH = 8
"""Rows: statistics of two or three mislead a batch normalisation."""
_CALL_SECONDS = 0.25
"""Aim for one call into TensorFlow: the clock is read between calls."""
_DECAY = 0.2
"""Factor on the learning rate when validation log-loss has stood still for half the patience."""
_GAIN = 0.005
"""Share by which validation log-loss must fall, or it counts as standing still."""
_FLAT_SHARE, _LAST_RATE = 0.6, 0.05
"""Share of a refit's epochs at the full learning rate, and what of it is left at the end of the fall."""
_MEAN_RATE = _FLAT_SHARE + (1 - _FLAT_SHARE) * (1 + _LAST_RATE) / 2


@dataclass(frozen=True, eq=False)
class Prepared:
    """Prepared features and labels of some rows.

    Args:
        blocks: for each node of the pipeline what its extractor's `transform` returned, `float32[n, d]`,
            `int32[n, d]` or `uint8[n, d]`.
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
    import tensorflow as tf

    wanted = architecture(extractors, concatenation, classifier, context.num_classes, train.blocks)
    seed = context.seed % 2**31
    network = compiled(wanted, seed, classifier.weight_decay)
    rows = len(train.labels)
    batch_size = min(classifier.batch_size, max(rows // 4, min(rows, _LEAST_BATCH)))
    held_out = validation if context.iterations is None else None
    course = _Course(network, classifier, held_out, context, rows // batch_size)
    blocks, labels = [tf.constant(block) for block in train.blocks], tf.constant(train.labels)
    random = np.random.default_rng(seed)
    chunk = 4
    while not course.over:
        # rows beyond the last full batch wait for another epoch: batch statistics of two rows mislead
        order = random.permutation(rows)[: course.steps * batch_size].reshape(course.steps, batch_size)
        take_steps = partial(network.take_steps, blocks, labels)
        chunk = _run_epoch(take_steps, order.astype(np.int32), course.rates(), chunk, context)
        course.end_epoch()
    weights, iterations = course.result()
    fitted = FittedNetwork(
        wanted.extractors,
        concatenation,
        classifier,
        context.num_classes,
        wanted.dtypes,
        with_halved_tables(network.loaded.model, weights),
        iterations,
    )
    return fitted.with_model(network.loaded)


def _run_epoch(
    take_steps: Callable[[np.ndarray, np.ndarray], None],
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
        network: CompiledNetwork,
        classifier: NeuralClassifier,
        held_out: Prepared | None,
        context: FitContext,
        steps: int,
    ) -> None:
        import tensorflow as tf

        self.network, self.classifier, self.context = network, classifier, context
        self.held_out, self.steps = held_out, steps
        self.held_out_blocks = [tf.constant(block) for block in held_out.blocks] if held_out else []
        unwatched = context.iterations or max(1, classifier.max_epochs // 3)
        self.epochs = classifier.max_epochs if held_out else unwatched
        self.epoch = self.marked_epoch = 0
        self.way = self.best_way = 0.0  # epochs behind the weights, each counted by its share of the rate
        self.best_loss = self.marked_loss = float("inf")
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
            rates *= np.minimum(1.0, _LAST_RATE + (1 - _LAST_RATE) * left / (1 - _FLAT_SHARE))
        return rates.astype(np.float32)

    def end_epoch(self) -> None:
        """Looks at the validation rows and decides how to go on.

        Raises:
            HopelessTrial: where the context gives the fit up.
        """
        self.epoch += 1
        self.way += self.factor
        self.over = self.epoch >= self.epochs or self.context.out_of_time()
        if self.held_out is None:
            return
        with self.network.averaged():
            loss = _log_loss(self.network.logits(self.held_out_blocks), self.held_out.labels)
            if loss < self.best_loss:
                self.best_loss, self.best_way, self.best = loss, self.way, self._weights()
        if loss < self.marked_loss * (1 - _GAIN):
            self.marked_loss, self.marked_epoch = loss, self.epoch
        self.context.report(self.epoch / self.epochs, self.best_loss)
        waited = self.epoch - self.marked_epoch
        if waited >= self.classifier.patience or not self.best:
            self.over = True
        elif waited == max(1, self.classifier.patience // 2):
            self.factor *= _DECAY
            self.network.go_on_from(self.best)
            self.way = self.best_way

    def result(self) -> tuple[tuple[np.ndarray, ...], int]:
        """Returns the best weights, and how many epochs a refit may take to come about as far.

        Not the number of the best epoch: a fit that goes back to its best weights with a lower rate has
        learned little in what it did between, and a refit that does as many epochs at the full rate learns
        its rows by heart (test log-loss 2.94 and not 1.33 on 4,593 rows with texts). Rather one too few:
        a refit has more rows, and nobody stops it.

        Raises:
            HopelessTrial: training diverged.
        """
        weights, way = self.best, self.best_way
        if not weights:
            with self.network.averaged():
                weights, way = self._weights(), self.way
        if not all(np.isfinite(weight).all() for weight in weights):
            raise HopelessTrial(
                f"the network diverged: learning rate {self.classifier.learning_rate:.3g} is too high here"
            )
        if self.held_out is None:
            return weights, self.epoch
        return weights, min(self.epoch, max(1, int(way / _MEAN_RATE)))

    def _weights(self) -> tuple[np.ndarray, ...]:
        return tuple(self.network.loaded.model.get_weights())


def _log_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    logits = logits.astype(np.float64)
    top = logits.max(axis=1)
    total = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    return float((total - logits[np.arange(len(labels)), labels]).mean())
