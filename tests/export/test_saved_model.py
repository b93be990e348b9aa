from __future__ import annotations

import resource
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fake_model import STRANGE_HEADERS, Exported, FakeModel, rows_of, schema_of

from autoflow.data.schema import RawType
from autoflow.errors import MachineError, UsageError
from autoflow.export.graph import input_dtype, serialised_examples
from autoflow.export.saved_model import Limits, export_model, measure_model
from autoflow.export.verify import Outcome, VerificationResult, Verifier
from autoflow.manifest import ManifestDetails, changed_files, damage, next_version, read_manifest, versions_in


@pytest.fixture(scope="module")
def session(exported: Exported):
    """The exported model as the server loads it: a session and its signatures."""
    import tensorflow as tf

    # Not as a context manager, which would make its graph the default one of the other tests.
    opened = tf.compat.v1.Session(graph=tf.Graph())
    meta_graph = tf.compat.v1.saved_model.loader.load(opened, ["serve"], str(exported.folder))
    yield opened, meta_graph.signature_def
    opened.close()


def _feed(exported: Exported, signature, count: int | None = None) -> dict:
    return {signature.inputs[name].name: values[:count] for name, values in exported.rows.items()}


def _fetch(signature) -> dict:
    return {name: info.name for name, info in signature.outputs.items()}


def test_inputs_are_the_raw_headers(exported: Exported, session) -> None:
    _, signatures = session
    serving = signatures["serving_default"]
    assert set(serving.inputs) == set(STRANGE_HEADERS)
    for info in [*serving.inputs.values(), *signatures["classify"].inputs.values()]:
        assert [dim.size for dim in info.tensor_shape.dim] == [-1]
    assert list(signatures["classify"].inputs) == ["inputs"]
    assert signatures["classify"].method_name == "tensorflow/serving/classify"
    assert serving.method_name == "tensorflow/serving/predict"


def test_embed_takes_the_raw_headers_and_gives_the_embedding(exported: Exported, session) -> None:
    import tensorflow as tf

    opened, signatures = session
    embed = signatures["embed"]
    assert set(embed.inputs) == set(STRANGE_HEADERS)
    assert set(embed.outputs) == {"embedding"}
    answer = opened.run(_fetch(embed), _feed(exported, embed))["embedding"]
    inputs = {name: tf.constant(values) for name, values in exported.rows.items()}
    for column in exported.model.schema.columns:
        if column.raw_type is not RawType.STRING:
            inputs[column.name] = tf.cast(inputs[column.name], input_dtype(column.raw_type))
    _, expected = exported.model.module()(inputs)
    assert np.abs(answer - expected.numpy()).max() < 1e-5
    assert read_manifest(exported.folder).embedding_size == answer.shape[1] == len(STRANGE_HEADERS)


def test_serving_ranks_the_classes_of_every_row(exported: Exported, session) -> None:
    opened, signatures = session
    serving = signatures["serving_default"]
    answer = opened.run(_fetch(serving), _feed(exported, serving))
    order = np.argsort(-exported.expected, axis=1, kind="stable")
    classes = np.array([name.encode() for name in exported.model.schema.classes], dtype=object)
    assert np.abs(answer["scores"] - np.take_along_axis(exported.expected, order, axis=1)).max() < 1e-5
    assert (answer["classes"] == classes[order]).all()
    assert (answer["label"] == classes[order[:, 0]]).all()
    assert (answer["score"] == answer["scores"][:, 0]).all()
    for row in range(len(order)):
        alone = opened.run(
            serving.outputs["scores"].name,
            {serving.inputs[name].name: values[row : row + 1] for name, values in exported.rows.items()},
        )
        assert np.abs(alone - answer["scores"][row]).max() <= 1e-6


def test_classify_reads_examples_with_missing_keys(exported: Exported, session) -> None:
    import tensorflow as tf

    opened, signatures = session
    rows = {
        name: values.astype(np.float32).astype(float) if values.dtype != object else values
        for name, values in exported.rows.items()
    }
    examples = serialised_examples(exported.model.schema, rows)
    keys = tf.train.Example.FromString(examples[0]).features.feature
    assert set(keys) < set(STRANGE_HEADERS), "the first row has missing values"
    # A wholly empty example is a row of missing values.
    missing = {
        name: np.append(values, "" if values.dtype == object else np.nan) for name, values in rows.items()
    }
    expected = -np.sort(-exported.model.predict_probabilities(missing), axis=1)
    feed = {signatures["classify"].inputs["inputs"].name: [*examples, b""]}
    answer = opened.run(_fetch(signatures["classify"]), feed)
    assert set(answer) == {"classes", "scores"}
    assert np.abs(answer["scores"] - expected).max() < 1e-5


def test_an_integer_in_an_example_is_refused(exported: Exported, session) -> None:
    import tensorflow as tf

    opened, signatures = session
    example = tf.train.Example()
    example.features.feature["price (JPY)"].int64_list.value.append(3)
    feed = {signatures["classify"].inputs["inputs"].name: [example.SerializeToString()]}
    with pytest.raises(tf.errors.InvalidArgumentError, match="price"):
        opened.run(_fetch(signatures["classify"]), feed)


def test_ties_are_in_class_order(tmp_path: Path) -> None:
    import tensorflow as tf

    @dataclass(frozen=True)
    class Undecided(FakeModel):
        def _weights(self) -> np.ndarray:
            return np.zeros((len(self.schema.columns), len(self.schema.classes)), np.float32)

    model = Undecided(schema_of(("a",), classes=("z", "m", "a", "k")))
    rows = rows_of(model.schema, num_rows=2)
    done = export_model(model, tmp_path, details=ManifestDetails(), examples=rows)
    loaded = tf.saved_model.load(str(done.folder))
    answer = loaded.signatures["serving_default"](f0=tf.constant([1.0]))
    assert answer["classes"].numpy().tolist() == [[b"z", b"m", b"a", b"k"]]


def test_constants_are_stored_once(tmp_path: Path) -> None:
    import tensorflow as tf

    numbers = np.random.default_rng(0).random(100_000).astype(np.float32)

    @dataclass(frozen=True)
    class Large(FakeModel):
        def module(self) -> tf.Module:
            inner = super().module()

            class Module(tf.Module):
                def __init__(self) -> None:
                    super().__init__()
                    self.inner = inner

                def __call__(self, raw: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
                    probabilities, embedding = self.inner(raw)
                    return probabilities + 0 * tf.constant(numbers)[0], embedding

            return Module()

    model = Large(schema_of(("a", "b")))
    done = export_model(model, tmp_path, details=ManifestDetails(), examples=rows_of(model.schema))
    assert numbers.nbytes < done.num_bytes < 1.5 * numbers.nbytes


def test_the_manifest_describes_the_model_and_lets_a_consumer_test_itself(exported: Exported) -> None:
    manifest = read_manifest(exported.folder)
    assert manifest.schema == exported.model.schema
    assert manifest.details.num_training_rows == 100
    assert len(manifest.examples) == 3
    for position, example in enumerate(manifest.examples):
        assert example.scores == pytest.approx(exported.expected[position], abs=1e-7)
        assert example.label == manifest.schema.classes[int(np.argmax(exported.expected[position]))]
    assert any(None in example.row.values() for example in manifest.examples)
    assert {"saved_model.pb", "assets.extra/tf_serving_warmup_requests"} <= manifest.files.keys()
    assert changed_files(exported.folder, manifest.files) == []


def test_nothing_but_the_version_is_left(exported: Exported) -> None:
    assert [path.name for path in exported.folder.parent.iterdir()] == ["1"]
    assert not (exported.folder / "fingerprint.pb").exists()


def test_versions_stand_side_by_side_and_never_change(exported: Exported, tmp_path: Path) -> None:
    shutil.copytree(exported.folder, tmp_path / "1")
    (tmp_path / ".2.999.partial").mkdir()
    (tmp_path / "notes").mkdir()
    with pytest.raises(UsageError, match=r"1 exists; a version never changes"):
        export_model(exported.model, tmp_path, details=ManifestDetails(), examples=exported.rows)
    number = next_version(tmp_path)
    done = export_model(
        exported.model, tmp_path, version=number, details=ManifestDetails(), examples=exported.rows
    )
    assert done.folder == tmp_path / "2"
    assert versions_in(tmp_path) == [1, 2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2", "notes"]


def test_a_place_that_cannot_be_written(exported: Exported, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match="the model cannot be written"):
        export_model(exported.model, tmp_path / "file", details=ManifestDetails(), examples=exported.rows)


def test_infinities_do_not_reach_the_manifest(tmp_path: Path) -> None:
    model = FakeModel(replace(schema_of(("a",))))
    rows = {"a": np.array([np.nan, np.inf, 1.0])}
    done = export_model(model, tmp_path, details=ManifestDetails(), examples=rows)
    assert done.folder is not None
    assert all(e.row["a"] in (None, 1.0) for e in read_manifest(done.folder).examples)


@pytest.mark.parametrize(
    ("limits", "said"),
    [(Limits(megabytes=0.001), "MB, at most 0.001 are wanted"), (Limits(row_ms=1e-4), "ms, at most 0.0001")],
)
def test_a_model_beyond_the_limits_is_not_published(
    exported: Exported, verifier: Verifier, tmp_path: Path, limits: Limits, said: str
) -> None:
    done = export_model(
        exported.model,
        tmp_path,
        details=ManifestDetails(),
        examples=exported.rows,
        verifier=verifier,
        limits=limits,
    )
    assert done.folder is None
    assert said in done.refusal
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("outcome", [Outcome.PASSED, Outcome.TIMED_OUT, Outcome.DIED])
def test_what_is_only_measured_is_never_published(exported: Exported, tmp_path: Path, outcome) -> None:
    found = VerificationResult(outcome, row_ms=1.0 if outcome is Outcome.PASSED else float("nan"))
    verifier = SimpleNamespace(verify=lambda *_, **__: found)
    options = {"examples": exported.rows, "verifier": verifier, "verify_seconds": 9.0}
    done = measure_model(exported.model, tmp_path, **options)
    assert (done.folder, done.verification) == (None, found)
    assert done.num_bytes > 1000
    assert not list(tmp_path.iterdir())


def test_a_limit_on_latency_is_not_kept_by_what_was_not_timed(exported: Exported, tmp_path: Path) -> None:
    verifier = SimpleNamespace(verify=lambda *_, **__: VerificationResult(Outcome.TIMED_OUT))
    for limits, refusal in (
        (Limits(row_ms=5.0), "what one row takes could not be measured, at most 5 ms are wanted"),
        (Limits(megabytes=1e6), ""),
    ):
        done = export_model(
            exported.model,
            tmp_path,
            details=ManifestDetails(),
            examples=exported.rows,
            verifier=verifier,
            limits=limits,
        )
        assert done.refusal == refusal
        assert (done.folder is None) == bool(refusal)


def test_a_full_disk_is_named_and_the_next_export_succeeds(tmp_path: Path) -> None:
    """A limit on the size of files stops TensorFlow's writers and ours at different files."""
    model = FakeModel(schema_of(("a", "b")))
    rows = rows_of(model.schema)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (0, 3000, 20_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.raises(MachineError, match=r"cannot be written \(File too large\); make room"):
                export_model(model, tmp_path, details=ManifestDetails(), examples=rows)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert list(tmp_path.iterdir()) == []
    done = export_model(model, tmp_path, details=ManifestDetails(), examples=rows)
    assert done.folder == tmp_path / "1"
    assert damage(done.folder, read_manifest(done.folder)) == ""


def test_a_model_that_is_a_little_too_large_is_said_to_be_larger_than_the_limit() -> None:
    assert Limits(megabytes=0.03).refusal(None, 31_415).startswith("it has 0.031415 MB, at most 0.03 are")
    assert Limits(megabytes=12).refusal(None, 12_345_678).startswith("it has 12.3457 MB, at most 12 are")
