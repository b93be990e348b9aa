"""The front of score against latency: what is measured, what is shown."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from autoflow import front
from autoflow.components.classification.boosted_trees import BoostedTrees
from autoflow.components.classification.extra_trees import ExtraTrees
from autoflow.components.classification.logistic_regression import LogisticRegression
from autoflow.components.classification.majority import Majority
from autoflow.data.dataset import load_dataset
from autoflow.export.saved_model import Export
from autoflow.export.verify import Outcome as Verified
from autoflow.export.verify import VerificationResult
from autoflow.finished import FinishedModel, FrontPoint
from autoflow.search.events import Warned
from autoflow.search.members import Member
from autoflow.search.trial import Outcome, TrialResult

COSTS = {0: 1.0, 1: 3.0, 2: 0.5, 4: 0.1}


def _trial(number, classifier, loss):
    """The score of a trial imagines an error more than its log-loss."""
    spec = SimpleNamespace(classifier=classifier)
    return TrialResult(number, spec, Outcome.FINISHED, loss + 0.05, loss, 1.0)


@pytest.fixture
def measured(monkeypatch):
    """Measures a front where trial numbers decide latencies, and tells which were exported."""
    exported, broken, events = [], [], []

    def measure(model, folder, **_):
        if broken:
            raise RuntimeError("no disk")
        (number,) = model.members
        exported.append(number)
        return Export(None, VerificationResult(Verified.PASSED, row_ms=COSTS[number]), 2_000_000)

    monkeypatch.setattr(front, "measure_model", measure)
    monkeypatch.setattr(front, "load_pipelines", lambda number: [number])
    monkeypatch.setattr(front, "fit_temperature", lambda *_, **__: 1.0)

    def run(tmp_path, remaining=60.0, stop=False, members=2, fails=False):
        broken.extend([True] * fails)
        trials = [
            _trial(0, BoostedTrees(), 0.3),
            _trial(1, ExtraTrees(), 0.35),
            _trial(3, BoostedTrees(), 0.36),
            _trial(2, LogisticRegression(), 0.4),
            _trial(4, Majority(), 0.7),
        ]
        table = pd.DataFrame({"x": np.arange(40) / 7, "label": ["a", "b"] * 20})
        experiment = SimpleNamespace(
            dataset=load_dataset(table)[0], validation_rows=np.arange(40), ties=None, seed=0
        )
        of_true_class = {trial.number: np.exp(-trial.log_loss) for trial in trials}
        right = np.eye(2)[experiment.dataset.labels]
        study = SimpleNamespace(
            metric="log_loss",
            ranking=lambda: trials,
            ledger=SimpleNamespace(
                folder=tmp_path,
                artifact=lambda number: number,
                probabilities=lambda number: np.abs(1 - right - of_true_class[number]),
            ),
            budget=SimpleNamespace(remaining=lambda: remaining),
            costs=SimpleNamespace(ending_seconds=2.5),
        )
        scores = {"validation": {"log_loss": 0.29}, "class_shares": {"log_loss": 0.69}}
        model = FinishedModel(
            tmp_path,
            tuple(Member(trial, 1 / members) for trial in trials[:members]),
            True,
            scores,
            VerificationResult(Verified.PASSED, row_ms=4.0),
            5_000_000,
        )
        return front.measured_front(model, study, experiment, None, lambda: stop, events.append), exported

    run.events = events
    return run


def test_each_classifier_better_than_the_class_shares_is_measured(measured, tmp_path):
    points, exported = measured(tmp_path)
    assert exported == [0, 1, 2]
    # extra trees are slower and worse than boosted trees
    assert [(round(point.score, 6), point.row_ms) for point in points] == [
        (0.29, 4.0),
        (0.3, 1.0),
        (0.4, 0.5),
    ]
    assert points[0].megabytes == 5.0


def test_a_model_of_one_pipeline_is_not_measured_twice(measured, tmp_path):
    assert measured(tmp_path, members=1)[1] == [1, 2]


@pytest.mark.parametrize(("remaining", "stop"), [(5.0, False), (60.0, True)])
def test_nothing_is_measured_without_time_or_after_an_interruption(measured, tmp_path, remaining, stop):
    points, exported = measured(tmp_path, remaining, stop)
    assert exported == []
    assert [type(point) for point in points] == [FrontPoint]


def test_what_cannot_be_measured_is_told_and_costs_no_model(measured, tmp_path):
    points, _ = measured(tmp_path, fails=True)
    assert len(points) == 1
    warned = [event.text for event in measured.events if isinstance(event, Warned)]
    assert warned[0] == "how fast trial 0 would answer is not known: RuntimeError: no disk"
    assert len(warned) == 3
