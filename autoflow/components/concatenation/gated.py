"""Columns or nodes weighted by learned gates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from autoflow.components.base import Concatenation
from autoflow.components.concatenation._tokens import flat, inputs_of, project, side_by_side
from autoflow.components.registry import register
from autoflow.data.schema import DataProfile

if TYPE_CHECKING:
    import keras
    import keras_tuner


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
        nodes = [int(sum(node)) for node in widths if sum(node) > 0]
        slices = flat(widths) if self.unit == "column" else nodes
        gate_width = 1 if self.unit == "column" else self.dimensions
        tokens = keras.ops.tanh(project(features, slices, self.dimensions))
        gates = keras.layers.Dense(len(slices) * gate_width)(features)
        gates = keras.layers.Reshape((len(slices), gate_width))(gates)
        if self.gate == "softmax" and len(slices) > 1:  # a single gate has no rival
            gates = keras.ops.softmax(gates, axis=1)
        else:
            gates = keras.ops.sigmoid(gates) * (2.0 / len(slices) ** 0.5)
        return keras.Model(inputs, keras.ops.sum(tokens * gates, axis=1))
