"""Pictures as statistics of their colours and edges."""

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

_CELLS = 4


@register
@dataclass(frozen=True)
class PictureStatistics(PictureFeatures):
    """Few telling numbers for trees: colours over the picture and its cells, histograms, coarse edges.

    Colour histograms identify objects wherever they lie (Swain and Ballard 1991), histograms of oriented
    gradients tell shapes (Dalal and Triggs 2005).

    Args:
        size: height and width that a picture is brought to, 16 to 64 pixels, a multiple of 4.
        channels: 3 for colours, 1 for grey.
        bins: of the histogram of each colour, 2 to 32.
        directions: of edges in each of 4 x 4 cells, 4 to 16.
    """

    accepts: ClassVar[frozenset[ColumnKind]] = frozenset({ColumnKind.IMAGE})

    bins: int = 8
    directions: int = 8

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """Draws the number of bins and directions."""
        return cls(
            bins=hp.Choice("bins", [4, 8, 16], default=cls.bins),
            directions=hp.Choice("directions", [4, 8, 12], default=cls.directions),
        )

    def features(self, grids: tf.Tensor) -> tf.Tensor:
        """Returns `(2 + 2 * 16 + bins) * channels + 16 * directions` features."""
        import tensorflow as tf

        values = tf.cast(grids, tf.float32) * GREY_LEVEL
        step = self.size // _CELLS
        cells = tf.reshape(values, [-1, _CELLS, step, _CELLS, step, self.channels])
        parts = []
        for grid, axes in ((values, [1, 2]), (cells, [2, 4])):
            mean = tf.reduce_mean(grid, axes, keepdims=True)
            spread = tf.sqrt(tf.reduce_mean(tf.square(grid - mean), axes, keepdims=True))
            parts += [mean, spread]
        codes = tf.cast(grids, tf.int32) * self.bins // 256
        parts.append(tf.reduce_mean(tf.one_hot(codes, self.bins), axis=[1, 2]))
        grey = tf.reduce_mean(values, axis=-1, keepdims=True)
        parts.append(edge_directions(grey, step, self.directions))
        return tf.concat([tf.reshape(part, [-1, part.shape[1:].num_elements()]) for part in parts], axis=1)
