"""The pieces that the networks on pictures are built of."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


def convolution(filters: int, width: int, stride: int = 1) -> keras.layers.Layer:
    """Returns a square convolution without a bias, which the normalisation behind it makes needless.

    Args:
        filters: channels that come out.
        width: side of the kernel in pixels.
        stride: pixels from one place to the next.
    """
    import keras

    return keras.layers.Conv2D(filters, width, stride, padding="same", use_bias=False)


def normalised() -> keras.layers.Layer:
    """Returns batch normalisation and a rectifier (Ioffe and Szegedy 2015).

    Its averages follow quickly, because a search trains for few hundred steps.
    """
    import keras

    return keras.Sequential([keras.layers.BatchNormalization(momentum=0.9), keras.layers.Activation("relu")])
