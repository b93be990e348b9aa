"""Many perceptrons in one network that share their weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Self

from autoflow.components.base import NeuralClassifier
from autoflow.components.classification._networks import activation, batch_size
from autoflow.components.registry import register
from autoflow.data.schema import DataProfile

if TYPE_CHECKING:
    import keras
    import keras_tuner
    import tensorflow as tf

_WIDEST = 512
"""Features that members weigh one by one; more are first projected by a layer that all members share."""
_MAX_ROWS = 300_000


@register
@dataclass(frozen=True)
class Tabm(NeuralClassifier):
    """An ensemble of perceptrons in one network, averaged: TabM (Gorishniy et al. 2024, arXiv 2410.24210).

    Members share the matrices; each scales their inputs and outputs by vectors of its own (Wen, Tran and Ba,
    "BatchEnsemble", ICLR 2020) and has its own biases and logits. The scales of the first layer begin with
    random signs, all others at one. Each member is trained on a loss of its own, so that they stay different.

    Args:
        num_members: perceptrons, 2 to 64.
        num_layers: hidden layers, 1 to 4.
        num_units: units of each, 16 to 512.
        activation: `"silu"`, `"relu"` or `"gelu"`.
        dropout: share of hidden units dropped in training, 0 to 0.6.
    """

    num_members: int = 8
    num_layers: int = 2
    num_units: int = 128
    activation: str = "silu"
    dropout: float = 0.1

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """Draws shape and training recipe; small tables get small networks and small batches."""
        small = profile.num_rows < 2000
        return cls(
            learning_rate=hp.Float("learning_rate", 3e-4, 1e-2, sampling="log", default=4e-3),
            weight_decay=hp.Float("weight_decay", 1e-5, 1e-1, sampling="log", default=1e-2),
            batch_size=batch_size(hp, profile),
            label_smoothing=hp.Choice("label_smoothing", [0.0, 0.01, 0.03], default=0.0),
            num_members=hp.Choice("num_members", [8, 16, 32], default=cls.num_members),
            num_layers=hp.Int("num_layers", 1, 3, default=cls.num_layers),
            num_units=hp.Int("num_units", 32, 256, sampling="log", default=64 if small else cls.num_units),
            activation=hp.Choice("activation", ["silu", "relu", "gelu"], default=cls.activation),
            dropout=hp.Float("dropout", 0.0, 0.5, default=0.25 if small else cls.dropout),
        )

    @classmethod
    def supports(cls, profile: DataProfile) -> bool:
        """Up to 300,000 rows: an epoch takes as long as one for each member."""
        return profile.num_rows <= _MAX_ROWS

    def body(self, width: int, num_classes: int, seed: int) -> keras.layers.Layer:
        """Returns all members: logits of each in training, of their mean probabilities otherwise."""
        import keras

        members = _members_class()(self, num_classes, seed)
        if width <= _WIDEST:
            return keras.Sequential([keras.layers.Input((width,)), members])
        kernel = keras.initializers.LecunNormal(seed=seed)
        shared = keras.layers.Dense(2 * self.num_units, kernel_initializer=kernel)
        return keras.Sequential([keras.layers.Input((width,)), shared, members])

    def numbers_a_row(self, num_classes: int) -> int:
        """Each member has its units and logits."""
        return self.num_members * max(2 * self.num_units, 3 * num_classes)


@cache
def _members_class() -> Callable[[Tabm, int, int], keras.layers.Layer]:
    import keras
    import tensorflow as tf

    class Members(keras.layers.Layer):
        """The hidden layers and logits of all members, from `float32[B, width]`."""

        def __init__(self, settings: Tabm, num_classes: int, seed: int) -> None:
            super().__init__()
            self.settings, self.num_classes, self.seed = settings, num_classes, seed
            self.activate = activation(settings.activation)
            self.dropouts = [
                keras.layers.Dropout(settings.dropout, seed=seed + number)
                for number in range(settings.num_layers)
            ]

        def build(self, shape: tuple[int | None, ...]) -> None:
            """Makes the weights; vectors of members are flat, for matrices decay and these must not."""
            members, units = self.settings.num_members, self.settings.num_units
            sizes = [int(shape[-1] or 0), *[units] * self.settings.num_layers]
            self.kernels, self.scales_in, self.scales_out, self.biases = [], [], [], []
            for number in range(self.settings.num_layers):
                size, seed = sizes[number], self.seed + 1000 + 2 * number
                kernel = keras.initializers.HeNormal(seed=seed)
                signs = _random_signs(size * members, seed + 1)
                ones = keras.initializers.Ones()
                self.kernels.append(self.add_weight(shape=(size, units), initializer=kernel))
                self.scales_in.append(
                    self.add_weight(shape=(size * members,), initializer=ones if number else signs)
                )
                self.scales_out.append(self.add_weight(shape=(members * units,), initializer=ones))
                self.biases.append(self.add_weight(shape=(members * units,), initializer="zeros"))
            small = keras.initializers.RandomNormal(stddev=(0.05 / units) ** 0.5, seed=self.seed + 999)
            self.heads = self.add_weight(shape=(members, units, self.num_classes), initializer=small)
            self.head_biases = self.add_weight(shape=(members * self.num_classes,), initializer="zeros")

        def call(self, features: tf.Tensor, training: bool = False) -> tf.Tensor:
            """Returns `float32[B, members, classes]` in training, else `float32[B, classes]`."""
            settings = self.settings
            members, units, size = settings.num_members, settings.num_units, features.shape[-1]
            # scaling the matrices costs less than scaling the rows, of which there are more
            matrices = tf.reshape(self._matrices(0), [size, members * units])
            states = tf.reshape(tf.matmul(features, matrices), [-1, members, units])
            states = self._activated(tf.transpose(states, [1, 0, 2]), 0, training)
            for number in range(1, settings.num_layers):
                matrices = tf.transpose(self._matrices(number), [1, 0, 2])
                states = self._activated(tf.matmul(states, matrices), number, training)
            biases = tf.reshape(self.head_biases.value, [members, 1, self.num_classes])
            logits = tf.matmul(states, self.heads.value) + biases
            if training:
                return tf.transpose(logits, [1, 0, 2])
            # the logarithm of the mean probability, but for a constant that a softmax takes away
            return tf.reduce_logsumexp(tf.nn.log_softmax(logits), axis=0)

        def _matrices(self, number: int) -> tf.Tensor:
            """Returns `float32[inputs, members, units]`."""
            members, units = self.settings.num_members, self.settings.num_units
            scales_in = tf.reshape(self.scales_in[number].value, [-1, members, 1])
            scales_out = tf.reshape(self.scales_out[number].value, [1, members, units])
            return self.kernels[number].value[:, tf.newaxis] * scales_in * scales_out

        def _activated(self, states: tf.Tensor, number: int, training: bool) -> tf.Tensor:
            members, units = self.settings.num_members, self.settings.num_units
            biases = tf.reshape(self.biases[number].value, [members, 1, units])
            return self.dropouts[number](self.activate(states + biases), training=training)

    return Members


def _random_signs(size: int, seed: int) -> Callable[..., tf.Tensor]:
    import numpy as np
    import tensorflow as tf

    signs = np.random.default_rng(seed).choice(np.array([-1.0, 1.0], np.float32), size)
    return lambda shape, dtype=None: tf.constant(signs)
