"""A table of every kind of column under strange headers, from the files to an answer without Python."""

import base64
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import assert_plain, autoflow, autoflow_here

import autoflow as package
from autoflow.data.dataset import features_for
from autoflow.data.reading import read_table
from autoflow.data.schema import ColumnKind
from autoflow.export.graph import model_inputs
from autoflow.testing.pictures import bmp, png

sys.path.insert(0, str(Path(__file__).parents[1] / "export"))
from c_probe import run_probe

FORMATS = Path(__file__).parents[1] / "data" / "pictures"
NUM_ROWS, NUM_NEW = 90, 30
FIT = ("--label", "good", "--time-budget", "4m", "--workers", 1)


def picture(bright: bool, generator: np.random.Generator) -> np.ndarray:
    """Returns noise on a bright or a dark ground."""
    height, width = generator.integers(12, 24, 2)
    return (generator.integers(0, 60, (height, width, 3)) + (190 if bright else 0)).astype(np.uint8)


def mixed_rows(num_rows: int, seed: int, folder: Path) -> pd.DataFrame:
    """Writes pictures and returns the rows that name them; the label needs picture and number."""
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    bright = generator.random(num_rows) < 0.5
    for row in range(num_rows):
        pixels = picture(bright[row], generator)
        (folder / f"{seed}-{row}.jpg").write_bytes((bmp if row % 3 else png)(pixels))
    price = generator.normal(0, 1, num_rows).round(3)
    words = ["red", "blue", "Größe", "猫", "sale", "new", "old"]
    frame = pd.DataFrame(
        {
            "price (JPY)": price,
            "値段": (10 * price).round().astype(int) + 50,
            "class": generator.choice(["A-1", "B 2", "ç", "日本"], num_rows),
            "2nd": np.where((price > -0.7) ^ (generator.random(num_rows) < 0.1), "yes", "no"),
            "listed on": pd.Timestamp("2024-01-01")
            + pd.to_timedelta(generator.integers(0, 700, num_rows), "D"),
            "title": [" ".join(generator.choice(words, 5)) for _ in range(num_rows)],
            "photo": [f"photos/{seed}-{row}.jpg" for row in range(num_rows)],
            "good": np.where(bright & (price > -0.7), "yes", "no"),
        }
    )
    frame.loc[3:5, "photo"] = None
    cells = frame.columns.drop(["photo", "good"])
    frame.loc[4, cells] = None  # of this row nothing is known, of the other its picture
    frame.loc[6, cells] = None
    frame.loc[10:13, ["price (JPY)", "class"]] = None
    return frame


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, Path]:
    """The run folder, what the command printed, and the folder of the training table."""
    home = tmp_path_factory.mktemp("train")
    frame = mixed_rows(NUM_ROWS, 0, home / "photos")
    (home / "photos" / "0-7.jpg").write_bytes(b"<svg/>")
    frame.to_csv(home / "train.csv", index=False)
    done = autoflow("fit", home / "train.csv", *FIT, "--max-trials", 3, "--output", home / "run")
    assert_plain(done, 0)
    return home / "run", done.stdout + done.stderr, home


@pytest.fixture(scope="module")
def model(run: tuple[Path, str, Path]) -> package.Predictor:
    return package.load(run[0])


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A table in one folder whose pictures lie below another; one of them is gone, one of a format apart.

    One row holds values that no training row had.
    """
    table, pictures = tmp_path_factory.mktemp("table"), tmp_path_factory.mktemp("far")
    frame = mixed_rows(NUM_NEW, 1, pictures / "photos")
    frame.loc[7, ["class", "2nd", "title"]] = ["never seen", "perhaps", "words unknown"]
    (pictures / "photos" / "1-8.jpg").unlink()
    shutil.copy(FORMATS / "cmyk.jpg", pictures / "photos" / "1-9.jpg")
    frame.to_csv(table / "new.csv", index=False)
    return table / "new.csv", pictures


def test_fit_reads_every_kind(run):
    _, text, _ = run
    assert "column 'photo': 1 picture counts as missing: 1 not a picture" in " ".join(text.split())
    assert "answers in a clean process as it was scored" in text
    assert text.count("] trial ") == 3


def test_the_manifest_says_that_it_is_a_picture(run):
    folder, *_ = run
    manifest = json.loads((folder / "model/1/assets.extra/autoflow.json").read_text())
    kinds = {column["name"]: column["kind"] for column in manifest["columns"]}
    assert kinds == {
        "price (JPY)": "numeric",
        "値段": "numeric",
        "class": "categorical",
        "2nd": "boolean",
        "listed on": "datetime",
        "title": "text",
        "photo": "image",
    }
    cells = [example["row"]["photo"] for example in manifest["examples"]]
    assert any(cell is not None and base64.b64decode(cell["b64"])[:2] in (b"BM", b"\x89P") for cell in cells)


def test_evaluate_and_predict_with_the_pictures_elsewhere(run, fresh, tmp_path):
    folder, *_ = run
    table, pictures = fresh
    done = autoflow("evaluate", folder, table, "--image-folder", pictures, "--json", folder=tmp_path)
    assert_plain(done, 0)
    scores = json.loads(done.stdout)
    assert scores["accuracy"] > 0.7
    assert "1 picture counts as missing: 1 not found" in " ".join(done.stderr.split())
    written = tmp_path / "p.csv"
    done = autoflow_here("predict", folder, table, "--image-folder", pictures, "--output", written)
    assert_plain(done, 0)
    answers = pd.read_csv(written)
    assert (answers["label"] == pd.read_csv(table)["good"]).mean() == pytest.approx(scores["accuracy"])


def test_the_picture_matters(model, fresh):
    table, pictures = fresh
    with_pictures = model.predict_proba(table, image_folder=pictures)
    without = model.predict_proba(table, image_folder=pictures / "photos")
    assert f"{NUM_NEW - 3} pictures count as missing" in " ".join(model.warnings_)
    assert np.abs(with_pictures - without).max() > 0.1
    np.testing.assert_allclose(with_pictures[3:6], without[3:6], atol=1e-6)


def test_paths_start_at_the_table(model, fresh):
    table, pictures = fresh
    beside = pictures / "new.csv"
    shutil.copy(table, beside)
    assert np.array_equal(model.predict_proba(beside), model.predict_proba(table, image_folder=pictures))


@pytest.mark.parametrize("command", ["fit", "evaluate", "check"])
def test_a_wrong_image_folder_is_one_line(run, fresh, command, tmp_path):
    folder, *_ = run
    table, _ = fresh
    model = [folder] if command == "evaluate" else []
    options = [*FIT, "--output", tmp_path / "run"] if command == "fit" else []
    wrong = ("--image-folder", tmp_path / "gone")
    done = autoflow_here(command, *model, table, *options, *wrong, folder=tmp_path)
    assert_plain(done, 3)
    assert "gone: there is no such folder of pictures." in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_many_broken_pictures_stop_a_fit(run, tmp_path):
    *_, home = run
    shutil.copytree(home / "photos", tmp_path / "photos")
    for row in range(10, 40):
        (tmp_path / "photos" / f"0-{row}.jpg").write_bytes(b"")
    done = autoflow_here("check", home / "train.csv", "--label", "good", "--image-folder", tmp_path)
    assert_plain(done, 3)
    assert "column 'photo': 31 of 87 pictures cannot be used (30 empty; 1 not a picture" in done.stderr
    assert "0-10.jpg" in done.stderr


# --- served ------------------------------------------------------------------------------------------


def raw_rows(model: package.Predictor, table: Path, pictures: Path) -> dict[str, np.ndarray]:
    """Returns what a client sends: bytes where there are pictures, and some that no table would hold."""
    raw = features_for(model.columns, read_table(table, image_folder=pictures))
    rows = model_inputs(model.manifest.schema, raw)
    strange = [path.read_bytes() for path in sorted(FORMATS.iterdir())] + [b"", b"\xff\xd8\xff\xe0", b"\0"]
    strange += [content[: len(content) // 2] for content in strange]
    return {
        name: np.concatenate([values, np.array(strange, object)])
        if model.manifest.schema.column(name).kind is ColumnKind.IMAGE
        else np.concatenate([values, np.resize(values, len(strange))])
        for name, values in rows.items()
    }


def test_a_fresh_tensorflow_takes_raw_bytes(run, fresh, tmp_path):
    """Over the promises of the manifest, with nothing of AutoFlow imported."""
    folder, *_ = run
    script = """
import base64, json, sys
sys.modules["autoflow"] = None  # any import of it fails
import numpy as np, tensorflow as tf
folder = sys.argv[1]
manifest = json.load(open(folder + "/assets.extra/autoflow.json"))
serve = tf.saved_model.load(folder).signatures["serving_default"]
worst = 0.0
for example in manifest["examples"]:
    feed = {}
    for column in manifest["columns"]:
        value = example["row"][column["name"]]
        if isinstance(value, dict):
            value = base64.b64decode(value["b64"])
        if column["raw_type"] == "string":
            feed[column["key"]] = tf.constant([value or ""])
        else:
            feed[column["key"]] = tf.constant([np.nan if value is None else value], column["raw_type"])
    answer = serve(**feed)
    found = dict(zip([c.decode() for c in answer["classes"][0].numpy()], answer["scores"][0].numpy()))
    worst = max(worst, *(abs(found[c] - s) for c, s in zip(manifest["classes"], example["scores"])))
print(len(manifest["examples"]), worst)
"""
    done = subprocess.run(
        [sys.executable, "-I", "-c", script, str(folder / "model/1")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    number, worst = done.stdout.split()
    assert int(number) == 3
    assert float(worst) < 1e-5


def test_the_c_program_takes_raw_bytes(model, fresh):
    rows = raw_rows(model, *fresh)
    assert any(content.startswith(b"\xff\xd8") for content in rows["photo"])
    answer = run_probe(model.folder, rows)
    expected = model.predict_raw(rows)
    assert np.isfinite(expected).all()
    table, pictures = fresh
    assert list(answer.labels[:NUM_NEW]) == list(model.predict(table, image_folder=pictures))
    assert np.abs(answer.probabilities(model.manifest.schema.classes) - expected).max() < 1e-5


def test_rows_alone_and_in_a_batch_agree(model, fresh):
    rows = raw_rows(model, *fresh)
    together = model.predict_raw(rows)
    for row in range(0, len(together), 3):
        alone = model.predict_raw({name: values[row : row + 1] for name, values in rows.items()})
        assert np.abs(alone - together[row]).max() < 1e-6


# --- a part of the next model ------------------------------------------------------------------------


def test_its_embedding_is_a_part_of_the_next_model(run, fresh, tmp_path):
    folder, *_ = run
    table, pictures = fresh
    mixed_rows(60, 2, tmp_path / "photos").to_csv(tmp_path / "other.csv", index=False)
    options = ("--max-trials", 2, "--embedding", folder / "model/1", "--output", tmp_path / "next")
    assert_plain(autoflow("fit", tmp_path / "other.csv", *FIT, *options), 0)
    model = package.load(tmp_path / "next")
    assert "saved_model_embedding" in json.dumps([dict(r.spec) for r in model.manifest.details.recipes])
    rows = raw_rows(model, table, pictures)
    answer = run_probe(model.folder, rows)
    expected = model.predict_raw(rows)
    assert np.abs(answer.probabilities(model.manifest.schema.classes) - expected).max() < 1e-5
    scores = model.evaluate(table, image_folder=pictures).to_json()
    assert scores["accuracy"] > 0.7


def test_a_model_of_the_same_rows_is_no_part(run, tmp_path):
    folder, _, home = run
    options = ("--embedding", folder / "model/1", "--output", tmp_path / "next")
    done = autoflow_here("fit", home / "train.csv", *FIT, *options)
    assert_plain(done, 4)
    assert "fitted on this very table" in done.stderr
