from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fake_model import Exported
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from autoflow.export.graph import model_inputs, serialised_examples
from autoflow.export.warmup import MAX_RECORDS, WARMUP_PATH, write_warmup


def _prediction_log():
    """The message type of TensorFlow Serving, built from the parts of its definition that matter here.

    From tensorflow_serving/apis: prediction_log.proto, predict.proto, classification.proto, input.proto and
    model.proto.
    """
    from tensorflow.core.example import example_pb2
    from tensorflow.core.framework import tensor_pb2

    text, message = (
        descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
        descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE,
    )
    serving, core = ".tensorflow.serving.", ".tensorflow."
    messages = {
        "ModelSpec": [("name", 1, text, ""), ("signature_name", 3, text, "")],
        "PredictRequest": [
            ("model_spec", 1, message, serving + "ModelSpec"),
            ("inputs", 2, message, serving + "PredictRequest.InputsEntry"),
        ],
        "ExampleList": [("examples", 1, message, core + "Example")],
        "Input": [("example_list", 1, message, serving + "ExampleList")],
        "ClassificationRequest": [
            ("model_spec", 1, message, serving + "ModelSpec"),
            ("input", 2, message, serving + "Input"),
        ],
        "PredictLog": [("request", 1, message, serving + "PredictRequest")],
        "ClassifyLog": [("request", 1, message, serving + "ClassificationRequest")],
        "PredictionLog": [
            ("classify_log", 2, message, serving + "ClassifyLog"),
            ("predict_log", 6, message, serving + "PredictLog"),
        ],
    }
    file = descriptor_pb2.FileDescriptorProto(
        name="serving.proto", package="tensorflow.serving", syntax="proto3"
    )
    file.dependency.extend([tensor_pb2.DESCRIPTOR.name, example_pb2.DESCRIPTOR.name])
    for name, entries in messages.items():
        described = file.message_type.add(name=name)
        _add_fields(described, entries)
        if name == "PredictRequest":
            entry = described.nested_type.add(name="InputsEntry")
            entry.options.map_entry = True
            _add_fields(entry, [("key", 1, text, ""), ("value", 2, message, core + "TensorProto")])
    pool = descriptor_pool.Default()
    pool.Add(file) if not _known(pool) else None
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.serving.PredictionLog"))


def _known(pool: descriptor_pool.DescriptorPool) -> bool:
    try:
        pool.FindMessageTypeByName("tensorflow.serving.PredictionLog")
    except KeyError:
        return False
    return True


def _add_fields(described: descriptor_pb2.DescriptorProto, entries: list[tuple[str, int, int, str]]) -> None:
    repeated = {"inputs", "examples"}
    for name, number, kind, type_name in entries:
        label = (
            descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
            if name in repeated
            else descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL
        )
        described.field.add(name=name, number=number, type=kind, label=label, type_name=type_name or None)


def _logs(folder: Path) -> list:
    import tensorflow as tf

    log_type = _prediction_log()
    dataset = tf.data.TFRecordDataset(str(folder / WARMUP_PATH))
    return [log_type.FromString(record.numpy()) for record in dataset]


def test_records_are_the_requests_of_tensorflow_serving(exported: Exported) -> None:
    import tensorflow as tf

    logs = _logs(exported.folder)
    assert len(logs) == MAX_RECORDS
    batch, classify, *single = logs
    inputs = model_inputs(exported.model.schema, exported.rows)
    for log, rows in [(batch, slice(None)), *[(log, slice(i, i + 1)) for i, log in enumerate(single)]]:
        assert log.predict_log.request.model_spec.signature_name == "serving_default"
        assert set(log.predict_log.request.inputs) == set(inputs)
        for name, tensor in log.predict_log.request.inputs.items():
            found, expected = tf.make_ndarray(tensor), inputs[name][rows]
            if expected.dtype == object:
                assert [text.decode() for text in found] == list(expected)
            else:
                assert found.dtype == expected.dtype
                assert np.array_equal(found, expected, equal_nan=True)
    request = classify.classify_log.request
    assert request.model_spec.signature_name == "classify"
    found = [example.SerializeToString(deterministic=True) for example in request.input.example_list.examples]
    assert found == serialised_examples(exported.model.schema, exported.rows)


def test_the_verification_replays_them(exported: Exported) -> None:
    assert exported.verification.num_warmup_records == MAX_RECORDS


@pytest.mark.parametrize(("num_rows", "records"), [(0, 0), (1, 3), (2, 4), (30, MAX_RECORDS)])
def test_number_of_records(tmp_path: Path, num_rows: int, records: int) -> None:
    rows = {"a": np.zeros(num_rows, np.float32)}
    assert write_warmup(tmp_path, rows, [b""] * num_rows) == records
    assert (tmp_path / WARMUP_PATH).exists() == (records > 0)
