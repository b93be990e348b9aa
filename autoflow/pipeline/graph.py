"""Fitted pipelines as TensorFlow graphs from raw columns to probabilities and to an embedding.

Imported only where TensorFlow is needed anyway: for parity checks and for the export.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from autoflow.components.stored import keeping
from autoflow.pipeline.network import FittedNetwork
from autoflow.pipeline.raw_graph import matrix, raw_texts
from autoflow.pipeline.temperature import tempered_graph

if TYPE_CHECKING:
    from autoflow.pipeline.assembly import FittedPipeline


MAX_EMBEDDED_FEATURES = 512
"""Features that a pipeline without a network gives as its embedding; with more, it gives log-probabilities:
word counts by the thousand are what a user of an embedding wants to be spared."""

_LEAST_PROBABILITY = 1e-15


class Resources(tf.Module):
    """Hash tables and large arrays that live as long as this module.

    Implements `components.base.LookupTables`. Equal ones are held once, whoever asks for them.
    """

    def __init__(self) -> None:
        super().__init__()
        self._tables: dict[str, tf.lookup.StaticHashTable] = {}
        self._arrays: dict[str, tf.Variable] = {}
        self._kept: list[Any] = []

    def keep(self, resource: Any) -> None:
        """Keeps the tables of a loaded model; what this module does not hold is missing in an export."""
        if not any(resource is each for each in self._kept):
            self._kept.append(resource)

    def table(
        self, keys: Sequence[str] | np.ndarray, values: Sequence[int] | np.ndarray, default: int
    ) -> tf.lookup.StaticHashTable:
        """Returns a static table from distinct strings to int64; unknown keys give `default`."""
        name = _digest(list(keys), np.asarray(values, np.int64), default)
        if name not in self._tables:
            with tf.init_scope():  # a table made inside a trace would belong to that trace only
                initializer = tf.lookup.KeyValueTensorInitializer(
                    tf.constant(list(keys), tf.string, shape=[len(keys)]),
                    tf.constant(values, tf.int64, shape=[len(keys)]),
                )
                self._tables[name] = tf.lookup.StaticHashTable(initializer, default)
        return self._tables[name]

    def array(self, values: np.ndarray) -> tf.Tensor:
        """Returns the values of a variable that holds them.

        Args:
            values: numbers of any shape.
        """
        name = _digest(values.shape, str(values.dtype), values)
        if name not in self._arrays:
            with tf.init_scope():
                self._arrays[name] = tf.Variable(values, trainable=False)
        return tf.convert_to_tensor(self._arrays[name])


def _digest(*parts: Any) -> str:
    # the prefix keeps names from beginning with a digit, which attributes cannot
    return "r" + hashlib.sha256(pickle.dumps(parts)).hexdigest()


class PipelineModule(tf.Module):
    """One fitted pipeline; call it with raw tensors `[B]` by header.

    Call it eagerly before it is traced: a trace that makes variables is made twice.

    Args:
        pipeline: fitted.
        resources: of the ensemble that it is a member of.
    """

    def __init__(self, pipeline: FittedPipeline, resources: Resources | None = None) -> None:
        super().__init__()
        self._pipeline = pipeline
        self._resources = resources or Resources()

    def __call__(
        self, raw: Mapping[str, tf.Tensor], prepared: dict[bytes, tf.Tensor] | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns probabilities `tf.float32[B, num_classes]` and an embedding `tf.float32[B, d]`.

        The embedding is the fused features: of a network what its concatenation gives, of another
        classifier the prepared features side by side, or its log-probabilities if those are none or over 512.

        Args:
            raw: a tensor `[B]` a column, by header.
            prepared: features that other members computed in this trace, to be shared and added to.
        """
        with keeping(self._resources.array):
            return self._answer(raw, {} if prepared is None else prepared)

    def _answer(
        self, raw: Mapping[str, tf.Tensor], prepared: dict[bytes, tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        schema = self._pipeline.schema
        blocks = []
        for node, extractor in zip(self._pipeline.spec.nodes, self._pipeline.extractors, strict=True):
            # equal columns and an extractor that learned the same give the same features
            content = hashlib.sha256(pickle.dumps((node.columns, extractor))).digest()
            if content not in prepared:
                columns = [schema.column(name) for name in node.columns]
                values = raw_texts(columns, raw) if node.reads_rows else matrix(columns, raw)
                prepared[content] = extractor.graph(values, self._resources)
            blocks.append(prepared[content])
        model = self._pipeline.model
        if isinstance(model, FittedNetwork):
            return model.graph(blocks)
        if not blocks:  # a baseline looks at no column
            blocks = [tf.zeros([tf.shape(next(iter(raw.values())))[0], 0])]
        features = tf.concat(blocks, axis=1)
        probabilities = model.graph(features)
        width = sum(sum(extractor.widths) for extractor in self._pipeline.extractors)
        if 0 < width <= MAX_EMBEDDED_FEATURES:
            return probabilities, features
        return probabilities, tf.math.log(tf.maximum(probabilities, _LEAST_PROBABILITY))

    @property
    def is_network(self) -> bool:
        """Whether its embedding was learned together with its classifier."""
        return isinstance(self._pipeline.model, FittedNetwork)


class WeightedModule(tf.Module):
    """The weighted mean of several pipelines; raw columns and equal prepared features are shared."""

    def __init__(
        self, members: Sequence[PipelineModule], weights: Sequence[float], temperature: float
    ) -> None:
        super().__init__()
        self._temperature = temperature
        self._members = list(members)
        self._weights = list(weights)

    def __call__(self, raw: Mapping[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the tempered mean `tf.float32[B, num_classes]` and an embedding `tf.float32[B, d]`.

        The embedding is that of the heaviest network, for networks learn what they fuse, or else of the
        heaviest member of all.
        """
        prepared: dict[bytes, tf.Tensor] = {}
        answers = [member(raw, prepared) for member in self._members]
        ranks = [
            (member.is_network, weight) for member, weight in zip(self._members, self._weights, strict=True)
        ]
        _, embedding = answers[ranks.index(max(ranks))]
        parts = [
            weight * probabilities for weight, (probabilities, _) in zip(self._weights, answers, strict=True)
        ]
        return tempered_graph(tf.add_n(parts), self._temperature), embedding
