"""Pictures through a small convolutional network that trains with the classifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

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
_SMALLEST_MAP = 5


@register
@dataclass(frozen=True)
class ConvolutionalImage(PictureNetwork):
    """Convolutions with normalisation and pooling, then one dense layer (LeCun et al. 1998).

    Args:
        size: height and width that a picture is brought to, 16 to 96 pixels.
        channels: 3 for colours, 1 for grey.
        dimensions: width of the vector that comes out, 16 to 512.
        filters: of the first convolution, 8 to 64; each later one has twice as many.
        augment: strength of the random changes in training, 0 to 1.
        mirror: whether training mirrors half of the pictures; wrong for letters and digits.
        dropout: share of the outputs dropped in training, 0 to 0.6.
    """

    accepts: ClassVar[frozenset[ColumnKind]] = frozenset({ColumnKind.IMAGE})

    filters: int = 32
    augment: float = 0.5
    mirror: bool = False
    dropout: float = 0.3

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """Draws size and width; the size follows that of the pictures."""
        side = max((column.picture_side for column in profile.columns), default=0.0)
        usual = usual_size(side, _USUAL_SIZE)
        return cls(
            size=hp.Choice("size", sorted({24, 32, 48, 64, 80, usual}), default=usual),
            channels=hp.Choice("channels", [1, 3], default=3),
            dimensions=hp.Int("dimensions", 32, 256, sampling="log", default=cls.dimensions),
            filters=hp.Int("filters", 16, 48, step=8, default=cls.filters),
            augment=hp.Float("augment", 0.0, 1.0, default=cls.augment),
            mirror=hp.Boolean("mirror", default=side >= PHOTO_SIDE),
            dropout=hp.Float("dropout", 0.0, 0.5, default=cls.dropout),
        )

    def network(self) -> keras.layers.Layer:
        """Returns convolutions until the map is small, then a dense layer."""
        import keras

        stride = 2 if self.size >= _STRIDE_FROM else 1
        layers: list[keras.layers.Layer] = [keras.layers.Input((self.size, self.size, self.channels))]
        if self.augment > 0 or self.mirror:
            layers.append(augmentation(self.augment, mirror=self.mirror, seed=1))
        layers.append(convolution(self.filters, 5, stride))
        side, filters = self.size // stride, self.filters
        while side > _SMALLEST_MAP:
            layers += [normalised(), keras.layers.MaxPooling2D(2, padding="same")]
            filters, side = min(128, filters * 2), (side + 1) // 2
            if side > _SMALLEST_MAP:
                layers.append(convolution(filters, 3))
        layers += [
            keras.layers.Flatten(),
            keras.layers.Dropout(self.dropout, seed=2),
            keras.layers.Dense(self.dimensions, use_bias=False),
            normalised(),
        ]
        return keras.Sequential(layers)
