"""A network compiled for training, and used again wherever a network of the same shape is trained.

Building a small network and tracing its training step takes longer than training it on a thousand rows, so
folds, trials and fits on all rows of one shape share one; what embeds tokens has another shape with every
vocabulary. When to stop and which weights are best is decided in `training`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

import numpy as np

from autoflow.components.base import Concatenation, FittedExtractor, NeuralClassifier
from autoflow.pipeline.network import LoadedModel, in_parts, network_model, numbers_a_row

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8
_SPARSE_ROWS = 6144
"""Matrices with more rows than this, of which a batch looks up some, are updated in these rows only.

Those of categories have up to twice as many rows as categories.
"""
_MOST_KEPT, _MOST_KEPT_WEIGHTS = 6, 5_000_000
"""Networks that stay compiled, and the weights of all of them unless it is one: each is held five times."""
_RECIPE = ("learning_rate", "weight_decay", "batch_size", "max_epochs", "patience")
"""Fields of a classifier that may differ between two trainings of a compiled network."""


@dataclass(frozen=True)
class Architecture:
    """What a compiled network depends on, its first weights and the recipe of its training aside.

    Equal ones may share a compiled network; see `architecture`.

    Args:
        layers: stands for what each extractor gives the network and for its trainable layer.
        concatenation: merges their outputs.
        body: stands for the layers of the classifier.
        num_classes: number of logits.
        dtypes: of the prepared blocks, `"float32"`, `"int32"` or `"uint8"`.
        extractors: those that make the layers.
        classifier: the one that makes the body.
    """

    layers: tuple[tuple[Hashable, ...], ...]
    concatenation: Concatenation
    body: Hashable
    num_classes: int
    dtypes: tuple[str, ...]
    extractors: tuple[FittedExtractor, ...] = field(compare=False)
    classifier: NeuralClassifier = field(compare=False)

    @property
    def is_shared(self) -> bool:
        """Whether another one can be equal."""
        return not any(isinstance(layer[-1], _NoKey) for layer in self.layers)

    def model(self, seed: int) -> keras.Model:
        """Returns a new, untrained model.

        Args:
            seed: for its first weights and dropout, 0 to 2^31 - 1.
        """
        import keras

        keras.utils.set_random_seed(seed)
        return network_model(
            self.extractors, self.concatenation, self.classifier, self.num_classes, self.dtypes, seed=seed
        )


class _NoKey:
    """Stands for the layer of an extractor that has no key: equal to itself alone."""


def architecture(
    extractors: Sequence[FittedExtractor],
    concatenation: Concatenation,
    classifier: NeuralClassifier,
    num_classes: int,
    blocks: Sequence[np.ndarray],
) -> Architecture:
    """Returns the architecture for prepared blocks, one an extractor.

    A trainable extractor without a key for its layer makes it equal to no other.
    """
    dtypes = tuple(str(block.dtype) for block in blocks)
    layers = tuple(
        (extractor.widths, extractor.layer_widths, _layer_key(extractor)) for extractor in extractors
    )
    settings = {each.name: getattr(classifier, each.name) for each in fields(classifier)}
    body = type(classifier), tuple(pair for pair in settings.items() if pair[0] not in _RECIPE)
    return Architecture(layers, concatenation, body, num_classes, dtypes, tuple(extractors), classifier)


def _layer_key(extractor: FittedExtractor) -> Hashable:
    if type(extractor).layer is FittedExtractor.layer:
        return None
    key = extractor.layer_key
    return _NoKey() if key is None else (type(extractor), key)


_kept: OrderedDict[Architecture, CompiledNetwork] = OrderedDict()


def compiled(wanted: Architecture, seed: int, weight_decay: float) -> CompiledNetwork:
    """Returns a network at its first weights; one of an equal architecture is used again.

    Args:
        wanted: its architecture.
        seed: for the first weights and dropout, 0 to 2^31 - 1; they are the same whether or not the network
            was compiled before.
        weight_decay: of matrices, times the learning rate a step.
    """
    network = _kept.pop(wanted, None)
    if network is None:
        network = CompiledNetwork(wanted.model(seed), wanted, seed)
    network.restart(seed, weight_decay)
    if wanted.is_shared:
        _kept[wanted] = network
    while len(_kept) > _MOST_KEPT or (
        len(_kept) > 1 and sum(each.num_weights for each in _kept.values()) > _MOST_KEPT_WEIGHTS
    ):
        _kept.popitem(last=False)
    return network


class CompiledNetwork:
    """A Keras model with AdamW (Loshchilov and Hutter 2019) as one TensorFlow function over many batches.

    The loop over batches is inside TensorFlow and the update is its fused kernel: on small tables that is
    four times as fast as `keras.Model.fit`, whose data pipeline costs more than the network.

    Args:
        model: as the architecture built it.
        architecture: what it was built from.
        seed: with which it was built.
    """

    def __init__(self, model: keras.Model, architecture: Architecture, seed: int) -> None:
        import tensorflow as tf

        self.loaded = LoadedModel(model)
        self._architecture = architecture
        self._first_values = seed, [variable.numpy() for variable in model.variables]
        self._optimizer = _AdamW(model)
        self._averages = _Averages(model, architecture.classifier.averaging)
        smoothing = architecture.classifier.label_smoothing
        self._held = numbers_a_row(
            architecture.extractors,
            architecture.concatenation,
            architecture.classifier,
            architecture.num_classes,
        )
        widths = [int(shape[-1]) for shape in (variable.shape for variable in model.inputs)]
        blocks = [
            tf.TensorSpec([None, width], dtype)
            for width, dtype in zip(widths, architecture.dtypes, strict=True)
        ]

        def step(rows: list[tf.Tensor], labels: tf.Tensor, rate: tf.Tensor) -> None:
            with tf.GradientTape() as tape:
                loss = cross_entropy(labels, model(rows, training=True), smoothing)
                loss += sum(model.losses)
            self._optimizer.apply(tape.gradient(loss, self._optimizer.variables), rate)
            if not self._optimizer.sparse:
                self._averages.follow()

        def take_steps(
            blocks: list[tf.Tensor], labels: tf.Tensor, order: tf.Tensor, rates: tf.Tensor
        ) -> tf.Tensor:
            def body(number: tf.Tensor) -> list[tf.Tensor]:
                chosen = order[number]
                step([tf.gather(block, chosen) for block in blocks], tf.gather(labels, chosen), rates[number])
                return [number + 1]

            return tf.while_loop(lambda number: number < tf.shape(order)[0], body, [tf.constant(0)])[0]

        self._take_steps = tf.function(
            take_steps,
            autograph=False,
            input_signature=[
                blocks,
                tf.TensorSpec([None], tf.int32),
                tf.TensorSpec([None, None], tf.int32),
                tf.TensorSpec([None]),
            ],
        )
        self._predict = tf.function(
            lambda rows: model(rows, training=False), autograph=False, input_signature=[blocks]
        )
        self._swap = tf.function(self._averages.swap, autograph=False)

    @property
    def num_weights(self) -> int:
        """How many numbers the model holds."""
        return sum(value.size for value in self._first_values[1])

    def restart(self, seed: int, weight_decay: float) -> None:
        """Goes back to the first weights, whatever was trained meanwhile.

        Args:
            seed: for these weights and dropout.
            weight_decay: of matrices in the coming training.
        """
        if self._first_values[0] != seed:
            # to build a model takes a tenth of what it takes to trace its steps
            model = self._architecture.model(seed)
            self._first_values = seed, [variable.numpy() for variable in model.variables]
        self.loaded.forget()
        for variable, value in zip(self.loaded.model.variables, self._first_values[1], strict=True):
            variable.assign(value)
        self._optimizer.restart(weight_decay)
        self._averages.restart()

    def go_on_from(self, weights: tuple[np.ndarray, ...]) -> None:
        """Sets the weights and their averages; the moments of the optimiser stay.

        Args:
            weights: in the order of the Keras model's `weights`.
        """
        self.loaded.model.set_weights(list(weights))
        self._averages.restart()

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The model holds the averaged weights meanwhile; these are what is kept of a training."""
        if not self._averages.followed:
            yield
            return
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def take_steps(
        self, blocks: Sequence[tf.Tensor], labels: tf.Tensor, order: np.ndarray, rates: np.ndarray
    ) -> None:
        """Takes a step of AdamW for each row of batch indices.

        Args:
            blocks: prepared features of all training rows.
            labels: `int32[n]`.
            order: `int32[steps, batch]`, row numbers.
            rates: `float32[steps]`, learning rates.
        """
        self._take_steps(list(blocks), labels, order, rates)

    def logits(self, blocks: Sequence[tf.Tensor]) -> np.ndarray:
        """Returns the present logits of prepared rows, `float32[n, num_classes]`."""
        return np.concatenate([self._predict(part).numpy() for part in in_parts(blocks, self._held)])


class _Averages:
    """Exponential moving averages of a model's weights (Morales-Brotons, Vogels and Hendrikx 2024).

    They stand nearer to the middle of the valley in which the steps jump about, as if the learning rate had
    fallen. Moving statistics of batches are averaged, too: they belong to weights of their time. A
    network with a matrix that is updated in some rows only is not averaged: a row that few steps move is
    worth its last value, and the other weights have to fit that.

    Args:
        model: its weights are followed.
        decay: share of the average that stays in a step, below 1; 0 follows nothing.
    """

    def __init__(self, model: keras.Model, decay: float) -> None:
        import tensorflow as tf

        variables = [variable.value for variable in model.weights] if decay > 0 else []
        self._decay = float(decay)
        # the states of random generators are whole numbers
        self._pairs = [(v, tf.Variable(v)) for v in variables if v.dtype.is_floating]
        self._count = tf.Variable(0.0)
        self.followed: list[tuple[tf.Variable, tf.Variable]] = []

    def restart(self) -> None:
        """Begins again at the present weights."""
        self._count.assign(0.0)
        for variable, average in self._pairs:
            average.assign(variable)

    def follow(self) -> None:
        """Moves the averages after a step; called while a function is traced."""
        import tensorflow as tf

        self.followed = self._pairs
        count = self._count.assign_add(1.0)
        # an average over the last tenth of the steps, until that is as long as the decay reaches
        rest = 1.0 - tf.minimum(self._decay, count / (count + 9.0))
        for variable, average in self.followed:
            average.assign_sub(rest * (average - variable))

    def swap(self) -> None:
        """Exchanges weights and averages."""
        import tensorflow as tf

        for variable, average in self.followed:
            present, mean = tf.identity(variable), tf.identity(average)
            with tf.control_dependencies([present, mean]):
                variable.assign(mean)
                average.assign(present)


class _AdamW:
    """AdamW on the trainable variables of a model, with gradients clipped to a length of 1."""

    def __init__(self, model: keras.Model) -> None:
        import tensorflow as tf

        self.variables = [variable.value for variable in model.trainable_variables]
        self._slots = [(tf.Variable(tf.zeros_like(v)), tf.Variable(tf.zeros_like(v))) for v in self.variables]
        self._decay = tf.Variable(0.0)
        self._count = tf.Variable(0.0)
        self.sparse = False

    def restart(self, weight_decay: float) -> None:
        """Forgets all steps.

        Args:
            weight_decay: of matrices from now on; biases and the scales of normalisation do not decay.
        """
        import tensorflow as tf

        self._decay.assign(weight_decay)
        self._count.assign(0.0)
        for slots in self._slots:
            for slot in slots:
                slot.assign(tf.zeros_like(slot))

    def apply(self, gradients: list[tf.Tensor | tf.IndexedSlices | None], rate: tf.Tensor) -> None:
        """Takes a step; called while a function is traced."""
        import tensorflow as tf

        summed = [_summed(gradient, v) for gradient, v in zip(gradients, self.variables, strict=True)]
        gradients, _ = tf.clip_by_global_norm(summed, 1.0)
        count = self._count.assign_add(1.0)
        powers = tf.pow(_BETA_1, count), tf.pow(_BETA_2, count)
        decay = rate * self._decay
        for variable, gradient, slots in zip(self.variables, gradients, self._slots, strict=True):
            if gradient is None:
                continue
            if isinstance(gradient, tf.IndexedSlices):
                self.sparse = True
                _apply_to_rows(variable, gradient, slots, decay, rate, powers)
                continue
            if len(variable.shape) > 1:
                variable.assign_sub(decay * variable)
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=slots[0].handle,
                v=slots[1].handle,
                beta1_power=powers[0],
                beta2_power=powers[1],
                lr=rate,
                beta1=_BETA_1,
                beta2=_BETA_2,
                epsilon=_EPSILON,
                grad=gradient,
            )


def _summed(
    gradient: tf.Tensor | tf.IndexedSlices | None, variable: tf.Variable
) -> tf.Tensor | tf.IndexedSlices | None:
    """Returns a dense gradient, or for a matrix of many rows one that names each row once."""
    import tensorflow as tf

    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    if variable.shape[0] <= _SPARSE_ROWS:
        return tf.convert_to_tensor(gradient)
    used, places = tf.unique(gradient.indices)
    values = tf.math.unsorted_segment_sum(gradient.values, places, tf.size(used))
    return tf.IndexedSlices(values, used, gradient.dense_shape)


def _apply_to_rows(
    variable: tf.Variable,
    gradient: tf.IndexedSlices,
    slots: tuple[tf.Variable, tf.Variable],
    decay: tf.Tensor,
    rate: tf.Tensor,
    powers: tuple[tf.Tensor, tf.Tensor],
) -> None:
    """Takes a step of AdamW on the rows that the gradient names; all others stand still, moments included."""
    import tensorflow as tf

    rows, values = gradient.indices, gradient.values
    mean = _BETA_1 * tf.gather(slots[0], rows) + (1 - _BETA_1) * values
    square = _BETA_2 * tf.gather(slots[1], rows) + (1 - _BETA_2) * values**2
    slots[0].scatter_update(tf.IndexedSlices(mean, rows))
    slots[1].scatter_update(tf.IndexedSlices(square, rows))
    scaled = rate * tf.sqrt(1 - powers[1]) / (1 - powers[0])
    change = scaled * mean / (tf.sqrt(square) + _EPSILON) + decay * tf.gather(variable, rows)
    variable.scatter_sub(tf.IndexedSlices(change, rows))


def cross_entropy(labels: tf.Tensor, logits: tf.Tensor, smoothing: float = 0.0) -> tf.Tensor:
    """Returns the mean loss, a scalar.

    Args:
        labels: `int32[B]`.
        logits: `float32[B, num_classes]`, or `float32[B, k, num_classes]` of k models with a loss each.
        smoothing: share of the loss that is to even shares of the classes, 0 to 1.
    """
    import tensorflow as tf

    if logits.shape.rank == 3:
        labels = tf.repeat(labels[:, tf.newaxis], logits.shape[1], axis=1)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    if smoothing > 0:
        # the cross-entropy to even shares, without a row of shares for every label
        even = tf.reduce_logsumexp(logits, axis=-1) - tf.reduce_mean(logits, axis=-1)
        losses = (1.0 - smoothing) * losses + smoothing * even
    return tf.reduce_mean(losses)
