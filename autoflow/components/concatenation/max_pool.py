"""The strongest of the columns or nodes, feature by feature."""

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


@register
@dataclass(frozen=True)
class MaxPool(Concatenation):
    """Each column's or node's features through a projection of its own; the element-wise maximum is kept.

    A maxout layer (Goodfellow et al., "Maxout Networks", ICML 2013) whose pieces are the columns: suits
    tables in which any one column, or any one picture or text, decides alone.

    Args:
        dimensions: width of the common space, 16 to 256.
        unit: what is projected: `"column"` (a raw column) or `"node"` (all columns of an extractor).
    """

    dimensions: int = 96
    unit: str = "column"

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """Draws width and unit."""
        return cls(
            dimensions=hp.Int("dimensions", 16, 256, step=16, default=96),
            unit=hp.Choice("unit", ["column", "node"], default="column"),
        )

    @classmethod
    def supports(cls, profile: DataProfile) -> bool:
        """Two to 300 columns: a single one has no rival, and each takes a vector of its own a row."""
        return 2 <= len(profile.columns) <= 300

    def layer(self, widths: Sequence[Sequence[int]]) -> keras.layers.Layer:
        """Returns a layer to `float32[B, dimensions]`."""
        import keras

        inputs = inputs_of(widths)
        tokens = project(side_by_side(inputs), units_of(widths, self.unit), self.dimensions)
        return keras.Model(inputs, keras.layers.LayerNormalization()(keras.ops.max(tokens, axis=1)))

    def numbers_a_row(self, widths: Sequence[Sequence[int]]) -> int:
        """A vector for each projection, and about four tensors of them at a time."""
        return 4 * len(units_of(widths, self.unit)) * self.dimensions
