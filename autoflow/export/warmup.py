"""Warm-up requests that TensorFlow Serving replays before a model goes live, so that no user waits for it.

The messages are encoded by hand at wire level, because the package that defines them
(`tensorflow-serving-api`) is no dependency: three nested messages and a map do not earn one. Field numbers
are from tensorflow_serving/apis/{prediction_log,predict,classification,input,model}.proto. A record that
fails makes the server refuse the model, so only rows that the model was seen to answer become records.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

WARMUP_PATH = "assets.extra/tf_serving_warmup_requests"
"""Place of the records inside a version folder; the name is TensorFlow Serving's."""

MAX_RECORDS = 20

_PREDICTION_LOG_CLASSIFY_LOG = 2
_PREDICTION_LOG_PREDICT_LOG = 6
_LOG_REQUEST = 1
_REQUEST_MODEL_SPEC = 1
_PREDICT_REQUEST_INPUTS = 2
_CLASSIFICATION_REQUEST_INPUT = 2
_INPUT_EXAMPLE_LIST = 1
_EXAMPLE_LIST_EXAMPLES = 1
_MODEL_SPEC_SIGNATURE_NAME = 3
_MAP_KEY = 1
_MAP_VALUE = 2


def write_warmup(
    folder: Path, rows: Mapping[str, np.ndarray], examples: Sequence[bytes], *, max_records: int = MAX_RECORDS
) -> int:
    """Writes the warm-up file of a version folder and returns the number of its records.

    Args:
        folder: version folder.
        rows: checked rows as model inputs: raw header to `float32[n]`, `float64[n]` or `object[n]` of str or
            bytes.
        examples: the same n rows as serialised `tf.Example`.
        max_records: upper bound, 3 or more; the server takes up to 1000.

    The records are one batch of all rows and one `classify` call, then single rows. Without rows there is
    no file, which the server takes as nothing to warm up with.
    """
    import tensorflow as tf

    if not examples:
        return 0
    single = [{name: values[i : i + 1] for name, values in rows.items()} for i in range(len(examples))]
    records = [predict_record(rows), classify_record(examples)]
    records += [predict_record(row) for row in single[: max_records - len(records)]]
    path = folder / WARMUP_PATH
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
    return len(records)


def predict_record(rows: Mapping[str, np.ndarray]) -> bytes:
    """Returns a `PredictionLog` that asks `serving_default` about rows keyed by raw header."""
    import tensorflow as tf

    fields = [_field(_REQUEST_MODEL_SPEC, _model_spec("serving_default"))]
    for name, values in rows.items():
        tensor = tf.make_tensor_proto(_as_input(values), shape=[len(values)]).SerializeToString()
        entry = _field(_MAP_KEY, name.encode()) + _field(_MAP_VALUE, tensor)
        fields.append(_field(_PREDICT_REQUEST_INPUTS, entry))
    return _field(_PREDICTION_LOG_PREDICT_LOG, _field(_LOG_REQUEST, b"".join(fields)))


def classify_record(examples: Sequence[bytes]) -> bytes:
    """Returns a `PredictionLog` that asks `classify` about serialised `tf.Example` rows."""
    example_list = b"".join(_field(_EXAMPLE_LIST_EXAMPLES, example) for example in examples)
    request = _field(_REQUEST_MODEL_SPEC, _model_spec("classify"))
    request += _field(_CLASSIFICATION_REQUEST_INPUT, _field(_INPUT_EXAMPLE_LIST, example_list))
    return _field(_PREDICTION_LOG_CLASSIFY_LOG, _field(_LOG_REQUEST, request))


def _model_spec(signature: str) -> bytes:
    # The model's name stays empty: the server knows which model it is loading.
    return _field(_MODEL_SPEC_SIGNATURE_NAME, signature.encode())


def _as_input(values: np.ndarray) -> np.ndarray:
    if values.dtype != object:
        return values
    contents = np.empty(len(values), object)
    contents[:] = [value if isinstance(value, bytes) else str(value).encode() for value in values]
    return contents


def _field(number: int, payload: bytes) -> bytes:
    """Returns a length-delimited field: tag, length, payload."""
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
