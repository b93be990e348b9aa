"""Figures are told with the rows that they come from, those to rely on first."""

import io
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from autoflow.builder import ModelBuilder
from autoflow.data.dataset import load_dataset
from autoflow.export import verify
from autoflow.export.verify import VerificationResult
from autoflow.finished import FinishedModel
from autoflow.report.figures import told_figures
from autoflow.report.terminal import show_model
from autoflow.run import RunReport

VALIDATION = {"log_loss": 0.25, "roc_auc": 0.75, "num_rows": 40}
OTHERS = {"log_loss": 0.5, "log_loss_standard_error": 0.0625, "num_rows": 20}
CASES = [
    ("set_aside", "on rows set aside before the search"),
    ("cross_chosen", "on held-out rows, each predicted by a choice among the trials that other rows made"),
]


def report(scores, metric="log_loss"):
    folder = Path("run/model/1")
    model = FinishedModel(folder, (), True, scores, VerificationResult(verify.Outcome.PASSED, row_ms=0.5), 1)
    schema = load_dataset(pd.DataFrame({"x": [0.5, 1.5] * 20, "label": ["a", "b"] * 20}))[0].schema
    return RunReport(folder, model, schema, (), metric, (), 1.0)


@pytest.mark.parametrize(("name", "words"), CASES)
def test_the_flattering_figures_come_second(name, words):
    scores = {"validation": VALIDATION, "class_shares": {"log_loss": 0.7}, name: OTHERS}
    assert told_figures(scores)[0] == (OTHERS, words)
    console = Console(width=300, record=True, file=io.StringIO())
    show_model(console, report(scores))
    lines = [line.strip() for line in console.export_text().splitlines() if "log_loss 0" in line]
    assert lines == [
        f"log_loss 0.5000 ± 0.0625 ({words}, 20 rows)",
        "log_loss 0.2500, roc_auc 0.7500 (on held-out rows, which chose and calibrated the model and so "
        "flatter it, 40 rows)",
    ]


def test_a_notebook_shows_the_first_figure_that_there_is():
    builder = ModelBuilder()
    builder.report_ = report({"validation": VALIDATION, "cross_chosen": OTHERS})
    assert f"log_loss 0.5000 {CASES[1][1]}" in builder._repr_html_()
    builder.report_ = report({"validation": VALIDATION, "cross_chosen": OTHERS}, metric="roc_auc")
    assert "roc_auc 0.7500 on held-out rows, which chose" in builder._repr_html_()
