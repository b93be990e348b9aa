"""Columns projected to one space and added."""

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
class ProjectedSum(Concatenation):
    """Each column's features through a projection of its own and a GELU, then added up over the columns.

    The sum over columns of learned feature maps is a generalised additive model with shared width; a network
    behind it adds what the columns do together (deep sets, Zaheer et al. 2017).

    Args:
        dimensions: width of the common space, 16 to 256.
        pooling: `"sum"` (over the square root of the number of columns) or `"mean"`; for the maximum see
            `max_pool`.
    """

    dimensions: int = 96
    pooling: str = "sum"

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """Draws width and pooling."""
        return cls(
            dimensions=hp.Int("dimensions", 16, 256, step=16, default=96),
            pooling=hp.Choice("pooling", ["sum", "mean"], default="sum"),
        )

    @classmethod
    def supports(cls, profile: DataProfile) -> bool:
        """Up to 300 columns: each takes a vector of its own a row."""
        return len(profile.columns) <= 300

    def layer(self, widths: Sequence[Sequence[int]]) -> keras.layers.Layer:
        """Returns a layer to `float32[B, dimensions]`."""
        import keras

        inputs = inputs_of(widths)
        columns = flat(widths)
        tokens = keras.ops.gelu(project(side_by_side(inputs), columns, self.dimensions))
        power = {"sum": 0.5, "mean": 1.0}[self.pooling]
        pooled = keras.ops.sum(tokens, axis=1) * len(columns) ** -power
        return keras.Model(inputs, keras.layers.LayerNormalization()(pooled))

    def numbers_a_row(self, widths: Sequence[Sequence[int]]) -> int:
        """A vector for each projection, and about four tensors of them at a time."""
        return 4 * len(flat(widths)) * self.dimensions
