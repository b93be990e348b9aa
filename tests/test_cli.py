"""The command line up to the search: exit codes, plain messages, quick answers."""

import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from autoflow.cli import app

PENGUINS = Path(__file__).parents[1] / "examples" / "penguins.csv"


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--label", "Specie"], 3, "'Species'"),
        (["--metric", "logloss"], 2, "'log_loss'"),
        (["--time-budget", "soon"], 2, "90s, 5m"),
        (["--time-budget", "0s"], 2, "positive"),
        (["--workers", "4000"], 5, "4000"),
        (["--components", "nowhere.py"], 2, "nowhere.py"),
        (["--encoding", "klingon"], 2, "klingon"),
        (["--no-such-option"], 2, "error: no such option: --no-such-option"),
        (["--time-budget"], 2, "error: option '--time-budget' requires an argument; see "),
        (["--max-trials", "many"], 2, "'--max-trials'"),
        (["surplus"], 2, "surplus"),
        (["--output", str(PENGUINS)], 2, "--output"),
        (["--output", str(PENGUINS.parent)], 2, "--output"),
    ],
)
def test_a_wrong_option_gets_one_clear_line(tmp_path, monkeypatch, options, code, words):
    monkeypatch.chdir(tmp_path)
    result = run("fit", PENGUINS, *options)
    assert result.exit_code == code, result.output
    assert words in result.stderr
    lines = [line for line in result.stderr.splitlines() if not line.startswith("warning: ")]
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("species", "said"), [("gentoo", "none of the labels in 'Species' is a class"), ("", "is empty")]
)
def test_a_table_for_scoring_without_a_label_of_the_model_is_refused_before_the_search(
    tmp_path, species, said
):
    test = tmp_path / "test.csv"
    pd.read_csv(PENGUINS).head(20).assign(Species=species).to_csv(test, index=False)
    result = run("fit", PENGUINS, "--test", test, "--output", tmp_path / "run", "--max-trials", "1")
    assert result.exit_code == 3, result.output
    assert said in result.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["fit", "check"])
def test_a_missing_argument_gets_one_clear_line(command):
    result = run(command)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: missing argument 'DATA'")
    assert len(result.stderr.strip().splitlines()) == 1


def test_no_arguments_show_the_help():
    result = run()
    assert result.exit_code == 0
    assert "predict" in result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize("command", [["fit", PENGUINS], ["components"]])
def test_a_component_file_without_a_component_says_how_to_register_one(tmp_path, command):
    path = tmp_path / "mine.py"
    path.write_text("from autoflow.components.base import Classifier\nclass Mine(Classifier): pass\n")
    for _ in range(2):  # nothing of a refused file may stay behind
        result = run(*command, "--components", path)
        assert result.exit_code == 2
        assert "mine.py registers no component" in result.stderr
        assert "@register" in result.stderr


def test_check_shows_kinds_with_reasons_and_accepts():
    result = run("check", PENGUINS)
    assert result.exit_code == 0, result.output
    for word in (
        "Culmen Length (mm)",
        "numeric",
        "datetime",
        "categorical",
        "left out",
        "3 classes: Adelie Penguin",
        "accepts",
    ):
        assert word in result.output
    assert result.output.count("'Species'") == 1


@pytest.mark.parametrize(
    "arguments", [["predict", "none", PENGUINS], ["fit", PENGUINS, "--embedding", "none"]]
)
def test_a_model_folder_that_is_not_there_is_wrong_usage_and_an_empty_one_no_model(
    tmp_path, monkeypatch, arguments
):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == 2
    assert "none: there is no such folder" in result.stderr
    (tmp_path / "none").mkdir()
    result = run(*arguments)
    assert result.exit_code == 4
    assert "none: there is no exported model here" in result.stderr


def test_predictions_go_to_known_formats_only(tmp_path):
    result = run("predict", tmp_path, PENGUINS, "--output", tmp_path / "p.xlsx")
    assert result.exit_code == 2
    assert ".parquet" in result.stderr


def test_an_unknown_role_is_answered_with_the_known_ones():
    result = run("components", "classifiers")
    assert result.exit_code == 2
    assert "classification" in result.stderr


@pytest.mark.parametrize(("arguments", "limit"), [(["--help"], 0.5), (["check", str(PENGUINS)], 2.0)])
def test_help_and_check_answer_at_once(arguments, limit):
    def seconds():
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "autoflow.cli", *arguments], check=True, capture_output=True)
        return time.perf_counter() - started

    assert any(seconds() < limit for _ in range(3))
