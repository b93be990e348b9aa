"""Pictures through a network of keras.applications that was trained elsewhere."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from autoflow.components.feature_extraction._picture_grids import PictureFeatures
from autoflow.components.registry import register
from autoflow.components.stored import stored
from autoflow.data.schema import ColumnKind, DataProfile
from autoflow.errors import UsageError
from autoflow.image_weights import build

if TYPE_CHECKING:
    import keras_tuner
    import tensorflow as tf


@register
@dataclass(frozen=True)
class PretrainedImage(PictureFeatures):
    """What a large network sees in a picture: its last features, averaged over the picture, frozen.

    Features of networks that learned on millions of pictures serve other tasks (Donahue et al. 2014). They
    are computed once a picture; trees and linear models use them as networks do.

    Args:
        size: height and width that a picture is brought to, 32 to 256 pixels.
        channels: 3; the networks know colours only.
        architecture: name of a model in `keras.applications`, such as `MobileNetV2`.
        weights: file of weights without the top, as `keras.applications` publishes them.
        fingerprint: of that file, so that another file in its place is refused.
    """

    accepts: ClassVar[frozenset[ColumnKind]] = frozenset({ColumnKind.IMAGE})

    size: int = 96
    channels: int = 3
    architecture: str = ""
    weights: str = ""
    fingerprint: str = ""

    @classmethod
    def sample(cls, hp: keras_tuner.HyperParameters, profile: DataProfile) -> Self:
        """Draws one of the networks that the user named, and a size."""
        size = hp.Choice("size", [64, 96, 128, 160], default=cls.size)
        if not profile.image_weights:
            return cls(size=size)
        names = [each.architecture for each in profile.image_weights]
        chosen = profile.image_weights[names.index(hp.Choice("architecture", names))]
        return cls(
            size=size, architecture=chosen.architecture, weights=chosen.file, fingerprint=chosen.fingerprint
        )

    @classmethod
    def supports(cls, profile: DataProfile) -> bool:
        """Where the user named weights: nothing is fetched by surprise."""
        return bool(profile.image_weights)

    def features(self, grids: tf.Tensor) -> tf.Tensor:
        """Returns the features before the network's own classes.

        Raises:
            UsageError: no weights are named, or they are not those of the search's start.
        """
        import tensorflow as tf

        if not self.architecture:
            raise UsageError("pretrained_image needs weights: fit --image-weights ARCHITECTURE=FILE")
        network = _loaded(self.architecture, self.weights, self.fingerprint, self.size)
        return network(tf.cast(grids, tf.float32))


class _Network:
    """A network whose weights go in one by one, since a server leaves Keras variables uninitialised."""

    def __init__(self, model: Any, preprocess: Any) -> None:
        self._model, self._preprocess = model, preprocess
        self._trained = [variable.numpy() for variable in model.trainable_variables]
        self._others = [variable.numpy() for variable in model.non_trainable_variables]

    def __call__(self, pictures: tf.Tensor) -> tf.Tensor:
        import tensorflow as tf

        features, _ = self._model.stateless_call(
            [stored(value) for value in self._trained],
            [stored(value) for value in self._others],
            self._preprocess(pictures),
            training=False,
        )
        return tf.cast(features, tf.float32)


@functools.lru_cache(maxsize=2)
def _loaded(architecture: str, weights: str, fingerprint: str, size: int) -> _Network:
    import tensorflow as tf

    with tf.init_scope():
        return _Network(*build(architecture, weights, fingerprint, size))
