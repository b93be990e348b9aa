"""What the networks share: the last layer and a batch size that suits the number of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autoflow.data.schema import DataProfile

if TYPE_CHECKING:
    import keras
    import keras_tuner


def batch_size(hp: keras_tuner.HyperParameters, profile: DataProfile) -> int:
    """Draws the rows of a batch: enough steps an epoch on small tables, little overhead on large ones."""
    rows = profile.num_rows
    default = 32 if rows < 1500 else 64 if rows < 5000 else 128 if rows < 15_000 else 256
    choices = [size for size in (32, 64, 128, 256, 512, 1024) if default / 2 <= size <= default * 4]
    return int(hp.Choice("batch_size", choices, default=default))


def logits_layer(num_classes: int, seed: int) -> keras.layers.Layer:
    """Returns a dense layer to logits near 0, so that training starts from even probabilities."""
    import keras

    kernel = keras.initializers.VarianceScaling(0.05, seed=seed)
    return keras.layers.Dense(num_classes, kernel_initializer=kernel, name="logits")
