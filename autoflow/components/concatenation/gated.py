"""Columns or nodes weighted by learned gates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from autoflow.components.base import Concatenation
from autoflow.components.concatenation._tokens import (
    inputs_of,
    project,
    projection_matrices,
    side_by_side,
    units_of,
)
from autoflow.components.registry import register
from autoflow.data.schema import DataProfile

if TYPE_CHECKING:
    import keras
    import keras_tuner


_GATES = "gates"


@register
@dataclass(frozen=True)
class Gated(Concatenation):
    """Gated multimodal unit: tanh projections of the parts of a row, weighted by gates that see all of it.

    Each row decides how far it listens to its text, its numbers and so on (Arevalo et al., "Gated Multimodal
    Units for Information Fusion", ICLR workshop 2017).

    Args:
        dimensions: width of the projections, 16 to 256.
        unit: what has a gate: `"node"` (all columns of an extractor, a gate for each dimension) or
            `"column"` (one gate a raw column).
        gate: `"sigmoid"` (independent) or `"softmax"` (the gates compete).
    """

    dimensions: int = 96
    unit: str = "node"
    gate: str = "sigmoid"

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """Draws width, unit and kind of gate."""
        return cls(
            dimensions=hp.Int("dimensions", 16, 256, step=16, default=96),
            unit=hp.Choice("unit", ["node", "column"], default="node"),
            gate=hp.Choice("gate", ["sigmoid", "softmax"], default="sigmoid"),
        )

    @classmethod
    def supports(cls, profile: DataProfile) -> bool:
        """Two to 300 columns."""
        return 2 <= len(profile.columns) <= 300

    def layer(self, widths: Sequence[Sequence[int]]) -> keras.layers.Layer:
        """Returns a layer to `float32[B, dimensions]`."""
        import keras

        inputs = inputs_of(widths)
        features = side_by_side(inputs)
        slices = units_of(widths, self.unit)
        gate_width = 1 if self.unit == "column" else self.dimensions
        tokens = keras.ops.tanh(project(features, slices, self.dimensions))
        gates = keras.layers.Dense(len(slices) * gate_width)(features)
        gates = keras.layers.Reshape((len(slices), gate_width))(gates)
        if self.gate == "softmax" and len(slices) > 1:  # a single gate has no rival
            gates, level = keras.layers.Softmax(axis=1, name=_GATES)(gates), 1.0
        else:
            gates = keras.layers.Activation("sigmoid", name=_GATES)(gates)
            level = 2.0 / len(slices) ** 0.5
        return keras.Model(inputs, keras.ops.sum(tokens * gates, axis=1) * level)

    def numbers_a_row(self, widths: Sequence[Sequence[int]]) -> int:
        """A vector for each projection, and about four tensors of them at a time."""
        return 4 * len(units_of(widths, self.unit)) * self.dimensions

    def contributions(
        self, layer: keras.layers.Layer, features: Sequence[np.ndarray], widths: Sequence[Sequence[int]]
    ) -> np.ndarray | None:
        """Returns the shares of the raw columns: the mean gate times what the column moves behind it.

        An open gate says little about a column that never changes, and several columns may share a gate. So
        a column's mean gate (over rows and dimensions) is multiplied by the spread of its own part of the
        projection, the root of the mean square around the mean row. This is what the gates let through; what
        the body behind them makes of it is not asked, so a short training leaves noise some share.
        """
        import keras

        units = units_of(widths, self.unit)
        gates = keras.Model(layer.inputs, layer.get_layer(_GATES).output)(list(features), training=False)
        # one gate and one row of a matrix a feature, whatever shares a gate
        openness = np.repeat(np.asarray(gates, np.float64).mean(axis=(0, 2)), units)
        matrix = np.concatenate(projection_matrices(layer, units))
        joined = np.concatenate([np.asarray(node, np.float32) for node in features], axis=1)
        joined -= joined.mean(axis=0)
        sizes = np.array([width for node in widths for width in node], np.int64)
        ends = np.cumsum(sizes)
        shares = np.zeros(len(sizes))
        for place, (start, end) in enumerate(zip(ends - sizes, ends, strict=True)):
            moved = np.square(joined[:, start:end] @ matrix[start:end]).mean()
            shares[place] = openness[start:end].max(initial=0.0) * np.sqrt(moved)
        total = shares.sum()
        return shares / total if total > 0 else np.full(len(shares), 1.0 / len(shares))
