"""Pictures as the directions of their edges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from autoflow.components.feature_extraction._gradients import edge_directions
from autoflow.components.feature_extraction._picture_grids import GREY_LEVEL, PictureFeatures
from autoflow.components.registry import register
from autoflow.data.schema import ColumnKind, DataProfile

if TYPE_CHECKING:
    import keras_tuner
    import tensorflow as tf


@register
@dataclass(frozen=True)
class GradientHistograms(PictureFeatures):
    """How strong the edges of each direction are in each cell of a picture, brightness aside.

    Histograms of oriented gradients (Dalal and Triggs 2005) make linear models and nearest neighbours good
    at shapes.

    Args:
        size: height and width that a picture is brought to, 16 to 96 pixels, a multiple of 8.
        channels: 1 for grey, 3 for colours.
        cell: side of a cell in pixels, 4 or 8.
        directions: 4 to 16.
    """

    accepts: ClassVar[frozenset[ColumnKind]] = frozenset({ColumnKind.IMAGE})

    channels: int = 1
    cell: int = 4
    directions: int = 8

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """Draws size, cell and directions."""
        side = max((column.picture_side for column in profile.columns), default=0.0)
        return cls(
            size=hp.Choice("size", [24, 32, 48, 64], default=32 if side < 48 else 48),
            cell=hp.Choice("cell", [4, 8], default=4 if side < 48 else 8),
            directions=hp.Choice("directions", [6, 8, 12], default=cls.directions),
        )

    def features(self, grids: tf.Tensor) -> tf.Tensor:
        """Returns `(size / cell)**2 * directions` features a channel."""
        import tensorflow as tf

        return edge_directions(tf.cast(grids, tf.float32) * GREY_LEVEL, self.cell, self.directions)
