"""Pictures as statistics of their colours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from autoflow.components.feature_extraction._picture_grids import PictureFeatures
from autoflow.components.registry import register
from autoflow.data.schema import ColumnKind, DataProfile

if TYPE_CHECKING:
    import keras_tuner
    import tensorflow as tf

_CELLS = 4


@register
@dataclass(frozen=True)
class ColorStatistics(PictureFeatures):
    """Mean and spread of each colour, over the picture and over a grid of 4 x 4 cells, and histograms.

    Colour histograms identify objects regardless of where they lie (Swain and Ballard 1991).

    Args:
        size: height and width that a picture is brought to, 16 to 64 pixels, a multiple of 4.
        channels: 3 for colours, 1 for grey.
        bins: of the histogram of each colour, 2 to 32.
    """

    accepts: ClassVar[frozenset[ColumnKind]] = frozenset({ColumnKind.IMAGE})

    bins: int = 8

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """Draws the number of bins."""
        return cls(bins=hp.Choice("bins", [4, 8, 16], default=cls.bins))

    def features(self, grids: tf.Tensor) -> tf.Tensor:
        """Returns `(2 + 2 * 16 + bins) * channels` features."""
        import tensorflow as tf

        values = tf.cast(grids, tf.float32) / 255.0
        step = self.size // _CELLS
        cells = tf.reshape(values, [-1, _CELLS, step, _CELLS, step, self.channels])
        parts = []
        for grid, axes in ((values, [1, 2]), (cells, [2, 4])):
            mean = tf.reduce_mean(grid, axes, keepdims=True)
            spread = tf.sqrt(tf.reduce_mean(tf.square(grid - mean), axes, keepdims=True))
            parts += [mean, spread]
        codes = tf.cast(grids, tf.int32) * self.bins // 256
        shares = tf.reduce_mean(tf.one_hot(codes, self.bins), axis=[1, 2])
        flat = [tf.reshape(part, [-1, part.shape[1:].num_elements()]) for part in [*parts, shares]]
        return tf.concat(flat, axis=1)
