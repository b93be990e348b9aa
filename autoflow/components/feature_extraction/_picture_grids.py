"""What all extractors of pictures share: a grid of pixels a picture, and features that are made of it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from autoflow.components.base import FeatureExtractor, FittedExtractor, LookupTables
from autoflow.components.feature_extraction._pictures import pixels, pixels_graph

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

PHOTO_SIDE = 48
"""Pictures with larger sides are likely photos, which may be mirrored; letters and icons may not."""
GREY_LEVEL = 1 / 255
"""A factor, as TensorFlow turns a division into a product where it optimises a graph, and only there."""
_ROWS = 512
"""Pictures whose features are computed at a time."""


@dataclass(frozen=True, eq=False)
class FittedPictureFeatures(FittedExtractor):
    """Features that are computed from the pixels of each picture; nothing is learned.

    Args:
        extractor: the component, whose `features` they are.
        num_columns: image columns.
        width: features a picture.
    """

    extractor: PictureFeatures
    num_columns: int
    width: int

    @property
    def widths(self) -> tuple[int, ...]:
        """The same for each column."""
        return (self.width,) * self.num_columns

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Returns `float32[n, sum(widths)]`."""
        import tensorflow as tf

        size, channels = self.extractor.size, self.extractor.channels
        columns = []
        for column in range(self.num_columns):
            parts = [np.zeros((0, self.width), np.float32)]
            for start in range(0, len(values), _ROWS):
                grids = pixels(values[start : start + _ROWS, column], size, channels)
                parts.append(self.extractor.features(tf.constant(grids)).numpy())
            columns.append(np.concatenate(parts))
        return np.concatenate(columns, axis=1)

    def graph(self, values: tf.Tensor, tables: LookupTables) -> tf.Tensor:
        """As `transform`."""
        import tensorflow as tf

        size, channels = self.extractor.size, self.extractor.channels
        grids = [pixels_graph(values[:, column], size, channels) for column in range(self.num_columns)]
        return tf.concat([self.extractor.features(grid) for grid in grids], axis=1)


@dataclass(frozen=True)
class PictureFeatures(FeatureExtractor):
    """An extractor whose features are a fixed function of a picture's pixels, for any classifier.

    Args:
        size: height and width that a picture is brought to, in pixels.
        channels: 3 for colours, 1 for grey.
    """

    size: int = 32
    channels: int = 3

    def fit(self, values: np.ndarray, *, seed: int) -> FittedExtractor:
        """Measures the number of features."""
        import tensorflow as tf

        one = self.features(tf.zeros([1, self.size, self.size, self.channels], tf.uint8))
        return FittedPictureFeatures(self, values.shape[1], int(one.shape[1]))

    @abstractmethod
    def features(self, grids: tf.Tensor) -> tf.Tensor:
        """Returns `tf.float32[B, width]` from `tf.uint8[B, size, size, channels]`."""


@dataclass(frozen=True, eq=False)
class FittedPictureNetwork(FittedExtractor):
    """Pixels as they are, and a network that turns them into a vector.

    Args:
        extractor: the component, whose `network` it is.
        num_columns: image columns; they share the network.
    """

    extractor: PictureNetwork
    num_columns: int

    @property
    def widths(self) -> tuple[int, ...]:
        """The pixels of each column."""
        return (self.extractor.size**2 * self.extractor.channels,) * self.num_columns

    @property
    def layer_widths(self) -> tuple[int, ...]:
        """One vector a column."""
        return (self.extractor.dimensions,) * self.num_columns

    @property
    def layer_key(self) -> Hashable:
        """The layer depends on the component alone."""
        return self.extractor, self.num_columns

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Returns `uint8[n, sum(widths)]`."""
        size, channels = self.extractor.size, self.extractor.channels
        grids = [
            pixels(values[:, column], size, channels).reshape(len(values), -1)
            for column in range(self.num_columns)
        ]
        return grids[0] if self.num_columns == 1 else np.concatenate(grids, axis=1)

    def graph(self, values: tf.Tensor, tables: LookupTables) -> tf.Tensor:
        """As `transform`, `tf.uint8[B, sum(widths)]`."""
        import tensorflow as tf

        size, channels = self.extractor.size, self.extractor.channels
        grids = [pixels_graph(values[:, column], size, channels) for column in range(self.num_columns)]
        return tf.concat([tf.reshape(grid, [-1, size * size * channels]) for grid in grids], axis=1)

    def layer(self) -> keras.layers.Layer:
        """Returns the network."""
        return _network_layer(self.extractor.network(), self.num_columns, self.extractor)


@dataclass(frozen=True)
class PictureNetwork(FeatureExtractor):
    """An extractor whose network on pixels trains with the classifier.

    Args:
        size: height and width that a picture is brought to, in pixels.
        channels: 3 for colours, 1 for grey.
        dimensions: width of the vector that comes out, 16 to 512.
    """

    trainable = True

    size: int = 32
    channels: int = 3
    dimensions: int = 128

    def fit(self, values: np.ndarray, *, seed: int) -> FittedExtractor:
        """Learns nothing yet; the network trains with the classifier."""
        return FittedPictureNetwork(self, values.shape[1])

    @abstractmethod
    def network(self) -> keras.layers.Layer:
        """Returns a new layer from `tf.float32[B, size, size, channels]`, 0 to 1, to `[B, dimensions]`."""


def _network_layer(network: keras.layers.Layer, num_columns: int, extractor: PictureNetwork) -> Any:
    import keras

    class PictureTower(keras.layers.Layer):
        """Pixels of one or more columns through one network, side by side."""

        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def call(self, blocks: Any, training: bool = False) -> Any:
            shape = (-1, extractor.size, extractor.size, extractor.channels)
            parts = keras.ops.split(keras.ops.cast(blocks, "float32") / 255.0, num_columns, axis=1)
            vectors = [self.network(keras.ops.reshape(part, shape), training=training) for part in parts]
            return vectors[0] if num_columns == 1 else keras.ops.concatenate(vectors, axis=1)

        def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
            return input_shape[0], extractor.dimensions * num_columns

    return PictureTower()


def usual_size(picture_side: float, largest: int) -> int:
    """Returns a side in pixels that suits pictures of a given side: a multiple of 8, 16 to `largest`."""
    return int(min(largest, max(16, 8 * round(picture_side / 8)))) if picture_side else 32
