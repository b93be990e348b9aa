"""The end of a run: what is noted about the model and survives a repeated command."""

import io
from dataclasses import replace

import pandas as pd
import pytest
from rich.console import Console

from autoflow.data.dataset import load_dataset
from autoflow.export.verify import Outcome, VerificationResult
from autoflow.finish import FinishedModel, remember, remembered, told_contributions
from autoflow.report.terminal import show_report
from autoflow.run import RunReport
from autoflow.search.events import Warned
from autoflow.search.ledger import Ledger

SHARES = {"[title]": 0.75, "price": 0.25}


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "run" / "model" / "1"
    scores = {"validation": {"log_loss": 0.5, "num_rows": 12}}
    verification = VerificationResult(Outcome.PASSED, row_ms=0.5)
    return FinishedModel(folder, (), True, scores, verification, 1000, SHARES)


@pytest.mark.parametrize("shares", [SHARES, {}])
def test_a_repeated_command_knows_the_model_of_the_first(model, tmp_path, shares):
    ledger = Ledger(tmp_path / "run", {})
    remember(ledger, replace(model, contributions=shares), None)
    assert remembered(ledger, []) is None
    model.folder.mkdir(parents=True)
    (model.folder / "saved_model.pb").touch()
    found = remembered(ledger, [])
    assert found is not None
    assert (found.folder, found.scores, found.contributions) == (model.folder, model.scores, shares)


@pytest.mark.parametrize("shares", [SHARES, {}])
def test_the_report_names_the_columns_that_contributed(model, shares):
    dataset = load_dataset(pd.DataFrame({"x": [0.5, 1.5] * 20, "label": ["a", "b"] * 20}))[0]
    shown = replace(model, contributions=shares)
    report = RunReport(model.folder.parents[1], shown, dataset.schema, (), "log_loss", (), 1.0)
    console = Console(width=100, record=True, file=io.StringIO())
    show_report(console, report)
    assert ("the gates let through [title] 75%, price 25%" in console.export_text()) == bool(shares)


def test_a_merge_that_fails_to_tell_costs_a_warning_and_no_model():
    class Broken:
        @property
        def members(self):
            raise RuntimeError("no gates")

        weights = (1.0,)

    dataset = load_dataset(pd.DataFrame({"x": [0.5, 1.5] * 20, "label": ["a", "b"] * 20}))[0]
    events = []
    assert told_contributions(Broken(), dataset, events.append) == {}
    assert [type(event) for event in events] == [Warned]
    assert "no gates" in events[0].text
