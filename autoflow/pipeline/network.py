"""A network as a value: components and weights in NumPy, from which the Keras model is rebuilt where needed.

How a network is trained is in `training`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from autoflow.components.base import Concatenation, FittedExtractor, NeuralClassifier
from autoflow.components.stored import stored
from autoflow.components.vector_table import VectorTable

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

_PREDICT_ROWS = {"float32": 8192, "int32": 8192, "uint8": 256}
"""Rows of one call at most by the type of a block: networks on pictures have large activations."""
_PREDICT_TOKENS = 16_384
"""Integers of one call at most: a recurrent network holds thousands of numbers for each token of a text."""
_PREDICT_NUMBERS = 2**25
"""Numbers that merge and body may hold at once: 128 MiB."""

_FUSED = "autoflow_fused"
"""Name of the layer whose output is the fused features."""


class LoadedModel:
    """A Keras model that several networks of one shape use in turn, and whose weights it holds.

    Args:
        model: from prepared blocks to logits.
    """

    def __init__(self, model: keras.Model) -> None:
        self.model = model
        self._weights: tuple[np.ndarray, ...] | None = None

    def with_weights(self, weights: tuple[np.ndarray, ...]) -> keras.Model:
        """Returns the model with these weights, which it may hold already."""
        if self._weights is not weights:
            self.model.set_weights(list(weights))
            self._weights = weights
        return self.model

    def forget(self) -> None:
        """Says that somebody is going to change the weights."""
        self._weights = None


@dataclass(frozen=True, eq=False)
class FittedNetwork:
    """A trained network as a value: components and weights, so that it pickles without TensorFlow.

    Args:
        extractors: one a node, fitted.
        concatenation: how their features are merged.
        classifier: the body behind it.
        num_classes: number of classes.
        dtypes: of the prepared blocks, `"float32"`, `"int32"` or `"uint8"`.
        weights: in the order of the Keras model's `weights`.
        iterations: epochs that a refit may take to come about as far as these weights.
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
        held = numbers_a_row(self.extractors, self.concatenation, self.classifier, self.num_classes)
        return _softmax(network_logits(self.build(), blocks, held))

    def graph(self, blocks: Sequence[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the same as a tensor, and the fused features, for use while a `tf.function` is traced.

        The weights go in as arrays, so an exporter has no Keras variables to look after.

        Args:
            blocks: `[B, d]` of these dtypes, one a node.

        Returns:
            Probabilities `tf.float32[B, num_classes]` and fused features `tf.float32[B, width]`.
        """
        import keras
        import tensorflow as tf

        with tf.init_scope():  # variables cannot be made inside a trace
            whole = self.build()
            model = keras.Model(whole.inputs, [whole.output, whole.get_layer(_FUSED).output])
            trained = [variable.numpy() for variable in model.trainable_variables]
            others = [variable.numpy() for variable in model.non_trainable_variables]
        tables = {id(table.variable): table for table in _vector_tables(model)}
        with contextlib.ExitStack() as reading:
            values = []
            for variable, value in zip(model.trainable_variables, trained, strict=True):
                table = tables.get(id(variable))
                if table is None:
                    values.append(stored(value))
                else:
                    reading.enter_context(table.reading(stored(_halved(value))))
                    values.append(tf.zeros(value.shape))  # which nobody reads
            (logits, fused), _ = model.stateless_call(
                values, [stored(value) for value in others], list(blocks), training=False
            )
        return tf.nn.softmax(tf.cast(logits, tf.float32)), tf.cast(fused, tf.float32)

    def build(self) -> keras.Model:
        """Returns a Keras model from prepared blocks to logits that holds the trained weights.

        It may be shared with other networks of the same shape, so use it before another one is built or
        trained.
        """
        loaded: LoadedModel | None = self.__dict__.get("_model")
        if loaded is None:
            model = network_model(
                self.extractors, self.concatenation, self.classifier, self.num_classes, self.dtypes, seed=0
            )
            loaded = LoadedModel(model)
            self.with_model(loaded)
        return loaded.with_weights(self.weights)

    def contributions(self, blocks: Sequence[np.ndarray]) -> np.ndarray | None:
        """Returns the share of each raw column in what is merged; see `Concatenation.contributions`.

        Args:
            blocks: prepared features of one row or more, one array a node.
        """
        import keras

        if not self.concatenation.trainable:
            return None
        network = _network(
            self.extractors, self.concatenation, self.classifier, self.num_classes, self.dtypes, seed=0
        )
        network.model.set_weights(list(self.weights))
        features = keras.Model(network.model.inputs, network.features)(list(blocks), training=False)
        widths = [extractor.layer_widths for extractor in self.extractors]
        return self.concatenation.contributions(
            network.merge, [np.asarray(node) for node in features], widths
        )

    def with_model(self, loaded: LoadedModel) -> FittedNetwork:
        """Returns this network, which uses a model of its own shape instead of building one."""
        self.__dict__["_model"] = loaded
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_model"}


def with_halved_tables(model: keras.Model, weights: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """Returns the weights, those of vector tables rounded to what half precision holds, as they are exported.

    Args:
        model: whose weights they are.
        weights: in the order of the model's.
    """
    tables = {id(table.variable) for table in _vector_tables(model)}
    return tuple(
        _halved(weight).astype(np.float32) if id(variable) in tables else weight
        for variable, weight in zip(model.weights, weights, strict=True)
    )


def _vector_tables(model: keras.Model) -> list[VectorTable]:
    return [table for layer in model.layers for table in getattr(layer, "vector_tables", ())]


def _halved(values: np.ndarray) -> np.ndarray:
    limits = np.finfo(np.float16)
    return np.clip(values, limits.min, limits.max).astype(np.float16)


def network_model(
    extractors: tuple[FittedExtractor, ...],
    concatenation: Concatenation,
    classifier: NeuralClassifier,
    num_classes: int,
    dtypes: tuple[str, ...],
    *,
    seed: int,
) -> keras.Model:
    """Returns a new, untrained Keras model from prepared blocks to logits.

    Args:
        extractors: one a node.
        concatenation: merges their outputs.
        classifier: the body.
        num_classes: number of logits.
        dtypes: of the prepared blocks.
        seed: for initialisers and dropout.
    """
    return _network(extractors, concatenation, classifier, num_classes, dtypes, seed=seed).model


@dataclass(frozen=True, eq=False)
class _Network:
    """A Keras model from prepared blocks to logits, and what lies inside it.

    Args:
        model: the whole.
        features: of each node, after its trainable layer; what `merge` takes.
        merge: the layer of the concatenation.
    """

    model: keras.Model
    features: list[keras.KerasTensor]
    merge: keras.layers.Layer


def _network(
    extractors: tuple[FittedExtractor, ...],
    concatenation: Concatenation,
    classifier: NeuralClassifier,
    num_classes: int,
    dtypes: tuple[str, ...],
    *,
    seed: int,
) -> _Network:
    import keras

    inputs, features, widths = [], [], []
    for extractor, dtype in zip(extractors, dtypes, strict=True):
        block = keras.layers.Input((sum(extractor.widths),), dtype=dtype)
        layer = extractor.layer()
        inputs.append(block)
        features.append(block if layer is None else layer(block))
        widths.append(extractor.layer_widths)
    merge = concatenation.layer(widths)
    fused = keras.layers.Identity(name=_FUSED)(merge(features))
    body = classifier.body(int(fused.shape[-1]), num_classes, seed)
    return _Network(keras.Model(inputs, body(fused)), features, merge)


def numbers_a_row(
    extractors: Sequence[FittedExtractor],
    concatenation: Concatenation,
    classifier: NeuralClassifier,
    num_classes: int,
) -> int:
    """Returns about how many numbers merge and body of a network hold at once for a row."""
    widths = [extractor.layer_widths for extractor in extractors]
    return concatenation.numbers_a_row(widths) + classifier.numbers_a_row(num_classes)


def in_parts(blocks: Sequence[Any], numbers_a_row: int) -> Iterator[list[Any]]:
    """Yields the blocks, arrays or tensors, some rows at a time, so that activations fit into memory.

    Args:
        blocks: one a node, of one length.
        numbers_a_row: what the network holds, see the function of this name.
    """
    size = min(_PREDICT_ROWS[block.dtype.name] for block in blocks)
    tokens = sum(int(block.shape[1]) for block in blocks if block.dtype.name == "int32")
    size = min(size, _PREDICT_TOKENS // max(1, tokens), _PREDICT_NUMBERS // max(1, numbers_a_row))
    size = max(16, size)
    for start in range(0, len(blocks[0]), size):
        yield [block[start : start + size] for block in blocks]


def network_logits(model: keras.Model, blocks: Sequence[np.ndarray], numbers_a_row: int) -> np.ndarray:
    """Returns `float32[n, num_classes]` for one prepared array a node; see `in_parts`."""
    # called eagerly: tracing a predict function costs more than it saves
    parts = [np.asarray(model(part, training=False)) for part in in_parts(blocks, numbers_a_row)]
    return np.concatenate(parts) if parts else np.zeros((0, int(model.output_shape[-1])), np.float32)


def _softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), np.float32)
