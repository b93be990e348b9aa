"""Fits one pipeline: prepared features, then a matrix classifier or a network, as one value that predicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from autoflow.components.base import (
    FitContext,
    FittedClassifier,
    FittedExtractor,
    HopelessTrial,
    LabelledFeatures,
    MatrixClassifier,
    NeuralClassifier,
)
from autoflow.data.schema import Schema
from autoflow.errors import UsageError
from autoflow.pipeline.cache import FoldData, PreparedCache, node_values
from autoflow.pipeline.network import FittedNetwork
from autoflow.pipeline.spec import PipelineSpec
from autoflow.pipeline.temperature import tempered
from autoflow.pipeline.training import Prepared, fit_network

if TYPE_CHECKING:
    import tensorflow as tf

    from autoflow.pipeline.graph import PipelineModule


_COPIES = 3
"""Of the prepared features while a classifier fits: as prepared, merged, and in the library's own form."""


@dataclass(frozen=True)
class FittedPipeline:
    """A fitted pipeline from raw columns to class probabilities; it pickles without TensorFlow objects.

    Args:
        spec: what was fitted.
        schema: the columns that it reads and the classes that it predicts.
        extractors: one fitted extractor a node of the spec.
        model: the fitted classifier.
    """

    spec: PipelineSpec
    schema: Schema
    extractors: tuple[FittedExtractor, ...]
    model: FittedClassifier | FittedNetwork

    def predict_probabilities(self, raw: Mapping[str, np.ndarray]) -> np.ndarray:
        """Returns `float32[n, num_classes]`.

        Args:
            raw: raw values by header, as the exported model takes them (see `autoflow.data.values`).
        """
        return self.predict_prepared(self.prepare(raw))

    def prepare(self, raw: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Returns the prepared features of raw rows, one array a node; see `FittedExtractor.transform`."""
        return [
            extractor.transform(node_values(node, self.schema, raw))
            for node, extractor in zip(self.spec.nodes, self.extractors, strict=True)
        ] or [_no_features(len(next(iter(raw.values()))))]

    def predict_prepared(self, blocks: list[np.ndarray]) -> np.ndarray:
        """As `predict_probabilities`, from prepared features, one array a node."""
        if isinstance(self.model, FittedNetwork):
            return self.model.predict_probabilities(blocks)
        return self.model.predict_probabilities(_merge(blocks))

    def lightened(self, weight: float) -> FittedPipeline:
        """Returns what may stand in for it in a mean; see `FittedClassifier.lightened`."""
        if isinstance(self.model, FittedNetwork):
            return self
        return replace(self, model=self.model.lightened(weight))

    def module(self) -> PipelineModule:
        """Returns the pipeline as a `tf.Module`: raw tensors by header to probabilities and an embedding."""
        from autoflow.pipeline.graph import PipelineModule

        return PipelineModule(self)


@dataclass(frozen=True)
class FitOutcome:
    """A fitted pipeline and, unless it was a refit, its probabilities on the validation rows."""

    pipeline: FittedPipeline
    validation_probabilities: np.ndarray | None


def fit_pipeline(
    spec: PipelineSpec, data: FoldData, cache: PreparedCache, context: FitContext, *, preparation_seed: int
) -> FitOutcome:
    """Fits a pipeline on the training rows of a fold.

    Args:
        spec: what to fit.
        data: rows; without validation rows `context.iterations` should be given.
        cache: prepared features of this machine.
        context: classes, threads, time and seed of the fit.
        preparation_seed: the same over a run, so that prepared features are shared.

    Raises:
        HopelessTrial: the classifier gave up, or its features need more memory than there is.
        UsageError: the classifier is neither a matrix nor a neural one.
    """

    def check(num_bytes: int) -> None:
        _check_memory(num_bytes, context)

    nodes = [cache.prepare(node, data, preparation_seed, check) for node in spec.nodes]
    check(sum(block.nbytes for node in nodes for block in (node.train, node.validation) if block is not None))
    extractors = tuple(node.extractor for node in nodes)
    train = [node.train for node in nodes] or [_no_features(data.train.num_rows)]
    validation = [node.validation for node in nodes if node.validation is not None]
    nodes.clear()
    if data.validation is not None:
        validation = validation or [_no_features(data.validation.num_rows)]
    if isinstance(spec.classifier, NeuralClassifier):
        model: FittedClassifier | FittedNetwork = fit_network(
            extractors,
            spec.concatenation,
            spec.classifier,
            Prepared(tuple(train), data.train.labels),
            Prepared(tuple(validation), data.validation.labels) if data.validation is not None else None,
            context,
        )
    elif isinstance(spec.classifier, MatrixClassifier):
        codes = categorical_columns(extractors)
        model = spec.classifier.fit(
            _only_copy(train, data.train.labels, codes),
            LabelledFeatures(_merge(validation), data.validation.labels, codes)
            if data.validation is not None
            else None,
            context,
        )
    else:
        raise UsageError(
            f"classifier {type(spec.classifier).__name__} must derive from "
            "MatrixClassifier or NeuralClassifier"
        )
    pipeline = FittedPipeline(spec, data.train.schema, extractors, model)
    return FitOutcome(pipeline, pipeline.predict_prepared(validation) if validation else None)


def _check_memory(num_bytes: int, context: FitContext) -> None:
    """Raises HopelessTrial where features of so many bytes would not fit into memory."""
    needed = _COPIES * num_bytes
    if needed > context.memory_bytes:
        raise HopelessTrial(
            f"its features need about {needed / 2**30:.1f} GiB of memory, of which "
            f"{context.memory_bytes / 2**30:.1f} GiB are free for a trial"
        )


def categorical_columns(extractors: Sequence[FittedExtractor]) -> tuple[int, ...]:
    """Returns the places, among the merged features, of those that are codes of categories."""
    flags = [extractor.categorical for extractor in extractors for _ in range(sum(extractor.widths))]
    return tuple(place for place, is_code in enumerate(flags) if is_code)


def _no_features(num_rows: int) -> np.ndarray:
    """Returns what a pipeline without nodes prepares, `float32[n, 0]`: a baseline looks at no column."""
    return np.zeros((num_rows, 0), np.float32)


def _only_copy(blocks: list[np.ndarray], labels: np.ndarray, codes: tuple[int, ...]) -> LabelledFeatures:
    """Returns the merged rows and lets the blocks go: of a million rows each of the two is gigabytes."""
    features, is_new = _merge(blocks), len(blocks) > 1
    blocks.clear()
    return LabelledFeatures(features, labels, codes, is_disposable=is_new)


def _merge(blocks: list[np.ndarray]) -> np.ndarray:
    if len(blocks) == 1:
        return np.ascontiguousarray(blocks[0], np.float32)
    return np.concatenate(blocks, axis=1, dtype=np.float32)


@dataclass(frozen=True)
class WeightedPipelines:
    """The weighted mean of several fitted pipelines: an ensemble, or the folds of one trial.

    Args:
        members: one or more pipelines of one schema.
        weights: their shares, which sum to 1.
        temperature: scales the mean, see `autoflow.pipeline.temperature`.
    """

    members: tuple[FittedPipeline, ...]
    weights: tuple[float, ...]
    temperature: float = 1.0

    @property
    def schema(self) -> Schema:
        """The columns and classes that all members share."""
        return self.members[0].schema

    def predict_probabilities(self, raw: Mapping[str, np.ndarray]) -> np.ndarray:
        """Returns `float32[n, num_classes]`; see `FittedPipeline.predict_probabilities`."""
        parts = [
            np.float32(weight) * member.predict_probabilities(raw)
            for weight, member in zip(self.weights, self.members, strict=True)
        ]
        return tempered(np.sum(parts, axis=0), self.temperature)

    def module(self) -> tf.Module:
        """Returns the mean as a `tf.Module`; see `FittedPipeline.module`."""
        from autoflow.pipeline.graph import PipelineModule, Resources, WeightedModule

        resources = Resources()
        modules = [PipelineModule(member, resources) for member in self.members]
        return WeightedModule(modules, self.weights, self.temperature)
