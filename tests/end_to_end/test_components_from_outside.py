"""A component in one file outside the package is checked, searched, exported and served."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import PENGUINS, assert_plain, autoflow

from autoflow.manifest import read_manifest
from autoflow.testing import check_component

FILE = Path(__file__).with_name("product_sign.py")


def test_it_passes_the_contract_checks():
    from product_sign import PairProducts

    check_component(PairProducts)


def test_it_is_searched_exported_and_served(tmp_path):
    generator = np.random.default_rng(1)
    x = generator.normal(size=(900, 4))
    frame = pd.DataFrame(x, columns=["price (JPY)", "値段", "class", "2nd"])
    frame["kind"] = np.where(x[:, 0] * x[:, 3] > 0, "same", "differs")
    frame.iloc[:600].to_csv(tmp_path / "train.csv", index=False)
    frame.iloc[600:].to_csv(tmp_path / "new.csv", index=False)
    # enough trials to get past the opening portfolio, at whose end unlisted components stand
    done = autoflow(
        "fit", tmp_path / "train.csv", "--label", "kind", "--components", FILE, "--output", tmp_path / "run",
        "--max-trials", 20, "--time-budget", "3m",
    )  # fmt: skip
    assert_plain(done, 0)
    board = pd.read_csv(tmp_path / "run/leaderboard.csv")
    assert board["features"].str.contains("pair_products").any()
    recipe = read_manifest(tmp_path / "run/model/1").details.recipes[0].spec
    assert recipe["feature_extraction"][0]["component"] == "pair_products"
    # predicting imports no component, neither ours nor theirs
    predicted = autoflow("predict", tmp_path / "run", tmp_path / "new.csv", "--output", tmp_path / "p.csv")
    assert_plain(predicted, 0)
    accuracy = (pd.read_csv(tmp_path / "p.csv")["label"] == frame["kind"].iloc[600:].to_numpy()).mean()
    assert accuracy > 0.93


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
    done = autoflow("fit", PENGUINS, "--components", path, "--output", tmp_path / "run")
    assert_plain(done, 2)
    assert words in done.stderr
    assert not (tmp_path / "run").exists()


def test_the_catalogue_lists_it(tmp_path):
    done = autoflow("components", "feature_extraction", "--components", FILE)
    assert_plain(done, 0)
    assert "pair_products" in done.stdout
    assert "scale: 0.1 to 10 (log), default 1.0" in done.stdout
