"""A residual network for tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from autoflow.components.base import NeuralClassifier
from autoflow.components.classification._networks import batch_size, logits_layer
from autoflow.components.registry import register
from autoflow.data.schema import DataProfile

if TYPE_CHECKING:
    import keras
    import keras_tuner


@register
@dataclass(frozen=True)
class ResidualNetwork(NeuralClassifier):
    """The ResNet of Gorishniy et al. 2021: blocks of normalise, widen, ReLU, dropout, narrow, add.

    Args:
        num_blocks: residual blocks, 1 to 6.
        num_units: width of the trunk, 16 to 512.
        expansion: width inside a block over that of the trunk, 1 to 4.
        hidden_dropout: share dropped inside a block, 0 to 0.6.
        residual_dropout: share dropped of what a block adds, 0 to 0.5.
    """

    num_blocks: int = 2
    num_units: int = 128
    expansion: float = 2.0
    hidden_dropout: float = 0.25
    residual_dropout: float = 0.0

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """Draws shape and training recipe; small tables get small networks and small batches."""
        small = profile.num_rows < 2000
        return cls(
            learning_rate=hp.Float("learning_rate", 1e-4, 5e-3, sampling="log", default=1e-3),
            weight_decay=hp.Float("weight_decay", 1e-5, 1e-1, sampling="log", default=1e-2),
            batch_size=batch_size(hp, profile),
            label_smoothing=hp.Choice("label_smoothing", [0.0, 0.01, 0.03], default=0.0),
            num_blocks=hp.Int("num_blocks", 1, 5, default=cls.num_blocks),
            num_units=hp.Int("num_units", 32, 320, sampling="log", default=64 if small else cls.num_units),
            expansion=hp.Choice("expansion", [1.0, 1.5, 2.0, 3.0], default=cls.expansion),
            hidden_dropout=hp.Float("hidden_dropout", 0.0, 0.5, default=cls.hidden_dropout),
            residual_dropout=hp.Choice("residual_dropout", [0.0, 0.1, 0.2], default=cls.residual_dropout),
        )

    def body(self, width: int, num_classes: int, seed: int) -> keras.layers.Layer:
        """Returns the trunk, its blocks and the logits."""
        import keras

        def dense(units: int, number: int, scale: float) -> keras.layers.Dense:
            kernel = keras.initializers.VarianceScaling(scale, seed=seed + number)
            return keras.layers.Dense(units, kernel_initializer=kernel)

        inputs = keras.layers.Input((width,))
        trunk = dense(self.num_units, 0, 1.0)(inputs)
        for number in range(1, 4 * self.num_blocks, 4):
            inner = keras.layers.BatchNormalization(momentum=0.9)(trunk)
            inner = dense(round(self.num_units * self.expansion), number, 2.0)(inner)
            inner = keras.layers.ReLU()(inner)
            inner = keras.layers.Dropout(self.hidden_dropout, seed=seed + number + 1)(inner)
            inner = dense(self.num_units, number + 2, 1.0)(inner)
            inner = keras.layers.Dropout(self.residual_dropout, seed=seed + number + 3)(inner)
            trunk = keras.layers.Add()([trunk, inner])
        out = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.9)(trunk))
        return keras.Model(inputs, logits_layer(num_classes, seed + 4 * self.num_blocks + 1)(out))
