"""What nodes or columns say together: weighted products of their projections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from autoflow.components.base import Concatenation
from autoflow.components.concatenation._tokens import inputs_of, project, side_by_side, units_of
from autoflow.components.registry import register
from autoflow.data.schema import DataProfile

if TYPE_CHECKING:
    import keras
    import keras_tuner

_MAX_JOINED = 32
"""More projections than these are averaged, not joined side by side."""


@register
@dataclass(frozen=True)
class LowRankBilinear(Concatenation):
    """Products of the tanh projections of every two nodes, joined with the projections themselves.

    Low-rank bilinear pooling (Kim et al., "Hadamard Product for Low-rank Bilinear Pooling", ICLR 2017) of
    all pairs at once: each unit has one projection, and each pair weights of its own for the element-wise
    product. A node is paired with itself, too, so that one alone gives its squares.

    Args:
        rank: width of the projections, 8 to 128.
        unit: what is projected: `"node"` (all columns of an extractor) or `"column"` (a raw column).
    """

    rank: int = 48
    unit: str = "node"

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """Draws rank and unit."""
        return cls(
            rank=hp.Int("rank", 8, 128, step=8, default=48),
            unit=hp.Choice("unit", ["node", "column"], default="node"),
        )

    @classmethod
    def supports(cls, profile: DataProfile) -> bool:
        """Two to 100 columns: the pairs grow with their square."""
        return 2 <= len(profile.columns) <= 100

    def layer(self, widths: Sequence[Sequence[int]]) -> keras.layers.Layer:
        """Returns a layer to `float32[B, rank * (1 + units)]`, or `[B, 2 * rank]` from 33 units on."""
        import keras

        inputs = inputs_of(widths)
        units = units_of(widths, self.unit)
        tokens = keras.ops.tanh(project(side_by_side(inputs), units, self.rank))
        spread = keras.initializers.RandomNormal(stddev=1.0 / len(units))
        partners = keras.layers.EinsumDense(
            "bur,uvr->bvr", (len(units), self.rank), kernel_initializer=spread
        )(tokens)
        products = keras.layers.LayerNormalization()(keras.ops.sum(tokens * partners, axis=1))
        if len(units) <= _MAX_JOINED:
            alone = keras.layers.Flatten()(tokens)
        else:
            alone = keras.ops.sum(tokens, axis=1) * len(units) ** -0.5
        return keras.Model(inputs, keras.layers.Concatenate()([products, alone]))

    def numbers_a_row(self, widths: Sequence[Sequence[int]]) -> int:
        """A vector for each projection, and about four tensors of them at a time."""
        return 4 * len(units_of(widths, self.unit)) * self.rank
