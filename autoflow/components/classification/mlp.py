"""A multilayer perceptron with normalisation and dropout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from autoflow.components.base import NeuralClassifier
from autoflow.components.classification._networks import activation, batch_size, feature_scales, logits_layer
from autoflow.components.registry import register
from autoflow.data.schema import DataProfile

if TYPE_CHECKING:
    import keras
    import keras_tuner


@register
@dataclass(frozen=True)
class Mlp(NeuralClassifier):
    """Learned scales of the features, then dense layers with normalisation, a smooth activation and dropout.

    A well-tuned plain network of this kind stands near the best on tables (Kadra et al. 2021; RealMLP,
    Holzmüller et al. 2024, arXiv 2407.04491, from which the scales and the strong weight decay are).

    Args:
        num_layers: hidden layers, 0 to 5; without any, a linear model on what the extractors learn, which is
            best for short texts (Joulin et al. 2017).
        num_units: units of each, 16 to 512.
        activation: `"silu"`, `"gelu"`, `"relu"` or `"selu"`.
        normalization: `"batch"`, `"layer"` or `"none"`, before the activation.
        dropout: share of hidden units dropped in training, 0 to 0.6.
    """

    num_layers: int = 2
    num_units: int = 192
    activation: str = "silu"
    normalization: str = "batch"
    dropout: float = 0.15

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """Draws shape and training recipe; small tables get small networks and small batches."""
        small = profile.num_rows < 2000
        return cls(
            learning_rate=hp.Float("learning_rate", 3e-4, 1e-2, sampling="log", default=2e-3),
            weight_decay=hp.Float("weight_decay", 1e-4, 1.0, sampling="log", default=0.2),
            batch_size=batch_size(hp, profile),
            label_smoothing=hp.Choice("label_smoothing", [0.0, 0.01, 0.03], default=0.0),
            num_layers=hp.Int("num_layers", 0, 4, default=cls.num_layers),
            num_units=hp.Int("num_units", 32, 512, sampling="log", default=96 if small else cls.num_units),
            activation=hp.Choice("activation", ["silu", "gelu", "relu", "selu"], default=cls.activation),
            normalization=hp.Choice("normalization", ["batch", "layer", "none"], default=cls.normalization),
            dropout=hp.Float("dropout", 0.0, 0.5, default=0.3 if small else cls.dropout),
        )

    def body(self, width: int, num_classes: int, seed: int) -> keras.layers.Layer:
        """Returns the hidden layers and the logits."""
        import keras

        layers: list[keras.layers.Layer] = [keras.layers.Input((width,))]
        if self.num_layers > 0:  # the matrix of a linear model is scales enough
            layers.append(feature_scales())
        for number in range(self.num_layers):
            kernel = keras.initializers.HeNormal(seed=seed + 2 * number)
            layers.append(keras.layers.Dense(self.num_units, kernel_initializer=kernel))
            if self.normalization == "batch":
                layers.append(keras.layers.BatchNormalization(momentum=0.9))
            elif self.normalization == "layer":
                layers.append(keras.layers.LayerNormalization())
            layers.append(keras.layers.Activation(activation(self.activation)))
            if self.dropout > 0:
                layers.append(keras.layers.Dropout(self.dropout, seed=seed + 2 * number + 1))
        return keras.Sequential([*layers, logits_layer(num_classes, seed + 2 * self.num_layers)])
