"""Features side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from autoflow.components.base import Concatenation
from autoflow.components.registry import register
from autoflow.data.schema import DataProfile

if TYPE_CHECKING:
    import keras
    import keras_tuner


@register
@dataclass(frozen=True)
class PlainConcat(Concatenation):
    """All features of all columns side by side, unchanged; the only merge for trees and linear models."""

    trainable: ClassVar[bool] = False

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """There is nothing to draw."""
        return cls()

    def layer(self, widths: Sequence[Sequence[int]]) -> keras.layers.Layer:
        """Returns a layer to `float32[B, sum of all widths]`."""
        import keras

        return keras.layers.Concatenate()
