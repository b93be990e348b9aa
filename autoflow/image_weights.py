"""Weights of `keras.applications` networks: found, checked and loaded, and never fetched unless asked for."""

from __future__ import annotations

import hashlib
import importlib
import warnings
from pathlib import Path
from typing import Any

from autoflow.data.schema import ImageWeights
from autoflow.errors import MachineError, UsageError, near_names

IMAGENET = "imagenet"
"""In place of a file: the published weights, which Keras keeps or fetches."""

_SMALLEST_SIZE = 32


def image_weights(text: str) -> ImageWeights:
    """Returns the weights that `ARCHITECTURE=FILE` or `ARCHITECTURE=imagenet` names, after loading them once.

    Args:
        text: as given on the command line, such as `MobileNetV2=weights.h5`.

    Raises:
        UsageError: no such network, no such file, or a file of another network.
        MachineError: the published weights are not on this machine and cannot be fetched.
    """
    architecture, _, place = text.partition("=")
    if not place:
        raise UsageError(f"--image-weights {text}: give ARCHITECTURE=FILE, such as MobileNetV2=weights.h5.")
    constructor, _ = _network(architecture)
    if place == IMAGENET:
        try:
            constructor(include_top=False, weights=IMAGENET)
        except Exception as error:  # Keras raises whatever its download meets
            raise MachineError(
                f"the published weights of {architecture} are not here and cannot be fetched "
                f"({str(error).splitlines()[0][:120]}). Name a file: --image-weights {architecture}=FILE."
            ) from error
        return ImageWeights(architecture, IMAGENET, IMAGENET)
    path = Path(place)
    if not path.is_file():
        raise UsageError(f"{place}: there is no such file of weights for {architecture}.")
    found = ImageWeights(architecture, str(path.resolve()), _fingerprint(path))
    build(architecture, found.file, found.fingerprint, 96)
    return found


def build(architecture: str, weights: str, fingerprint: str, size: int) -> tuple[Any, Any]:
    """Returns a Keras model from preprocessed pictures `float32[B, size, size, 3]` to features.

    The second value is the function that preprocesses pictures from 0 to 255 as in the network's training.

    Args:
        architecture: name in `keras.applications`.
        weights: file, or `imagenet`.
        fingerprint: of the file.
        size: side in pixels, 32 or more.

    Raises:
        UsageError: the file is gone, another one, or one of another network.
    """
    constructor, preprocess = _network(architecture)
    shape = (max(size, _SMALLEST_SIZE),) * 2 + (3,)
    if weights == IMAGENET:
        return constructor(include_top=False, weights=IMAGENET, input_shape=shape, pooling="avg"), preprocess
    path = Path(weights)
    if not path.is_file() or _fingerprint(path) != fingerprint:
        raise UsageError(f"{weights}: the file of weights is gone or another one than the search began with.")
    model = constructor(include_top=False, weights=None, input_shape=shape, pooling="avg")
    try:
        with warnings.catch_warnings(action="ignore"):  # Keras warns of each layer that has no weights
            model.load_weights(weights)
    except Exception as error:  # h5py and Keras raise many kinds for a file that does not fit
        raise UsageError(
            f"{weights}: these are no weights of {architecture} without its top "
            f"({str(error).splitlines()[0][:120]})."
        ) from error
    return model, preprocess


def _network(architecture: str) -> tuple[Any, Any]:
    """Returns constructor and preprocessing of a network.

    Raises:
        UsageError: Keras has none of this name.
    """
    import keras

    known = [name for name in dir(keras.applications) if name[:1].isupper()]
    if architecture not in known:
        raise UsageError(
            f"keras.applications has no network {architecture!r}; {near_names(architecture, known)}"
        )
    constructor = getattr(keras.applications, architecture)
    return constructor, importlib.import_module(constructor.__module__).preprocess_input


def _fingerprint(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]
