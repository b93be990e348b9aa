from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_model import Served

from autoflow.errors import DataError, NoModelError, UsageError
from autoflow.export.saved_model import export_model
from autoflow.manifest import ManifestDetails, hash_files, read_manifest, write_manifest
from autoflow.serving import predictor as module
from autoflow.serving.predictor import Predictor, find_version, load


@pytest.fixture(scope="module")
def predictor(served: Served) -> Predictor:
    return load(served.run)


def test_finds_the_largest_version_of_a_run_or_model_folder(served: Served) -> None:
    newest = served.run / "model" / "10"
    assert find_version(served.run) == find_version(served.run / "model") == find_version(newest) == newest
    assert find_version(served.run / "model" / "2").name == "2"


def test_answers_as_the_model(served: Served, predictor: Predictor) -> None:
    found = predictor.predict_proba(served.table)
    assert found.dtype == np.float32
    assert np.abs(found - served.expected).max() < 1e-6
    assert predictor.classes_.tolist() == [3, 10, 200]
    assert (
        predictor.predict(served.table).tolist()
        == predictor.classes_[served.expected.argmax(axis=1)].tolist()
    )
    assert predictor.label == "2nd"
    assert [column.name for column in predictor.columns] == ["price (JPY)", "<b>色</b>", "serial, no."]


def test_embeds_rows(served: Served, predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = predictor.embed(served.table)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(served.table), predictor.manifest.embedding_size)
    assert len(np.unique(vectors, axis=0)) > 1
    monkeypatch.setattr("autoflow.serving.predictor._BATCH_ROWS", 3)
    assert np.array_equal(predictor.embed(served.table), vectors)


def test_a_model_without_embeddings_says_so(served: Served, predictor: Predictor, tmp_path: Path) -> None:
    from tensorflow.core.protobuf import saved_model_pb2

    older = tmp_path / "1"
    shutil.copytree(predictor.folder, older)
    path = older / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    del model.meta_graphs[0].signature_def["embed"]
    path.write_bytes(model.SerializeToString())
    manifest = read_manifest(older)
    write_manifest(replace(manifest, files=hash_files(older), embedding_size=0), older)
    loaded = load(older)
    assert np.array_equal(loaded.predict_proba(served.table), predictor.predict_proba(served.table))
    with pytest.raises(NoModelError, match="no signature 'embed'"):
        loaded.embed(served.table)


def test_a_file_gives_what_the_frame_gives(served: Served, predictor: Predictor, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    served.table.to_csv(path, index=False)
    assert np.array_equal(predictor.predict_proba(path), predictor.predict_proba(served.table))
    assert np.array_equal(predictor.predict_proba(str(path)), predictor.predict_proba(served.table))


def test_batches_do_not_show(served: Served, predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = predictor.predict_proba(served.table)
    monkeypatch.setattr(module, "_BATCH_ROWS", 3)
    assert np.abs(predictor.predict_proba(served.table) - whole).max() <= 1e-6


def test_the_table_of_answers(served: Served, predictor: Predictor) -> None:
    answers = predictor.predict_table(served.table)
    assert list(answers) == ["label", "score", "score_3", "score_10", "score_200"]
    assert answers.index.tolist() == served.table.index.tolist()
    assert answers["label"].tolist() == [str(label) for label in predictor.predict(served.table)]
    assert np.allclose(answers["score"], served.expected.max(axis=1), atol=1e-6)
    assert np.allclose(answers[["score_3", "score_10", "score_200"]].sum(axis=1), 1)


@pytest.mark.parametrize(
    ("label_type", "classes", "expected"),
    [
        ("string", ("a", "b"), ["a", "b"]),
        ("integer", ("-1", "7"), [-1, 7]),
        ("float", ("0.5", "1"), [0.5, 1.0]),
        ("boolean", ("False", "True"), [False, True]),
        ("boolean", ("off", "on"), ["off", "on"]),
    ],
)
def test_classes_have_the_type_of_the_labels(served, predictor, label_type, classes, expected) -> None:
    schema = replace(predictor.manifest.schema, classes=classes, label_type=label_type)
    typed = Predictor(
        predictor.folder, replace(predictor.manifest, schema=schema), predictor._session
    ).classes_
    assert typed.tolist() == expected
    assert [type(value) for value in typed.tolist()] == [type(value) for value in expected]


def test_a_missing_column_is_named(served: Served, predictor: Predictor) -> None:
    table = served.table.rename(columns={"price (JPY)": "price (YEN)"})
    message = r"the DataFrame: .*'price \(JPY\)' is missing; the table has .*'price \(YEN\)'"
    with pytest.raises(DataError, match=message):
        predictor.predict(table)
    with pytest.raises(DataError, match=r"'price \(JPY\)', .* are missing"):
        predictor.predict(pd.DataFrame({"x": [1]}))


def test_unreadable_cells_are_counted_and_missing(
    served: Served, predictor: Predictor, caplog: pytest.LogCaptureFixture
) -> None:
    garbled = served.table.astype({"price (JPY)": object})
    garbled.loc[[7, 5], "price (JPY)"] = ["cheap", "?!"]
    with caplog.at_level(logging.WARNING):
        found = predictor.predict_proba(garbled)
    (warning,) = predictor.warnings_
    assert warning.startswith("the DataFrame: column 'price (JPY)': 2 of 4 cells hold no number")
    assert warning in caplog.text
    missing = served.table.copy()
    missing.loc[[7, 5], "price (JPY)"] = np.nan
    assert np.array_equal(found, predictor.predict_proba(missing))
    assert predictor.warnings_ == ()


def test_html_escapes_what_users_wrote(predictor: Predictor) -> None:
    html = predictor._repr_html_()
    assert "<b>" not in html
    assert "&lt;b&gt;色&lt;/b&gt;" in html
    assert "0.875" in html
    assert "3 columns" in repr(predictor)


@pytest.mark.parametrize("name", ["saved_model.pb", "variables/variables.index"])
def test_a_changed_file_is_refused(served: Served, tmp_path: Path, name: str) -> None:
    folder = shutil.copytree(served.run / "model" / "10", tmp_path / "1")
    with (folder / name).open("ab") as file:
        file.write(b"\x00")
    with pytest.raises(NoModelError, match=rf"1: {name} is missing or not the file that was exported"):
        load(folder)


def test_the_servers_own_files_may_change(served: Served, tmp_path: Path) -> None:
    folder = shutil.copytree(served.run / "model" / "10", tmp_path / "1")
    (folder / "assets.extra" / "tf_serving_warmup_requests").unlink()
    assert np.abs(load(folder).predict_proba(served.table) - served.expected).max() < 1e-6


def test_no_model(tmp_path: Path, served: Served) -> None:
    with pytest.raises(UsageError, match="there is no such folder"):
        load(tmp_path / "nowhere")
    with pytest.raises(NoModelError, match="there is no exported model here"):
        load(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(NoModelError, match=r"no model that AutoFlow exported"):
        load(tmp_path)
    manifest = read_manifest(served.run / "model" / "10")
    write_manifest(replace(manifest, files={}), tmp_path)
    with pytest.raises(NoModelError, match=r"saved_model.pb is missing or not the file that was exported"):
        load(tmp_path)
    write_manifest(replace(manifest, files=hash_files(tmp_path)), tmp_path)
    with pytest.raises(NoModelError, match=r"TensorFlow .* cannot load the model"):
        load(tmp_path)


def test_a_manifest_of_other_columns_is_refused(served: Served, tmp_path: Path) -> None:
    folder = shutil.copytree(served.run / "model" / "10", tmp_path / "1")
    manifest = read_manifest(folder)
    columns = tuple(replace(column, name=column.name + "!") for column in manifest.schema.columns)
    write_manifest(replace(manifest, schema=replace(manifest.schema, columns=columns)), folder)
    with pytest.raises(NoModelError, match=r"its inputs are not the columns of its manifest"):
        load(folder)


def test_imports_no_component_and_says_nothing(served: Served, tmp_path: Path) -> None:
    served.table.to_csv(tmp_path / "rows.csv", index=False)
    code = (
        "import sys; from autoflow.serving.predictor import load\n"
        f"print(load({str(served.run)!r}).predict({str(tmp_path / 'rows.csv')!r}).tolist())\n"
        "heavy = ('autoflow.components', 'autoflow.pipeline', 'autoflow.export', 'lightgbm', 'ray')\n"
        "print([name for name in sys.modules if name.startswith(heavy)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    expected = np.array([3, 10, 200])[served.expected.argmax(axis=1)].tolist()
    assert done.stdout == f"{expected}\n[]\n", done.stderr
    assert done.stderr == ""


def test_new_versions_do_not_disturb_a_loaded_one(
    served: Served, predictor: Predictor, tmp_path: Path
) -> None:
    shutil.copytree(served.run / "model" / "10", tmp_path / "1")
    loaded = load(tmp_path)
    other = replace(served.model, seed=5)
    raw = {column.name: np.array([""] if column.raw_type == "string" else [1.0]) for column in loaded.columns}
    raw = {
        name: values.astype(object) if values.dtype.kind == "U" else values for name, values in raw.items()
    }
    export_model(other, tmp_path, version=2, details=ManifestDetails(), examples=raw)
    assert np.array_equal(loaded.predict_proba(served.table), predictor.predict_proba(served.table))
    assert not np.array_equal(
        load(tmp_path).predict_proba(served.table), predictor.predict_proba(served.table)
    )


def test_evaluates_rows_with_labels(served: Served, predictor: Predictor, tmp_path: Path) -> None:
    best = predictor.predict(served.table)
    right = served.table.assign(**{"2nd": best})
    assert predictor.evaluate(right).accuracy == 1.0
    labels = [str(best[0]), "", "77", str(best[3])]
    path = tmp_path / "labelled.csv"
    served.table.assign(**{"2nd": labels}).to_csv(path, index=False)
    scores = predictor.evaluate(path)
    assert (scores.num_rows, scores.unknown_labels) == (3, 1)
    assert scores.accuracy == pytest.approx(2 / 3)
    with pytest.raises(DataError, match="label column '2nd' is missing"):
        predictor.evaluate(served.table)
    with pytest.raises(DataError, match="label column '2nd' is empty"):
        predictor.evaluate(served.table.assign(**{"2nd": None}))


def test_reads_other_encodings(served: Served, predictor: Predictor, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(served.table.to_csv(index=False).encode("utf-16-le"))
    assert np.array_equal(predictor.predict(path, encoding="utf-16-le"), predictor.predict(served.table))
