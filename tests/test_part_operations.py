"""Every registered component's graph is made of operations with which its model can be a part of another."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from autoflow.components.base import (
    Classifier,
    Component,
    Concatenation,
    FeatureExtractor,
    FitContext,
    LabelledFeatures,
    MatrixClassifier,
    NeuralClassifier,
)
from autoflow.components.discovery import discover
from autoflow.components.registry import Role, lookup, names
from autoflow.parts import OPERATIONS
from autoflow.testing.declaration import draws
from autoflow.testing.feature_extraction import GraphTables, accepted_kinds
from autoflow.testing.rows import training_values

discover()
COMPONENTS = [lookup(role, name) for role in Role for name in names(role)]
VARIABLES = {"ReadVariableOp", "ResourceGather"}
"""What reads a layer's weights here; in an export they are constants."""


def _operations(function: Callable[..., object], *shapes: tuple[list[int | None], str]) -> set[str]:
    import tensorflow as tf

    specs = [tf.TensorSpec(shape, dtype) for shape, dtype in shapes]
    traced = tf.function(function, autograph=False, input_signature=specs).get_concrete_function()
    graph = traced.graph.as_graph_def()
    library = [node for part in graph.library.function for node in part.node_def]
    own = {part.signature.name for part in graph.library.function}
    return {node.op for node in [*graph.node, *library]} - own - VARIABLES


def _of_extractor(extractor: FeatureExtractor) -> set[str]:
    found: set[str] = set()
    for kind in accepted_kinds(type(extractor)):
        values = training_values(kind)
        labels = np.arange(len(values), dtype=np.int32) % 3
        fitted, tables = extractor.fit_transform(values, labels, 3, seed=0)[0], GraphTables()
        dtype = "string" if values.dtype == object else "float64"
        found |= _operations(
            lambda batch, fitted=fitted, tables=tables: fitted.graph(batch, tables),
            ([None, values.shape[1]], dtype),
        )
        layer, prepared = fitted.layer(), fitted.transform(values)
        if layer is not None:
            layer(prepared)
            found |= _operations(layer, ([None, prepared.shape[1]], prepared.dtype.name))
    return found


def _of_classifier(classifier: Classifier) -> set[str]:
    random = np.random.default_rng(0)
    features = random.normal(size=(120, 6)).astype(np.float32)
    if isinstance(classifier, NeuralClassifier):
        body = classifier.body(6, 3, 0)
        body(features)
        return _operations(lambda batch: body(batch, training=False), ([None, 6], "float32"))
    assert isinstance(classifier, MatrixClassifier)
    found: set[str] = set()
    for num_classes, num_present in ((2, 2), (4, 3)):
        labels = random.integers(0, num_present, 120).astype(np.int32)
        features[:, 5] = labels + 1
        fitted = classifier.fit(
            LabelledFeatures(features, labels, (5,)), None, FitContext(num_classes, iterations=3)
        )
        found |= _operations(fitted.graph, ([None, 6], "float32"))
    return found


def _of_concatenation(concatenation: Concatenation) -> set[str]:
    layer = concatenation.layer([(2, 1), (3,)])
    layer([np.zeros((4, 3), np.float32), np.zeros((4, 3), np.float32)])
    return _operations(lambda a, b: layer([a, b]), ([None, 3], "float32"), ([None, 3], "float32"))


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda component: component.__name__)
def test_the_operations_of_a_component_are_known(component: type[Component]) -> None:
    for drawn in (component(), *draws(component)[1:4]):
        if isinstance(drawn, FeatureExtractor):
            found = _of_extractor(drawn)
        elif isinstance(drawn, Concatenation):
            found = _of_concatenation(drawn)
        else:
            assert isinstance(drawn, Classifier)
            found = _of_classifier(drawn)
        assert found <= OPERATIONS, (
            f"{sorted(found - OPERATIONS)}: add what only computes to autoflow.parts._NAMES"
        )


def test_nothing_that_reaches_out_of_the_graph_is_allowed() -> None:
    assert (
        not {"ReadFile", "WriteFile", "PyFunc", "EagerPyFunc", "PrintV2", "SaveV2", "RestoreV2"} & OPERATIONS
    )
