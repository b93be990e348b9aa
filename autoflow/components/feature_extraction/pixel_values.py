"""Pictures as the values of few pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from autoflow.components.feature_extraction._picture_grids import GREY_LEVEL, PictureFeatures
from autoflow.components.registry import register
from autoflow.data.schema import ColumnKind, DataProfile

if TYPE_CHECKING:
    import keras_tuner
    import tensorflow as tf


@register
@dataclass(frozen=True)
class PixelValues(PictureFeatures):
    """The pixels of a picture that was made small, row by row, 0 to 1: for trees and linear models.

    Args:
        size: height and width, 4 to 48 pixels.
        channels: 3 for colours, 1 for grey.
    """

    accepts: ClassVar[frozenset[ColumnKind]] = frozenset({ColumnKind.IMAGE})

    size: int = 16
    channels: int = 3

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """Draws size and colours."""
        return cls(
            size=hp.Choice("size", [8, 12, 16, 20, 28], default=cls.size),
            channels=hp.Choice("channels", [1, 3], default=cls.channels),
        )

    def features(self, grids: tf.Tensor) -> tf.Tensor:
        """Returns `size * size * channels` features."""
        import tensorflow as tf

        return tf.reshape(
            tf.cast(grids, tf.float32) * GREY_LEVEL, [-1, self.size * self.size * self.channels]
        )
