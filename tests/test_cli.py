"""The command line up to the search: exit codes, plain messages, quick answers."""

import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from autoflow.cli import app

PENGUINS = Path(__file__).parents[1] / "examples" / "penguins.csv"


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def rows(count=40, **columns):
    frame = {"a": np.arange(count) % 7 + 0.5, "b": ["x", "y"] * (count // 2)}
    return pd.DataFrame(frame | columns)


def zipped(folder):
    with zipfile.ZipFile(folder / "t.csv", "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("xl/workbook.xml", "<workbook/>")


def written(text):
    return lambda folder: (folder / "t.csv").write_bytes(text if isinstance(text, bytes) else text.encode())


def frame(table):
    return lambda folder: table.to_csv(folder / "t.csv", index=False)


BAD_TABLES = {
    "no file": (lambda folder: None, "t.csv"),
    "a folder": (lambda folder: (folder / "t.csv").mkdir(), "folder"),
    "zero bytes": (written(""), "empty"),
    "header only": (written("a,b,label\n"), "row"),
    "html": (written("<!DOCTYPE html><html><body>no</body></html>"), "HTML"),
    "excel": (zipped, "Excel"),
    "too many fields": (written("a,b,label\n1,2,x\n1,2,3,y\n1,2,x\n"), "line 3"),
    "unknown encoding": (written("a,label\nß,x\n".encode("latin-1") * 9), "--encoding"),
    "duplicate headers": (written("a,a,label\n1,2,x\n3,4,y\n"), "'a'"),
    "label all missing": (frame(rows(label=[""] * 40)), "label"),
    "one class": (frame(rows(label=["new"] * 40)), "one class"),
    "a class with one row": (frame(rows(label=["x"] * 20 + ["y"] * 19 + ["rare"])), "rare"),
    "a label in every row": (frame(rows(label=[f"id-{i}" for i in range(40)])), "label"),
    "nothing to learn from": (frame(pd.DataFrame({"c": [1] * 40, "label": ["x", "y"] * 20})), "column"),
}


@pytest.mark.parametrize("command", ["fit", "check"])
@pytest.mark.parametrize("case", BAD_TABLES, ids=lambda case: case.replace(" ", "-"))
def test_a_bad_table_gets_one_clear_line(tmp_path, monkeypatch, case, command):
    make, words = BAD_TABLES[case]
    make(tmp_path)
    monkeypatch.chdir(tmp_path)
    result = run(command, tmp_path / "t.csv")
    assert result.exit_code == 3, result.output
    assert words.lower() in result.stderr.lower()
    assert 1 <= len(result.stderr.strip().splitlines()) <= 2
    assert "Traceback" not in result.output
    assert not (tmp_path / "t-autoflow").exists()


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

    assert min(seconds() for _ in range(3)) < limit
