"""The end of a run: what is noted about the model and survives a repeated command."""

import io
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from autoflow.data.dataset import load_dataset
from autoflow.export import verify
from autoflow.export.verify import VerificationResult
from autoflow.finish import FinishedModel, Finisher, NotFittedError, remember, remembered, told_contributions
from autoflow.report.terminal import show_report
from autoflow.run import RunReport
from autoflow.search.events import Warned
from autoflow.search.ledger import Ledger
from autoflow.search.members import Member
from autoflow.search.trial import Outcome, TrialResult

SHARES = {"[title]": 0.75, "price": 0.25}


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "run" / "model" / "1"
    scores = {"validation": {"log_loss": 0.5, "num_rows": 12}}
    verification = VerificationResult(verify.Outcome.PASSED, row_ms=0.5)
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


def _finisher(probabilities, labels, metric="log_loss"):
    results = [TrialResult(number, None, Outcome.FINISHED, 0.0, 0.0, 1.0) for number in probabilities]
    study = SimpleNamespace(
        metric=metric,
        ledger=SimpleNamespace(probabilities=probabilities.__getitem__),
        chooser=SimpleNamespace(labels=labels),
        ranking=lambda: results,
    )
    finisher = Finisher(study, None, None, None, "data", [].append, lambda: False)
    return finisher, tuple(Member(result, 1 / len(results)) for result in results)


def test_members_that_could_not_be_fitted_again_are_left_out_where_the_others_are_as_good():
    labels = np.array([0, 1] * 50, np.int32)
    sure = np.eye(2, dtype=np.float32)[labels] * 0.8 + 0.1
    unsure = np.full((100, 2), 0.5, np.float32)
    finisher, members = _finisher({0: sure, 1: sure, 2: unsure}, labels)
    left = finisher._without(members[2:], members)
    assert [(member.trial.number, member.weight) for member in left] == [(0, 0.5), (1, 0.5)]
    with pytest.raises(NotFittedError):  # the best trial as it was scored is better than what is left
        finisher._without(members[:2], members)
    with pytest.raises(NotFittedError):
        finisher._without(members, members)


def test_what_is_left_is_judged_by_the_metric_of_the_search():
    labels = np.array([0, 1] * 50, np.int32)
    right = np.eye(2, dtype=np.float32)[labels]
    bold = np.where(np.arange(100)[:, None] < 96, right * 0.98 + 0.01, 0.98 - right * 0.96)
    timid = right * 0.02 + 0.49
    for metric, allowed in (("accuracy", True), ("log_loss", False)):
        finisher, members = _finisher({0: bold.astype(np.float32), 1: timid}, labels, metric)
        if allowed:
            assert [member.trial.number for member in finisher._without(members[:1], members)] == [1]
        else:
            with pytest.raises(NotFittedError):
                finisher._without(members[:1], members)
