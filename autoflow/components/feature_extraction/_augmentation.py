"""Random shifts, turns, zooms and mirrorings of pictures while a network trains."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras


def augmentation(strength: float, *, mirror: bool, seed: int) -> keras.layers.Layer:
    """Returns a layer that changes each picture `[B, h, w, c]` at random, in training only.

    All changes are one resampling, since on a processor each one costs as much as a small convolution.

    Args:
        strength: 0 to 1; 1 shifts by up to 15 %, turns by up to 20 degrees and zooms by up to 20 %.
        mirror: whether half of the pictures are mirrored left to right.
        seed: for whatever is random.
    """
    import keras

    class RandomView(keras.layers.Layer):
        """Each picture as seen from a slightly different place."""

        def __init__(self) -> None:
            super().__init__()
            self.random = keras.random.SeedGenerator(seed)

        def call(self, pictures: Any, training: bool = False) -> Any:
            if not training:
                return pictures
            ops = keras.ops
            count, height, width = ops.shape(pictures)[0], pictures.shape[1], pictures.shape[2]

            def uniform(largest: float) -> Any:
                return keras.random.uniform((count,), -largest, largest, seed=self.random)

            angle, zoom = uniform(strength * math.radians(20)), 1 + uniform(strength * 0.2)
            across, down = uniform(strength * 0.15 * width), uniform(strength * 0.15 * height)
            side = ops.sign(uniform(1.0)) if mirror else ops.ones((count,))
            a, b = side * ops.cos(angle) * zoom, -ops.sin(angle) * zoom
            d, e = side * ops.sin(angle) * zoom, ops.cos(angle) * zoom
            middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
            c = middle_x - a * middle_x - b * middle_y + across
            f = middle_y - d * middle_x - e * middle_y + down
            nothing = ops.zeros((count,))
            views = ops.stack([a, b, c, d, e, f, nothing, nothing], axis=1)
            return ops.image.affine_transform(pictures, views, fill_mode="nearest")

        def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
            return input_shape

    return RandomView()
