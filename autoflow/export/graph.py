"""The serving graph around a model: raw columns in, ranked classes or an embedding out, by three signatures.

All of them call one inner function, so that the model's constants are stored and its graph is traced once;
what a signature does not give is pruned when it runs. Nothing here touches the disk.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from autoflow.data.images import picture_bytes
from autoflow.data.schema import ColumnKind, RawType, Schema
from autoflow.manifest import input_key, num_ranked

if TYPE_CHECKING:
    import tensorflow as tf

SERVING = "serving_default"
CLASSIFY = "classify"
EMBED = "embed"


class Servable(Protocol):
    """A fitted pipeline, or a weighted mean of several, as the export sees it."""

    @property
    def schema(self) -> Schema:
        """The raw columns, the label and the classes."""

    def predict_probabilities(self, raw: Mapping[str, np.ndarray]) -> np.ndarray:
        """Returns `float32[n, C]`, without TensorFlow where possible.

        Args:
            raw: by header, `float64[n]` with NaN or `object[n]` of str with "" where missing.
        """

    def module(self) -> tf.Module:
        """Returns a new module that tracks its tables and variables.

        It is called eagerly once, where it may make variables, and traced then. Calling it with tensors
        `[B]` by header (of each column's raw type) gives probabilities `tf.float32[B, C]` and an embedding
        `tf.float32[B, d]` with a static `d`. It must not hold Keras layers or variables, which a server's
        loader leaves uninitialised (keras 3.15): hold `variable.value`, or constants.
        """


def input_dtype(raw_type: RawType) -> tf.DType:
    """Returns the TensorFlow type of a raw column's input."""
    import tensorflow as tf

    return {RawType.FLOAT32: tf.float32, RawType.FLOAT64: tf.float64, RawType.STRING: tf.string}[raw_type]


def model_inputs(schema: Schema, raw: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns raw rows in the types of the model's inputs, in the order of the columns.

    Args:
        schema: of the model.
        raw: by header, `float64[n]` or `object[n]` of str or Picture; further columns are left out.

    Returns:
        By header `float32[n]`, `float64[n]`, or `object[n]` of str, of bytes for pictures.
    """
    numbers = {RawType.FLOAT32: np.float32, RawType.FLOAT64: np.float64}
    return {
        column.name: picture_bytes(raw[column.name])
        if column.kind is ColumnKind.IMAGE
        else np.asarray(raw[column.name], dtype=numbers.get(column.raw_type, object))
        for column in schema.columns
    }


def serialised_examples(schema: Schema, raw: Mapping[str, np.ndarray]) -> list[bytes]:
    """Returns each raw row as a serialised `tf.Example`, without the keys of missing values.

    Args:
        schema: of the model.
        raw: by header, `float64[n]` or `object[n]` of str or Picture.
    """
    import tensorflow as tf

    inputs = model_inputs(schema, raw)
    num_rows = len(next(iter(inputs.values()))) if inputs else 0
    examples = []
    for position in range(num_rows):
        example = tf.train.Example()
        for name, values in inputs.items():
            value = values[position]
            if isinstance(value, str | bytes):
                if value:
                    content = value if isinstance(value, bytes) else value.encode()
                    example.features.feature[name].bytes_list.value.append(content)
            elif not np.isnan(value):
                example.features.feature[name].float_list.value.append(float(value))
        examples.append(example.SerializeToString(deterministic=True))
    return examples


def serving_module(model: Servable) -> tuple[tf.Module, dict[str, Any]]:
    """Returns a module that holds the model, and its traced signatures with input names `f0`, `f1`, ...

    `serving_default` takes one `[B]` tensor a column and returns `label` string[B], `score` float32[B],
    `classes` string[B, K] and `scores` float32[B, K] of the K = min(C, 100) most probable classes, the best
    first, ties in class order.
    `classify` takes `inputs` string[B], serialised `tf.Example`s in which a missing key is a missing value
    and numbers are floats (the integer 3 has to be written 3.0), and returns `classes` and `scores`.
    `embed` takes what `serving_default` takes and returns `embedding` float32[B, d].
    """
    import tensorflow as tf

    schema = model.schema
    holder = tf.Module(name="autoflow")
    # An attribute of the module is what makes tables and variables part of the SavedModel.
    holder.model = model.module()
    holder.model(_row_without_values(schema))  # makes its variables: a trace that did would be made twice
    specs = [
        tf.TensorSpec([None], input_dtype(column.raw_type), name=input_key(position))
        for position, column in enumerate(schema.columns)
    ]

    @tf.function(input_signature=specs, autograph=False)
    def ranked(*columns: tf.Tensor) -> dict[str, tf.Tensor]:
        by_header = {column.name: tensor for column, tensor in zip(schema.columns, columns, strict=True)}
        probabilities, embedding = holder.model(by_header)
        return _rank(probabilities, schema.classes) | {"embedding": embedding}

    def serving_default(**columns: tf.Tensor) -> dict[str, tf.Tensor]:
        answer = ranked(*[columns[spec.name] for spec in specs])
        classes, scores = answer["classes"], answer["scores"]
        return {"label": classes[:, 0], "score": scores[:, 0], "classes": classes, "scores": scores}

    def embed(**columns: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"embedding": ranked(*[columns[spec.name] for spec in specs])["embedding"]}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")], autograph=False)
    def classify(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        answer = ranked(*_parse_examples(inputs, schema))
        return {name: answer[name] for name in ("classes", "scores")}

    by_name = {spec.name: spec for spec in specs}
    serving, embedding = (
        tf.function(function, autograph=False).get_concrete_function(**by_name)
        for function in (serving_default, embed)
    )
    return holder, {SERVING: serving, CLASSIFY: classify.get_concrete_function(), EMBED: embedding}


def _row_without_values(schema: Schema) -> dict[str, tf.Tensor]:
    import tensorflow as tf

    empty = {RawType.STRING: "", RawType.FLOAT32: np.nan, RawType.FLOAT64: np.nan}
    return {
        column.name: tf.constant([empty[column.raw_type]], input_dtype(column.raw_type))
        for column in schema.columns
    }


def _rank(probabilities: tf.Tensor, classes: tuple[str, ...]) -> dict[str, tf.Tensor]:
    import tensorflow as tf

    # top_k gives equal values in the order of their columns, which is the order of the classes.
    known = tf.ensure_shape(probabilities, [None, len(classes)])
    scores, order = tf.math.top_k(known, k=num_ranked(len(classes)))
    return {"classes": tf.gather(tf.constant(list(classes)), order), "scores": scores}


def _parse_examples(serialised: tf.Tensor, schema: Schema) -> list[tf.Tensor]:
    import tensorflow as tf

    # tf.Example knows 32-bit floats only, so float64 columns are coarser here than in serving_default.
    missing = {
        RawType.STRING: tf.constant(""),
        RawType.FLOAT32: tf.constant(np.nan, tf.float32),
        RawType.FLOAT64: tf.constant(np.nan, tf.float32),
    }
    # the raw op takes one default for all columns, where tf.io makes a constant for each of thousands
    parsed = tf.raw_ops.ParseExampleV2(
        serialized=serialised,
        names=[],
        sparse_keys=[],
        dense_keys=[column.name for column in schema.columns],
        ragged_keys=[],
        dense_defaults=[missing[column.raw_type] for column in schema.columns],
        num_sparse=0,
        sparse_types=[],
        ragged_value_types=[],
        ragged_split_types=[],
        dense_shapes=[[]] * len(schema.columns),
    )
    return [
        tf.cast(values, input_dtype(column.raw_type))
        for column, values in zip(schema.columns, parsed.dense_values, strict=True)
    ]
