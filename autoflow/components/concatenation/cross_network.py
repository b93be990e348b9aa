"""Products of features of bounded degree, as an explicit formula."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from autoflow.components.base import Concatenation
from autoflow.components.concatenation._tokens import inputs_of, side_by_side
from autoflow.components.registry import register
from autoflow.data.schema import DataProfile

if TYPE_CHECKING:
    import keras
    import keras_tuner


@register
@dataclass(frozen=True)
class CrossNetwork(Concatenation):
    """Low-rank cross layers of DCN-v2 over all features: a polynomial whose degree grows by one a layer.

    `x + x0 * (U V x + b)` with the normalised features as `x0` (Wang et al., "DCN V2: Improved Deep & Cross
    Network", WWW 2021). The features themselves stay in the sum, so a linear body behind it sees them, too.

    Args:
        layers: cross layers, 1 to 3; products of up to one feature more than layers.
        rank: of each layer's weight matrix, 4 to 64.
    """

    layers: int = 2
    rank: int = 32

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """Draws degree and rank."""
        return cls(
            layers=hp.Int("layers", 1, 3, default=2),
            rank=hp.Int("rank", 4, 64, sampling="log", default=32),
        )

    def layer(self, widths: Sequence[Sequence[int]]) -> keras.layers.Layer:
        """Returns a layer to `float32[B, sum of all widths]`."""
        import keras

        inputs = inputs_of(widths)
        # a norm over the features of a row would wipe out a row of one feature
        first = keras.layers.BatchNormalization(momentum=0.9)(side_by_side(inputs))
        width = int(first.shape[-1])
        crossed = first
        for _ in range(self.layers):
            inner = keras.layers.Dense(min(self.rank, width), use_bias=False)(crossed)
            weights = keras.layers.Dense(width)(inner)
            crossed = keras.layers.Add()([crossed, keras.layers.Multiply()([first, weights])])
        return keras.Model(inputs, crossed)
