"""What the networks share: first scales, activations, the last layer, a batch size for the number of rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, cast

from autoflow.data.schema import DataProfile

if TYPE_CHECKING:
    import keras
    import keras_tuner
    import tensorflow as tf

_SCALE_STEPS = 6.0
"""Steps of a scale over those of other weights, as in RealMLP: few steps must tell noise from features."""


def batch_size(hp: keras_tuner.HyperParameters, profile: DataProfile) -> int:
    """Draws the rows of a batch: enough steps an epoch on small tables, little overhead on large ones."""
    rows = profile.num_rows
    default = 32 if rows < 1500 else 64 if rows < 5000 else 128 if rows < 15_000 else 256
    choices = [size for size in (32, 64, 128, 256, 512, 1024) if default / 2 <= size <= default * 4]
    return int(hp.Choice("batch_size", choices, default=default))


def activation(name: str) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns the activation function that Keras knows under a name.

    TensorFlow's own silu has a gradient of its own, which it registers for good at each trace, and the whole
    traced graph with it: 10 to 40 MB for each network that a worker trains.
    """
    import keras

    if name != "silu":
        return cast("Callable[[tf.Tensor], tf.Tensor]", keras.activations.get(name))
    return lambda features: features * keras.ops.sigmoid(features)


def logits_layer(num_classes: int, seed: int) -> keras.layers.Layer:
    """Returns a dense layer to logits near 0, so that training starts from even probabilities."""
    import keras

    kernel = keras.initializers.VarianceScaling(0.05, seed=seed)
    return keras.layers.Dense(num_classes, kernel_initializer=kernel, name="logits")


def feature_scales() -> keras.layers.Layer:
    """Returns a layer that gives each feature a learned factor, 1 at first (RealMLP, arXiv 2407.04491).

    A soft selection of features: AdamW moves a factor as far in few steps as a row of the matrix behind it in
    many.
    """
    return _scales_class()()


@cache
def _scales_class() -> Callable[[], keras.layers.Layer]:
    import keras

    class FeatureScales(keras.layers.Layer):
        """Features times factors."""

        def build(self, shape: tuple[int | None, ...]) -> None:
            """Makes the changes of the factors, flat, for matrices decay and these must not."""
            self.changes = self.add_weight(shape=(int(shape[-1] or 0),), initializer="zeros")

        def call(self, features: tf.Tensor) -> tf.Tensor:
            """Returns as many features."""
            return features * (1.0 + _SCALE_STEPS * self.changes.value)

        def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
            """Returns the shape of the features."""
            return shape

    return FeatureScales
