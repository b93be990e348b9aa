"""An exported graph, loaded as TensorFlow Serving loads it, as a function from raw rows to probabilities."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoflow.data.images import picture_bytes
from autoflow.data.schema import Column, ColumnKind, RawType, Schema
from autoflow.errors import NoModelError
from autoflow.serving.quiet import import_tensorflow

if TYPE_CHECKING:
    import tensorflow as tf

_SIGNATURE = "serving_default"
_EMBED = "embed"
_NUMBERS = {RawType.FLOAT32: np.float32, RawType.FLOAT64: np.float64}


class ServingSession:
    """The signatures for raw rows of a version folder; safe to call from several threads.

    The Session loader is used because it is the server's own code path and, unlike `tf.saved_model.load`,
    it knows the inputs by their raw headers.

    Args:
        folder: version folder.
        schema: from its manifest.

    Raises:
        NoModelError: TensorFlow cannot load it, or its inputs are not the columns of the manifest.
    """

    def __init__(self, folder: Path, schema: Schema) -> None:
        tf = import_tensorflow()
        self._schema = schema
        # Without this a session takes the whole memory of a GPU.
        config = tf.compat.v1.ConfigProto(gpu_options=tf.compat.v1.GPUOptions(allow_growth=True))
        self._session = tf.compat.v1.Session(graph=tf.Graph(), config=config)
        logger = tf.get_logger()
        level = logger.level
        logger.setLevel("ERROR")  # the loader calls itself deprecated, which concerns no user
        try:
            meta_graph = tf.compat.v1.saved_model.loader.load(self._session, ["serve"], str(folder))
            signature = meta_graph.signature_def[_SIGNATURE]
            if set(signature.inputs) != {column.name for column in schema.columns}:
                raise ValueError("its inputs are not the columns of its manifest")
            self._run = _compiled_call(
                self._session,
                [signature.outputs[name].name for name in ("classes", "scores")],
                [signature.inputs[column.name].name for column in schema.columns],
            )
            self._embed = None
            if _EMBED in meta_graph.signature_def:
                embed = meta_graph.signature_def[_EMBED]
                self._embed = _compiled_call(
                    self._session,
                    [embed.outputs["embedding"].name],
                    [embed.inputs[column.name].name for column in schema.columns],
                )
        except (OSError, RuntimeError, ValueError, KeyError, TypeError, tf.errors.OpError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise NoModelError(
                f"{folder}: TensorFlow {tf.__version__} cannot load the model ({reason}); "
                "export it again, or install the TensorFlow that its manifest names."
            ) from error
        finally:
            logger.setLevel(level)

    def probabilities(self, raw: Mapping[str, np.ndarray]) -> np.ndarray:
        """Returns `float32[n, C]` in class order.

        Where the graph gives the most probable classes only, the others share evenly what is left to 1.

        Args:
            raw: by header, `float64[n]` with NaN or `object[n]` of str with "" where missing,
                `object[n]` of Picture or of bytes for images.
        """
        names, scores = self._run(*self._feed(raw))
        probabilities = in_class_order(names, scores, self._schema.classes)
        num_left_out = probabilities.shape[1] - scores.shape[1]
        if num_left_out:
            rest = np.maximum(1.0 - scores.sum(axis=1, keepdims=True), 0.0) / num_left_out
            rest = np.minimum(rest, scores[:, -1:])  # rounding must not lift one above those that are ranked
            probabilities = np.where(np.isnan(probabilities), rest, probabilities)
        return probabilities

    def embeddings(self, raw: Mapping[str, np.ndarray]) -> np.ndarray:
        """Returns `float32[n, d]`; args are those of `probabilities`.

        Raises:
            NoModelError: an AutoFlow that had no embeddings yet exported the model.
        """
        if self._embed is None:
            raise NoModelError(
                "the model has no signature 'embed', it is of an older AutoFlow; export it again."
            )
        (vectors,) = self._embed(*self._feed(raw))
        return np.asarray(vectors)

    def _feed(self, raw: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        return [self._input(raw[column.name], column) for column in self._schema.columns]

    @staticmethod
    def _input(values: np.ndarray, column: Column) -> np.ndarray:
        if column.kind is ColumnKind.IMAGE:
            return picture_bytes(values)
        return np.asarray(values, dtype=_NUMBERS.get(column.raw_type, object))


def in_class_order(names: np.ndarray, scores: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Returns ranked scores as probabilities in class order, `float32[n, C]`, NaN for classes left out.

    Args:
        names: the ranked class names of every row, `object[n, K]` of UTF-8 bytes.
        scores: their scores, `float32[n, K]`.
        classes: the C class names.
    """
    positions = {name.encode(): position for position, name in enumerate(classes)}
    order = np.array([positions[name] for name in names.ravel()], np.int64).reshape(scores.shape)
    probabilities = np.full((len(scores), len(classes)), np.nan, scores.dtype)
    np.put_along_axis(probabilities, order, scores, axis=1)
    return probabilities


def _compiled_call(
    session: tf.compat.v1.Session, outputs: list[str], inputs: list[str]
) -> Callable[..., Any]:
    """Returns a function of one array an input, which TensorFlow feeds without a loop in Python.

    `Session.make_callable` looks at each input on every call: 32 ms for a row of 1,500 columns, here 1.4 ms.

    Args:
        session: holds the graph.
        outputs: names of tensors.
        inputs: likewise.
    """
    from tensorflow.core.protobuf import config_pb2

    options = config_pb2.CallableOptions(feed=inputs, fetch=outputs)
    return session._make_callable_from_options(options)
