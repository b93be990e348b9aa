"""Pictures through a small residual network that trains with the classifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from autoflow.components.feature_extraction._augmentation import augmentation
from autoflow.components.feature_extraction._convolutions import convolution, normalised
from autoflow.components.feature_extraction._picture_grids import PHOTO_SIDE, PictureNetwork, usual_size
from autoflow.components.registry import register
from autoflow.data.schema import ColumnKind, DataProfile

if TYPE_CHECKING:
    import keras
    import keras_tuner

_USUAL_SIZE = 48
"""Larger pictures are brought to this size at first: twice the side is four times the work."""
_STRIDE_FROM = 48
_MIN_ROWS = 500


@register
@dataclass(frozen=True)
class ResidualImage(PictureNetwork):
    """Residual blocks of two convolutions each, every one half as large and twice as deep as the last.

    After He et al., "Deep Residual Learning for Image Recognition" (2016), in the small form for small
    pictures: one block a stage, then the mean over the map.

    Args:
        size: height and width that a picture is brought to, 16 to 96 pixels.
        channels: 3 for colours, 1 for grey.
        dimensions: width of the vector that comes out, 16 to 512.
        filters: of the first stage, 8 to 64.
        num_stages: residual blocks, 2 to 4.
        augment: strength of the random changes in training, 0 to 1.
        mirror: whether training mirrors half of the pictures; wrong for letters and digits.
    """

    accepts: ClassVar[frozenset[ColumnKind]] = frozenset({ColumnKind.IMAGE})

    filters: int = 24
    num_stages: int = 3
    augment: float = 0.5
    mirror: bool = False

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """Draws size, depth and width; the size follows that of the pictures."""
        side = max((column.picture_side for column in profile.columns), default=0.0)
        usual = usual_size(side, _USUAL_SIZE)
        return cls(
            size=hp.Choice("size", sorted({24, 32, 48, 64, usual}), default=usual),
            channels=hp.Choice("channels", [1, 3], default=3),
            dimensions=hp.Int("dimensions", 32, 256, sampling="log", default=cls.dimensions),
            filters=hp.Int("filters", 16, 48, step=8, default=cls.filters),
            num_stages=hp.Int("num_stages", 2, 4, default=cls.num_stages),
            augment=hp.Float("augment", 0.0, 1.0, default=cls.augment),
            mirror=hp.Boolean("mirror", default=side >= PHOTO_SIDE),
        )

    @classmethod
    def supports(cls, profile: DataProfile) -> bool:
        """From 500 rows on; with fewer the smaller network learns as much in less time."""
        return profile.num_rows >= _MIN_ROWS

    def network(self) -> keras.layers.Layer:
        """Returns the blocks, their mean over the map, and a dense layer."""
        import keras

        pictures = keras.layers.Input((self.size, self.size, self.channels))
        views = pictures
        if self.augment > 0 or self.mirror:
            views = augmentation(self.augment, mirror=self.mirror, seed=1)(views)
        features = convolution(self.filters, 5, 2 if self.size >= _STRIDE_FROM else 1)(views)
        for stage in range(self.num_stages):
            features = _block(features, min(192, self.filters * 2**stage), stride=2)
        features = keras.layers.GlobalAveragePooling2D()(normalised()(features))
        vectors = normalised()(keras.layers.Dense(self.dimensions, use_bias=False)(features))
        return keras.Model(pictures, vectors)


def _block(features: Any, filters: int, stride: int) -> Any:
    """Two convolutions, each after its normalisation, and a shortcut (He et al. 2016, second paper)."""
    import keras

    ready = normalised()(features)
    inner = normalised()(convolution(filters, 3, stride)(ready))
    return keras.layers.Add()([convolution(filters, 1, stride)(ready), convolution(filters, 3)(inner)])
