"""From a strange CSV to a served answer through the real command line."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from commands import (
    NEW_PENGUINS,
    PENGUIN_OPTIONS,
    PENGUINS,
    assert_plain,
    autoflow,
    autoflow_here,
    without_network,
)

from autoflow.manifest import read_manifest


def test_fit_says_what_it_saw_and_what_came_out(penguin_run):
    folder, text = penguin_run
    assert "275 rows" in text
    assert "'Species'" in text
    assert text.count("] trial ") == 4
    assert "Leaderboard" in text
    assert str(folder / "model" / "1") in text
    assert "autoflow predict" in text
    assert "tensorflow_model_server" in text
    assert "answers in a clean process as it was scored" in text
    board = pd.read_csv(folder / "leaderboard.csv")
    assert len(board) == 4
    assert board["score"].dropna().is_monotonic_increasing


def test_no_temporary_file_of_a_run_is_left(penguin_run, temporary_files):
    assert list(temporary_files.iterdir()) == []


def test_a_whole_run_needs_no_network(penguin_run):
    if not without_network():
        pytest.skip("this machine lets nobody have a network namespace of their own")
    folder, _ = penguin_run  # ran where the loopback interface is the only one
    assert (folder / "model/1/saved_model.pb").exists()


def test_predict_writes_labels_and_scores_in_the_order_of_the_rows(penguin_run, tmp_path):
    folder, _ = penguin_run
    assert_plain(autoflow("predict", folder, NEW_PENGUINS, "--output", tmp_path / "p.csv"), 0)
    again = ("predict", folder / "model/1", NEW_PENGUINS, "--output", tmp_path / "p.parquet")
    assert_plain(autoflow_here(*again), 0)
    table, again = pd.read_csv(tmp_path / "p.csv"), pd.read_parquet(tmp_path / "p.parquet")
    truth = pd.read_csv(NEW_PENGUINS)["Species"]
    assert (table["label"] == truth).mean() > 0.9
    scores = table.filter(like="score_").to_numpy()
    assert scores.shape == (len(truth), 3)
    assert np.allclose(scores.sum(axis=1), 1, atol=1e-4)
    assert (table["label"] == again["label"]).all()
    assert np.allclose(scores, again.filter(like="score_"), atol=1e-6)


def test_evaluate_agrees_with_predict(penguin_run, tmp_path):
    folder, _ = penguin_run
    done = autoflow("evaluate", folder, NEW_PENGUINS, "--json")
    assert_plain(done, 0)
    scores = json.loads(done.stdout)
    predicted = autoflow_here("predict", folder, NEW_PENGUINS)
    (tmp_path / "p.csv").write_text(predicted.stdout)
    table, truth = pd.read_csv(tmp_path / "p.csv"), pd.read_csv(NEW_PENGUINS)["Species"]
    assert scores["accuracy"] == pytest.approx((table["label"] == truth).mean())
    chosen = np.array([table[f"score_{name}"][row] for row, name in enumerate(truth)])
    assert scores["log_loss"] == pytest.approx(-np.log(chosen).mean(), abs=1e-4)
    assert np.sum(scores["confusion"]) == len(truth)


def test_the_exported_model_serves_raw_rows_without_autoflow(penguin_run):
    """A clean process with TensorFlow alone gives what the manifest promises, missing values included."""
    folder, _ = penguin_run
    script = """
import json, sys
sys.modules["autoflow"] = None  # any import of it fails
import numpy as np, tensorflow as tf
folder = sys.argv[1]
manifest = json.load(open(folder + "/assets.extra/autoflow.json"))
with tf.compat.v1.Session(graph=tf.Graph()) as session:
    meta = tf.compat.v1.saved_model.loader.load(session, ["serve"], folder)
    signature = meta.signature_def["serving_default"]
    worst = 0.0
    for example in manifest["examples"]:
        feed = {}
        for name, spec in signature.inputs.items():
            value = example["row"][name]
            if tf.dtypes.as_dtype(spec.dtype) == tf.string:
                feed[spec.name] = np.array([value or ""], object)
            else:
                feed[spec.name] = np.array([np.nan if value is None else value])
        out = session.run({k: v.name for k, v in signature.outputs.items()}, feed)
        found = dict(zip([c.decode() for c in out["classes"][0]], out["scores"][0]))
        worst = max(worst, max(abs(found[c] - s) for c, s in zip(manifest["classes"], example["scores"])))
        assert list(out["scores"][0]) == sorted(out["scores"][0], reverse=True)
print(worst)
"""
    done = subprocess.run(
        [sys.executable, "-I", "-c", script, str(folder / "model/1")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(done.stdout) < 1e-5


def test_a_finished_run_is_not_searched_again(penguin_run):
    folder, _ = penguin_run
    done = autoflow_here("fit", PENGUINS, *PENGUIN_OPTIONS, "--output", folder)
    assert_plain(done, 0)
    assert "search is finished" in done.stdout
    assert "] trial " not in done.stdout
    assert [path.name for path in (folder / "model").iterdir()] == ["1"]


def test_the_manifest_tells_the_whole_story(penguin_run):
    folder, _ = penguin_run
    manifest = read_manifest(folder / "model/1")
    assert manifest.schema.label == "Species"
    figures = manifest.details.metrics
    assert figures["validation"]["log_loss"] < 0.5 < figures["class_shares"]["log_loss"]
    assert manifest.details.num_training_rows == 275
    assert {"studyName", "Region", "Stage"} & {column.name for column in manifest.schema.dropped}


def test_another_table_in_the_same_folder_is_refused(penguin_run, tmp_path):
    folder, _ = penguin_run
    other = tmp_path / "other.csv"
    other.write_text("".join(PENGUINS.read_text().splitlines(keepends=True)[:200]))
    done = autoflow_here("fit", other, "--output", folder)
    assert_plain(done, 2)
    assert "another run" in done.stderr
    assert "--output" in done.stderr


def test_prediction_data_that_lacks_a_column_is_refused(penguin_run, tmp_path):
    folder, _ = penguin_run
    pd.read_csv(NEW_PENGUINS).drop(columns="Island").to_csv(tmp_path / "less.csv", index=False)
    done = autoflow_here("predict", folder, tmp_path / "less.csv")
    assert_plain(done, 3)
    assert "'Island'" in done.stderr
