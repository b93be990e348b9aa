"""A component in one file outside the package is checked, searched, exported and served."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import PENGUINS, assert_plain, autoflow, autoflow_here

from autoflow.manifest import read_manifest
from autoflow.testing import check_component

FILE = Path(__file__).with_name("parity_flags.py")


def test_it_passes_the_contract_checks():
    from parity_flags import ParityFlags

    check_component(ParityFlags)


def test_it_is_searched_exported_and_served(tmp_path):
    generator = np.random.default_rng(1)
    x = generator.integers(0, 100_000, (900, 4))
    frame = pd.DataFrame(x, columns=["price (JPY)", "値段", "class", "2nd"])
    frame["kind"] = np.where(x[:, 1] % 2 == 1, "odd", "even")  # chance for whoever does not see parity
    frame.iloc[:600].to_csv(tmp_path / "train.csv", index=False)
    frame.iloc[600:].to_csv(tmp_path / "new.csv", index=False)
    done = autoflow(
        "fit", tmp_path / "train.csv", "--label", "kind", "--components", FILE, "--output", tmp_path / "run",
        "--max-trials", 4, "--time-budget", "3m",
    )  # fmt: skip
    assert_plain(done, 0)
    board = pd.read_csv(tmp_path / "run/leaderboard.csv")
    assert board["features"].str.contains("parity_flags").any()
    recipes = read_manifest(tmp_path / "run/model/1").details.recipes
    assert any(recipe.spec["feature_extraction"][0]["component"] == "parity_flags" for recipe in recipes)
    # predicting imports no component, neither ours nor theirs
    predicted = autoflow("predict", tmp_path / "run", tmp_path / "new.csv", "--output", tmp_path / "p.csv")
    assert_plain(predicted, 0)
    accuracy = (pd.read_csv(tmp_path / "p.csv")["label"] == frame["kind"].iloc[600:].to_numpy()).mean()
    assert accuracy > 0.99


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("raise RuntimeError('no such luck')", "no such luck"),
        ("def broken(:", "SyntaxError"),
        (
            "from autoflow.components.registry import register\n@register\nclass Thing: pass",
            "frozen dataclass",
        ),
    ],
)
def test_a_component_file_that_raises_is_named(tmp_path, source, words):
    path = tmp_path / "mine.py"
    path.write_text(source)
    done = autoflow_here("fit", PENGUINS, "--components", path, "--output", tmp_path / "run")
    assert_plain(done, 2)
    assert words in done.stderr
    assert not (tmp_path / "run").exists()


def test_the_catalogue_lists_it(tmp_path):
    done = autoflow("components", "feature_extraction", "--components", FILE)
    assert_plain(done, 0)
    assert "parity_flags" in done.stdout
    assert "unit: 0.5 to 2 (log), default 1.0" in done.stdout
