"""Tries an exported model in a process of its own, with TensorFlow and NumPy and without AutoFlow.

This is a script that `autoflow.export.verify` starts with `python -I`; nothing imports it. It imports
TensorFlow at once, then answers one JSON line for every JSON line it reads, until its input ends. It must
stay self-contained: that it works is the proof that the exported folder is all one needs.
"""

from __future__ import annotations

import base64
import json
import os
import statistics
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    import numpy as np

FORBIDDEN = {"autoflow", "sklearn", "lightgbm"}
TOLERANCE = 1e-5
ROW_TOLERANCE = 1e-5
EMBEDDING_TOLERANCE = 1e-5
TIMED_RUNS = 200
TIMED_SECONDS = 0.5


class Different(Exception):
    """The model answers, but not what it should."""


class _Forbidding(MetaPathFinder):
    """Makes AutoFlow and the libraries of its components impossible to import, installed or not."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        name = fullname.partition(".")[0]
        if name in FORBIDDEN:
            raise ModuleNotFoundError(f"{name} may not be imported here", name=fullname)
        return None


class Signature:
    """A signature of a loaded model as a function from arrays to arrays."""

    def __init__(self, session: Any, definition: Any) -> None:
        from tensorflow.core.protobuf import config_pb2

        self.types = {name: info.dtype for name, info in definition.inputs.items()}
        self.outputs = sorted(definition.outputs)
        self._names = sorted(definition.inputs)
        # `make_callable` looks at each input in Python on every call, which is no time of the model
        self._run = session._make_callable_from_options(
            config_pb2.CallableOptions(
                feed=[definition.inputs[name].name for name in self._names],
                fetch=[definition.outputs[name].name for name in self.outputs],
            )
        )

    def __call__(self, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if sorted(feed) != self._names:
            raise Different(f"the signature takes {self._names} and not {sorted(feed)}")
        return dict(zip(self.outputs, self._run(*[feed[name] for name in self._names]), strict=True))


def check(request: dict[str, Any]) -> dict[str, Any]:
    """Returns the measured difference and time of a model, or raises Different.

    Args:
        request: `folder`; `columns` as pairs of raw header and raw type; `classes`; `rows`, a list by header
            with null for missing and pictures as `{"b64": ...}`; `expected`, a list of probabilities a row,
            in class order; `num_ranked`, how many classes an answer must name.
    """
    import numpy as np
    import tensorflow as tf

    expected = np.array(request["expected"], np.float32).reshape(len(request["expected"]), -1)
    if not np.isfinite(expected).all():
        raise Different("the probabilities that are expected are no finite numbers")
    feed = _feed(request["columns"], request["rows"])
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        meta_graph = tf.compat.v1.saved_model.loader.load(session, ["serve"], request["folder"])
        for name in ("serving_default", "classify", "embed"):
            if name not in meta_graph.signature_def:
                raise Different(f"the signature {name} is missing")
        serving = Signature(session, meta_graph.signature_def["serving_default"])
        classify = Signature(session, meta_graph.signature_def["classify"])
        _check_names(serving, request["columns"], meta_graph.signature_def["classify"].method_name)
        batch = serving(feed)
        if batch["scores"].shape[1:] != (request["num_ranked"],):
            raise Different(
                f"an answer ranks {batch['scores'].shape[1:]} classes, not {request['num_ranked']}"
            )
        probabilities = _unranked(batch, request["classes"])
        difference = _compare_ranked("the rows", probabilities, expected, TOLERANCE)
        _check_left_out(probabilities, expected)
        row_difference = _check_single_rows(serving, feed, probabilities, request["classes"])
        _check_classify(serving, classify, feed, request["classes"])
        _check_embed(Signature(session, meta_graph.signature_def["embed"]), serving, feed)
        records = _replay_warmup(serving, classify, request["folder"])
        row_ms = _row_milliseconds(serving, feed)
    if FORBIDDEN & sys.modules.keys():
        raise Different("AutoFlow or a library of its components was imported")
    return {
        "max_difference": difference,
        "max_row_difference": row_difference,
        "row_ms": row_ms,
        "num_rows": len(expected),
        "num_warmup_records": records,
    }


def _feed(columns: list[list[str]], rows: dict[str, list[Any]]) -> dict[str, np.ndarray]:
    import numpy as np

    feed = {}
    for header, raw_type in columns:
        if raw_type == "string":
            feed[header] = np.empty(len(rows[header]), object)
            feed[header][:] = [_content(value) for value in rows[header]]
        else:
            feed[header] = np.array([np.nan if value is None else value for value in rows[header]], raw_type)
    return feed


def _content(value: str | dict[str, str] | None) -> bytes:
    if isinstance(value, dict):
        return base64.b64decode(value["b64"])
    return (value or "").encode()


def _check_names(serving: Signature, columns: list[list[str]], classify_method: str) -> None:
    import tensorflow as tf

    expected = {header: tf.dtypes.as_dtype(raw_type).as_datatype_enum for header, raw_type in columns}
    if serving.types != expected:
        missing, unknown = expected.keys() - serving.types.keys(), serving.types.keys() - expected.keys()
        raise Different(
            f"the inputs are not the raw columns: missing {sorted(missing)}, unknown {sorted(unknown)}, "
            "or of another type"
        )
    if serving.outputs != ["classes", "label", "score", "scores"]:
        raise Different(f"the outputs are {serving.outputs}")
    if classify_method != "tensorflow/serving/classify":
        raise Different(f"classify has the method name {classify_method!r}")


def _unranked(answer: dict[str, np.ndarray], classes: list[str]) -> np.ndarray:
    """Returns probabilities in class order, NaN where not ranked, having checked the order of an answer."""
    import numpy as np

    positions = {name.encode(): position for position, name in enumerate(classes)}
    scores = answer["scores"]
    order = np.array([[positions.get(name, -1) for name in row] for row in answer["classes"]], np.int64)
    order = order.reshape(scores.shape)
    if (order < 0).any() or (np.diff(np.sort(order, axis=1), axis=1) == 0).any():
        raise Different("the classes of an answer are not those of the model")
    falling = scores[:, :-1] > scores[:, 1:]
    tied = (scores[:, :-1] == scores[:, 1:]) & (order[:, :-1] < order[:, 1:])
    if not (falling | tied).all():
        raise Different("the scores of an answer are not in falling order, or are not numbers")
    if "label" in answer and (
        list(answer["label"]) != list(answer["classes"][:, 0]) or (answer["score"] != scores[:, 0]).any()
    ):
        raise Different("label and score are not the first of classes and scores")
    probabilities = np.full((len(scores), len(classes)), np.nan, scores.dtype)
    np.put_along_axis(probabilities, order, scores, axis=1)
    return probabilities


def _compare(what: str, found: np.ndarray, expected: np.ndarray, tolerance: float) -> float:
    import numpy as np

    if found.shape != expected.shape:
        raise Different(f"{what} give numbers of shape {found.shape} instead of {expected.shape}")
    difference = float(np.abs(found - expected).max(initial=0.0))
    if not difference <= tolerance:
        row = int(np.abs(found - expected).max(axis=1).argmax())
        raise Different(
            f"{what} differ by {difference:.3g} (row {row + 1}), at most {tolerance:g} is allowed"
        )
    return difference


def _compare_ranked(what: str, found: np.ndarray, expected: np.ndarray, tolerance: float) -> float:
    """Compares probabilities of the classes that both name: at the end of a ranking near ties may differ."""
    import numpy as np

    if found.shape != expected.shape:
        return _compare(what, found, expected, tolerance)
    named = ~(np.isnan(found) | np.isnan(expected))
    return _compare(what, np.where(named, found, 0), np.where(named, expected, 0), tolerance)


def _check_left_out(found: np.ndarray, expected: np.ndarray) -> None:
    import numpy as np

    left_out = np.isnan(found)
    least = np.nanmin(found, axis=1, keepdims=True) + TOLERANCE
    if not (np.where(left_out, expected, 0) <= np.where(left_out, least, 0)).all():
        raise Different("an answer leaves out classes that are more probable than those it names")


def _check_single_rows(
    serving: Signature, feed: dict[str, np.ndarray], probabilities: np.ndarray, classes: list[str]
) -> float:
    largest = 0.0
    for row in range(len(probabilities)):
        alone = serving({name: values[row : row + 1] for name, values in feed.items()})
        found = _unranked(alone, classes)
        what = f"row {row + 1} alone and in a batch"
        same = _compare_ranked(what, found, probabilities[row : row + 1], ROW_TOLERANCE)
        largest = max(largest, same)
    return largest


def _check_classify(
    serving: Signature, classify: Signature, feed: dict[str, np.ndarray], classes: list[str]
) -> None:
    """Compares both signatures on numbers of 32 bits, since a tf.Example holds no others."""
    import numpy as np

    rounded = {
        name: values.astype(np.float32).astype(values.dtype) if values.dtype.kind == "f" else values
        for name, values in feed.items()
    }
    found = _unranked(classify({"inputs": _examples(rounded)}), classes)
    expected = _unranked(serving(rounded), classes)
    _compare_ranked("classify and serving_default", found, expected, ROW_TOLERANCE)


def _check_embed(embed: Signature, serving: Signature, feed: dict[str, np.ndarray]) -> None:
    """Checks that embeddings are finite numbers and those of a row alone the same as in a batch."""
    import numpy as np

    if embed.types != serving.types or embed.outputs != ["embedding"]:
        raise Different("embed takes other columns than serving_default, or gives more than an embedding")
    vectors = embed(feed)["embedding"]
    if vectors.dtype != np.float32 or vectors.ndim != 2 or not np.isfinite(vectors).all():
        raise Different("an embedding is no vector of finite numbers")
    for row in range(len(vectors)):
        alone = embed({name: values[row : row + 1] for name, values in feed.items()})["embedding"]
        # features may be large, unlike probabilities
        tolerance = EMBEDDING_TOLERANCE * max(1.0, float(np.abs(vectors[row]).max(initial=0.0)))
        _compare(
            f"embeddings of row {row + 1} alone and in a batch", alone, vectors[row : row + 1], tolerance
        )


def _examples(feed: dict[str, np.ndarray]) -> np.ndarray:
    import numpy as np
    import tensorflow as tf

    serialised = []
    for row in zip(*feed.values(), strict=True):
        example = tf.train.Example()
        for name, value in zip(feed, row, strict=True):
            if isinstance(value, bytes):
                if value:
                    example.features.feature[name].bytes_list.value.append(value)
            elif not np.isnan(value):
                example.features.feature[name].float_list.value.append(float(value))
        serialised.append(example.SerializeToString())
    return np.array(serialised, dtype=object)


def _replay_warmup(serving: Signature, classify: Signature, folder: str) -> int:
    """Runs the warm-up requests as the server would, and returns how many there are."""
    import numpy as np
    import tensorflow as tf

    path = os.path.join(folder, "assets.extra", "tf_serving_warmup_requests")
    if not os.path.exists(path):
        return 0
    count = 0
    for record in _records(path):
        ((kind, log),) = _fields(record)
        request = dict(_fields(dict(_fields(log))[1]))
        signature = dict(_fields(request[1]))[3]
        if kind == 6 and signature == b"serving_default":
            entries = [dict(_fields(part)) for number, part in _fields(dict(_fields(log))[1]) if number == 2]
            tensors = {entry[1].decode(): tf.make_ndarray(_tensor(entry[2])) for entry in entries}
            serving(tensors)
        elif kind == 2 and signature == b"classify":
            example_list = dict(_fields(request[2]))[1]
            classify({"inputs": np.array([part for _, part in _fields(example_list)], dtype=object)})
        else:
            raise Different(f"warm-up request {count + 1} asks for {signature!r} in field {kind}")
        count += 1
    return count


def _tensor(encoded: bytes) -> Any:
    from tensorflow.core.framework import tensor_pb2

    return tensor_pb2.TensorProto.FromString(encoded)


def _records(path: str) -> Iterator[bytes]:
    """Yields the records of a TFRecord file: length, check sum, bytes, check sum."""
    with open(path, "rb") as file:
        while header := file.read(12):
            (length,) = struct.unpack("<Q", header[:8])
            record = file.read(length + 4)
            if len(record) != length + 4:
                raise Different("the warm-up file is cut off")
            yield record[:-4]


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Yields number and payload of a protobuf message's length-delimited fields; there are no others here."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        if tag & 7 != 2:
            raise Different("the warm-up file holds a field of an unknown type")
        length, position = _varint(message, position)
        yield tag >> 3, message[position : position + length]
        position += length


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position


def _row_milliseconds(serving: Signature, feed: dict[str, np.ndarray]) -> float | None:
    num_rows = len(next(iter(feed.values())))
    if not num_rows:
        return None
    rows = [{name: values[i : i + 1] for name, values in feed.items()} for i in range(num_rows)]
    seconds: list[float] = []
    end = time.perf_counter() + TIMED_SECONDS
    while len(seconds) < TIMED_RUNS and time.perf_counter() < end:
        start = time.perf_counter()
        serving(rows[len(seconds) % num_rows])
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds) * 1e3


def answer(line: str) -> dict[str, Any]:
    """Returns the answer to one request: `outcome`, `message`, and the measurements of a good model."""
    started = time.perf_counter()
    try:
        with open(json.loads(line)["request"], encoding="utf-8") as file:
            found = check(json.load(file))
        found |= {"outcome": "passed", "message": ""}
    except Different as error:
        found = {"outcome": "different", "message": str(error)}
    # Whatever a loader raises means that the model cannot be served; the parent needs only the words.
    except Exception as error:
        found = {"outcome": "broken", "message": f"{type(error).__name__}: {str(error).strip()[:500]}"}
    return found | {"seconds": time.perf_counter() - started}


def main(arguments: list[str], answers: TextIO) -> None:
    """Imports TensorFlow, says so, and answers requests until the input ends.

    Args:
        arguments: added niceness, then folders for the module search path.
        answers: where the JSON lines go.
    """
    os.nice(int(arguments[0]))
    sys.meta_path.insert(0, _Forbidding())
    sys.path += [folder for folder in arguments[1:] if folder not in sys.path]
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")
    answers.write(json.dumps({"outcome": "ready"}) + "\n")
    answers.flush()
    for line in sys.stdin:
        answers.write(json.dumps(answer(line)) + "\n")
        answers.flush()


if __name__ == "__main__":
    # Libraries may write to standard output; the answers keep it and everything else goes to standard error.
    _answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    main(sys.argv[1:], _answers)
