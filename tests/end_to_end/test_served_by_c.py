"""A real model of mixed columns under strange headers answers a C program that holds no Python."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import assert_plain, autoflow

import autoflow as package

sys.path.insert(0, str(Path(__file__).parents[1] / "export"))
from c_probe import compiled_probe, linked_libraries, run_probe


def mixed_rows(num_rows, seed):
    generator = np.random.default_rng(seed)
    price = generator.lognormal(7, 1, num_rows).round(1)
    class_ = generator.choice(["A-1", "B 2", "ç", "日本"], num_rows)
    frame = pd.DataFrame(
        {
            "price (JPY)": np.where(generator.random(num_rows) < 0.1, np.nan, price),
            "値段": generator.integers(0, 50, num_rows),
            "class": np.where(generator.random(num_rows) < 0.1, None, class_),
            "2nd": generator.choice(["yes", "no"], num_rows),
            "listed on": pd.Timestamp("2024-01-01")
            + pd.to_timedelta(generator.integers(0, 700, num_rows), "D"),
            "title": [
                " ".join(generator.choice(["red", "blue", "Größe", "猫", "sale", "new", "old"], 6))
                for _ in range(num_rows)
            ],
        }
    )
    good = (price > 1100) ^ (class_ == "ç") ^ frame["title"].str.contains("sale")
    frame["sold?"] = np.where(good, "ja", "nein")
    return frame


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixed")
    mixed_rows(500, 0).to_csv(folder / "train.csv", index=False)
    done = autoflow(
        "fit", folder / "train.csv", "--label", "sold?", "--max-trials", 4, "--output", folder / "run"
    )
    assert_plain(done, 0)
    return package.load(folder / "run")


def test_the_c_program_agrees_with_the_predictor(model):
    fresh = mixed_rows(40, 1).drop(columns="sold?")
    fresh.loc[0] = [np.nan, np.nan, None, None, pd.NaT, None]
    fresh.loc[1, ["class", "2nd", "title"]] = ["never seen", "perhaps", "words unknown"]
    from autoflow.data.dataset import features_for
    from autoflow.data.reading import read_table

    raw = features_for(model.columns, read_table(fresh))
    answer = run_probe(model.folder, raw)
    expected = model.predict_proba(fresh)
    assert np.abs(answer.probabilities(model.manifest.schema.classes) - expected).max() < 1e-5
    assert list(answer.labels) == list(model.predict(fresh))


def test_the_c_program_holds_no_python():
    assert "libpython" not in linked_libraries(compiled_probe())


def test_rows_alone_and_in_a_batch_agree(model):
    fresh = mixed_rows(30, 2)
    together = model.predict_proba(fresh)
    alone = np.concatenate([model.predict_proba(fresh.iloc[[row]]) for row in range(len(fresh))])
    assert np.abs(together - alone).max() < 1e-6
