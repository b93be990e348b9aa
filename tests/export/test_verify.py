from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_model import Exported, FakeModel, rows_of, schema_of

from autoflow.export import verify
from autoflow.export.saved_model import export_model
from autoflow.export.verify import Outcome, Verifier
from autoflow.manifest import MANIFEST_PATH, MAX_RANKED, ManifestDetails
from autoflow.serving.predictor import load


def test_a_good_export_passes(exported: Exported) -> None:
    found = exported.verification
    assert found.ok
    assert found.message == "the exported model answers in a clean process as it was scored"
    assert found.num_rows == len(exported.expected)
    assert found.max_difference <= 1e-5
    assert found.max_row_difference <= 1e-6
    assert 0 < found.row_ms < 20


def test_other_probabilities_are_refuted_and_not_published(verifier: Verifier, tmp_path: Path) -> None:
    class Boasting(FakeModel):
        def predict_probabilities(self, raw):
            return super().predict_probabilities(raw) ** 1.001

    model = Boasting(schema_of(("値段", "class")))
    rows = rows_of(model.schema, num_rows=5)
    done = export_model(model, tmp_path, details=ManifestDetails(), examples=rows, verifier=verifier)
    assert done.folder is None
    assert list(tmp_path.iterdir()) == []
    assert done.verification is not None
    assert done.verification.outcome is Outcome.DIFFERENT
    assert done.verification.outcome.refutes
    assert "the rows differ by" in done.verification.message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda schema: replace(schema, columns=schema.columns[1:]), "the inputs are not the raw columns"),
        (lambda schema: replace(schema, classes=("no", "perhaps", "yes")), "the classes of an answer"),
    ],
)
def test_another_schema_is_refuted(exported: Exported, verifier: Verifier, change, words: str) -> None:
    found = verifier.verify(exported.folder, change(exported.model.schema), exported.rows, exported.expected)
    assert found.outcome is Outcome.DIFFERENT
    assert words in found.detail


def test_changed_weights_are_refuted(exported: Exported, verifier: Verifier, tmp_path: Path) -> None:
    other = FakeModel(exported.model.schema, seed=1)
    done = export_model(other, tmp_path, details=ManifestDetails(), examples=exported.rows)
    assert done.folder is not None
    folder = shutil.copytree(exported.folder, tmp_path / "changed")
    shutil.copytree(done.folder / "variables", folder / "variables", dirs_exist_ok=True)
    found = verifier.verify(folder, exported.model.schema, exported.rows, exported.expected)
    assert found.outcome is Outcome.DIFFERENT


def test_damaged_files_are_refuted(exported: Exported, verifier: Verifier, tmp_path: Path) -> None:
    folder = shutil.copytree(exported.folder, tmp_path / "1")
    warmup = folder / "assets.extra" / "tf_serving_warmup_requests"
    warmup.write_bytes(warmup.read_bytes()[:-10])
    found = verifier.verify(folder, exported.model.schema, exported.rows, exported.expected)
    assert found.detail == "the warm-up file is cut off"
    (folder / "saved_model.pb").write_bytes(b"\x08\x01no graph")
    found = verifier.verify(folder, exported.model.schema, exported.rows, exported.expected)
    assert found.outcome is Outcome.BROKEN
    assert found.outcome.refutes


def test_a_process_that_cannot_start_dies_or_hangs_is_an_outcome(
    exported: Exported, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def outcome(script: str, python: str = sys.executable) -> verify.VerificationResult:
        path = tmp_path / "script.py"
        path.write_text(script)
        monkeypatch.setattr(verify, "_SCRIPT", path)
        monkeypatch.setattr(sys, "executable", python)
        with Verifier() as process:
            return process.verify(
                exported.folder, exported.model.schema, exported.rows, exported.expected, timeout_seconds=1.0
            )

    died = outcome("import sys; sys.exit('no memory')")
    assert died.outcome is Outcome.DIED
    assert "exit code 1; no memory" in died.message
    assert outcome("import time; time.sleep(60)").outcome is Outcome.TIMED_OUT
    assert outcome("print('what?'); input()").outcome is Outcome.DIED
    missing = outcome("", python=str(tmp_path / "no-python"))
    assert missing.outcome is Outcome.NOT_STARTED
    assert "no-python" in missing.detail
    assert not any(found.refutes for found in (died.outcome, missing.outcome))


def test_an_unjudged_model_is_published(
    exported: Exported, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(verify, "_SCRIPT", tmp_path / "no-script.py")
    with Verifier() as process:
        done = export_model(
            exported.model,
            tmp_path / "m",
            details=ManifestDetails(),
            examples=exported.rows,
            verifier=process,
        )
    assert done.folder == tmp_path / "m" / "1"
    assert done.verification is not None
    assert done.verification.outcome is Outcome.DIED


def test_the_process_ends_with_its_owner(tmp_path: Path) -> None:
    verifier = Verifier().start()
    process = verifier._process
    assert process is not None
    assert os.getpgid(process.pid) != os.getpgrp()
    verifier.close()
    verifier.close()
    assert process.returncode is not None


def test_the_clean_process_cannot_import_autoflow() -> None:
    script = Path(verify.__file__).with_name("clean_process.py")
    code = (
        f"import runpy, sys; space = runpy.run_path({str(script)!r}); sys.path += {verify._search_path()!r}; "
        "import autoflow.errors; del sys.modules['autoflow.errors'], sys.modules['autoflow']; "
        "sys.meta_path.insert(0, space['_Forbidding']())\n"
        "try:\n    import autoflow.errors\nexcept ModuleNotFoundError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "autoflow may not be imported here\n", done.stderr


def test_single_rows_are_compared_with_the_batch(tmp_path: Path, verifier: Verifier) -> None:
    class Leaking(FakeModel):
        """Its rows influence each other in the graph."""

        def module(self):
            import tensorflow as tf

            inner = super().module()

            class Module(tf.Module):
                def __init__(self) -> None:
                    super().__init__()
                    self.inner = inner

                def __call__(self, raw):
                    size = tf.cast(tf.shape(next(iter(raw.values())))[0], tf.float32)
                    probabilities, embedding = self.inner(raw)
                    return probabilities + (1 - size / 4) * tf.constant([[1e-3, -1e-3, 0]]), embedding

            return Module()

    model = Leaking(schema_of(("a", "b")))
    rows = rows_of(model.schema, num_rows=4)
    done = export_model(model, tmp_path, details=ManifestDetails(), examples=rows, verifier=verifier)
    assert done.verification is not None
    assert done.verification.outcome is Outcome.DIFFERENT
    assert "alone and in a batch" in done.verification.detail
    assert np.allclose(model.predict_probabilities(rows).sum(axis=1), 1)


@pytest.mark.parametrize(
    ("flaw", "words"), [("batch", "alone and in a batch"), ("nan", "no vector of finite numbers")]
)
def test_embeddings_are_checked(tmp_path: Path, verifier: Verifier, flaw: str, words: str) -> None:
    class Flawed(FakeModel):
        """Its embedding depends on the other rows, or is not a number in one of them."""

        def module(self):
            import tensorflow as tf

            inner = super().module()

            class Module(tf.Module):
                def __init__(self) -> None:
                    super().__init__()
                    self.inner = inner

                def __call__(self, raw):
                    probabilities, embedding = self.inner(raw)
                    size = tf.cast(tf.shape(embedding)[0], tf.float32)
                    return probabilities, embedding + (size if flaw == "batch" else embedding * np.inf)

            return Module()

    model = Flawed(schema_of(("a", "b")))
    done = export_model(
        model,
        tmp_path,
        details=ManifestDetails(),
        examples=rows_of(model.schema, num_rows=4),
        verifier=verifier,
    )
    assert done.folder is None
    assert done.verification is not None
    assert done.verification.outcome is Outcome.DIFFERENT
    assert "embedding" in done.verification.detail
    assert words in done.verification.detail


MANY = tuple(f"class {number}" for number in range(MAX_RANKED + 30))


def test_many_classes_are_cut_to_the_most_probable(tmp_path: Path, verifier: Verifier) -> None:
    model = FakeModel(schema_of(("a", "b"), classes=MANY))
    rows = rows_of(model.schema)
    expected = model.predict_probabilities(rows)
    done = export_model(
        model, tmp_path / "model", details=ManifestDetails(), examples=rows, verifier=verifier
    )
    assert done.verification is not None
    assert done.verification.outcome is Outcome.PASSED, done.verification.detail
    assert done.folder is not None
    text = (done.folder / MANIFEST_PATH).read_text()
    assert json.loads(text)["num_ranked"] == MAX_RANKED
    assert len(json.loads(text)["examples"][0]["scores"]) == len(MANY)
    found = load(tmp_path).predict_raw(rows)
    assert found.shape == expected.shape
    assert np.abs(found.sum(axis=1) - 1).max() < 1e-5
    order = np.argsort(-expected, axis=1, kind="stable")
    ranked, left_out = order[:, :MAX_RANKED], order[:, MAX_RANKED:]
    difference = np.take_along_axis(found, ranked, 1) - np.take_along_axis(expected, ranked, 1)
    assert np.abs(difference).max() < 1e-5
    rest = np.take_along_axis(found, left_out, 1)
    assert np.ptp(rest, axis=1).max() == 0
    assert (rest <= np.take_along_axis(found, ranked, 1).min(axis=1, keepdims=True)).all()


def test_a_probable_class_that_is_left_out_is_seen(tmp_path: Path, verifier: Verifier) -> None:
    class Hiding(FakeModel):
        """Scored with more probability for the classes that its graph finds least likely."""

        def predict_probabilities(self, raw):
            found = super().predict_probabilities(raw)
            last = np.argsort(-found, axis=1, kind="stable")[:, -1:]
            np.put_along_axis(found, last, 0.5, axis=1)
            return found

    model = Hiding(schema_of(("a", "b"), classes=MANY))
    rows = rows_of(model.schema)
    done = export_model(model, tmp_path, details=ManifestDetails(), examples=rows, verifier=verifier)
    assert done.folder is None
    assert done.verification is not None
    assert "leaves out classes" in done.verification.detail
