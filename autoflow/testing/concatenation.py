"""Checks of concatenations: one finite vector a row, of one width, that gradients flow through."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np

from autoflow.components.base import Concatenation
from autoflow.testing.check import checks, expect, expect_close, expect_finite
from autoflow.testing.declaration import draws

_WIDTHS = (((1,),), ((1, 1, 3), (5,)), ((2,), (4, 1), (1, 1, 1, 1)))
_NUM_ROWS = 9


def _merges(
    component: type[Concatenation],
) -> Iterator[tuple[Concatenation, Sequence[Sequence[int]], list[np.ndarray]]]:
    """Yields the default and random components, each with widths and inputs, one array a node."""
    random = np.random.default_rng(5)
    for value in (component(), *draws(component)[:3]):
        for widths in _WIDTHS:
            nodes = [random.normal(0, 1, (_NUM_ROWS, sum(node))).astype(np.float32) for node in widths]
            yield cast(Concatenation, value), widths, nodes


def _cases(component: type[Concatenation]) -> Iterator[tuple[Any, list[np.ndarray]]]:
    """Yields layers of the default and of random components with inputs, one array a node."""
    for value, widths, nodes in _merges(component):
        yield value.layer(widths), nodes


def merges_to_one_finite_vector(component: type[Concatenation]) -> None:
    """Nodes of any widths become `float32[B, d]`."""
    for layer, inputs in _cases(component):
        output = layer(inputs, training=False).numpy()
        expect(output.ndim == 2 and len(output) == _NUM_ROWS, f"[{_NUM_ROWS}, d]", output.shape)
        expect(output.dtype == np.float32, "float32", output.dtype)
        expect_finite(output, "output")


def treats_rows_alone(component: type[Concatenation]) -> None:
    """A row merges to the same alone and among others, inside a graph with an unknown number of rows."""
    import tensorflow as tf

    for layer, inputs in _cases(component):
        specs = [tf.TensorSpec([None, node.shape[1]], tf.float32) for node in inputs]
        run = tf.function(
            lambda nodes, layer=layer: layer(nodes, training=False), autograph=False, input_signature=[specs]
        )
        together = run([tf.constant(node) for node in inputs]).numpy()
        alone = run([tf.constant(node[2:3]) for node in inputs]).numpy()
        expect_close(alone, together[2:3], 1e-5, "output of a row alone and in a batch")


def learns_if_it_says_so(component: type[Concatenation]) -> None:
    """Every weight gets a gradient; an untrained merge has no weight."""
    import tensorflow as tf

    for layer, inputs in _cases(component):
        nodes = [tf.Variable(node) for node in inputs]
        with tf.GradientTape() as tape:
            output = layer([tf.convert_to_tensor(node) for node in nodes], training=True)
            loss = tf.reduce_sum(output * tf.range(1.0, output.shape[1] + 1.0) ** 0.5)
        weights = layer.trainable_variables
        expect(bool(weights) == component.trainable, f"weights: {component.trainable}", len(weights))
        gradients = tape.gradient(loss, [*nodes, *weights])
        missing = sum(gradient is None for gradient in gradients)
        expect(
            missing == 0, "a gradient for every input and weight", f"none for {missing} of {len(gradients)}"
        )
        for gradient in gradients:
            expect_finite(tf.convert_to_tensor(gradient).numpy(), "gradients")


def tells_shares_or_nothing(component: type[Concatenation]) -> None:
    """`contributions` are one share a raw column, which sum to 1, or None."""
    for value, widths, nodes in _merges(component):
        shares = value.contributions(value.layer(widths), nodes, widths)
        if shares is None:
            continue
        count = sum(len(node) for node in widths)
        expect(shares.shape == (count,), f"{count} shares", shares.shape)
        expect_finite(shares, "shares")
        expect(bool(shares.min() >= 0), "no negative share", shares.min())
        expect(abs(float(shares.sum()) - 1.0) < 1e-6, "shares that sum to 1", shares.sum())


CONCATENATION_CHECKS = checks(
    merges_to_one_finite_vector, treats_rows_alone, learns_if_it_says_so, tells_shares_or_nothing
)
