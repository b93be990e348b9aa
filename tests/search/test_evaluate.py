"""A worker turns whatever a trial does into one result with a sentence."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest

from autoflow.components.base import FittedClassifier, MatrixClassifier
from autoflow.components.discovery import discover
from autoflow.components.registry import Role, lookup
from autoflow.data.dataset import load_dataset
from autoflow.data.split import Fold, make_folds
from autoflow.pipeline.cache import PreparedCache
from autoflow.pipeline.spec import Node, PipelineSpec
from autoflow.search.evaluate import STOPPED, Evaluator, Experiment, joined, load_pipelines
from autoflow.search.trial import Outcome, PartResult, TrialJob


@dataclass(frozen=True)
class Faulty(MatrixClassifier):
    """Gives a probability that is no number, or asks for more memory than any machine has."""

    fault: str = "nan"

    @classmethod
    def sample(cls, hp, profile):
        return cls()

    def fit(self, train, validation, context):
        if self.fault == "memory":
            np.empty((2**40, 2**10), np.float64)
        return FittedFaulty()


class FittedFaulty(FittedClassifier):
    def predict_probabilities(self, features):
        probabilities = np.full((len(features), 2), 0.5, np.float32)
        probabilities[0] = np.nan
        return probabilities

    def graph(self, features):
        raise NotImplementedError("no trial of this test is exported")


@pytest.mark.parametrize(
    ("fault", "said"),
    [("nan", "its log_loss is not a finite number"), ("memory", "Unable to allocate 8.00 PiB")],
)
def test_a_trial_without_a_usable_score_is_a_failed_one_with_a_sentence(tmp_path, fault, said):
    discover()
    frame = pd.DataFrame({"x": np.linspace(0, 1, 40) ** 2, "label": ["a", "b"] * 20})
    fold = Fold(np.arange(30), np.arange(30, 40))
    experiment = Experiment(load_dataset(frame)[0], (fold,), "log_loss", 0)
    raw, plain = lookup(Role.FEATURE_EXTRACTION, "raw_numbers"), lookup(Role.CONCATENATION, "plain_concat")
    spec = PipelineSpec((Node("numeric", ("x",), raw()),), plain(), Faulty(fault))
    result = Evaluator(experiment, PreparedCache(tmp_path / "cache"), 1).evaluate(TrialJob(0, spec, 0))
    assert result.outcome is Outcome.FAILED
    assert said in result.message
    assert "\n" not in result.message


@pytest.fixture(scope="module")
def cross_validated():
    discover()
    numbers = np.random.default_rng(0).normal(size=(90, 2))
    labels = np.where(numbers[:, 0] + 0.5 * numbers[:, 1] ** 2 > 0.2, "yes", "no")
    dataset = load_dataset(pd.DataFrame({"x": numbers[:, 0], "y": numbers[:, 1], "label": labels}))[0]
    folds = make_folds(dataset.labels, feature_keys=dataset.feature_keys(), seed=0, share=None)
    assert len(folds) == 5
    return Experiment(dataset, folds, "log_loss", 0)


def of_numbers(classifier):
    raw, plain = lookup(Role.FEATURE_EXTRACTION, "raw_numbers"), lookup(Role.CONCATENATION, "plain_concat")
    return PipelineSpec((Node("numeric", ("x", "y"), raw()),), plain(), classifier)


@pytest.mark.parametrize("name", ["logistic_regression", "nearest_neighbors"])
def test_parts_of_a_trial_make_what_one_worker_makes(tmp_path, cross_validated, name):
    job = TrialJob(3, of_numbers(lookup(Role.CLASSIFICATION, name)()), 11)
    whole = Evaluator(cross_validated, PreparedCache(tmp_path / "one"), 1).evaluate(job)
    parts = [
        Evaluator(cross_validated, PreparedCache(tmp_path / "others"), 1).evaluate_part(
            replace(job, folds=folds)
        )
        for folds in ((3, 4), (0, 1, 2))
    ]
    labels = cross_validated.dataset.labels[cross_validated.validation_rows]
    shared = joined(job, parts, labels, "log_loss")
    assert whole.finished
    assert (whole.iterations is None) == (name == "nearest_neighbors")
    assert replace(shared, seconds=0.0) == replace(whole, seconds=0.0)
    np.testing.assert_array_equal(shared.probabilities, whole.probabilities)
    assert shared.seconds >= parts[0].seconds + parts[1].seconds > 0
    raw = cross_validated.dataset.raw
    answers = [
        np.stack([pipeline.predict_probabilities(raw) for pipeline in load_pipelines(result.artifact)])
        for result in (whole, shared)
    ]
    assert answers[0].shape == (5, 90, 2)
    np.testing.assert_array_equal(*answers)


def test_a_fold_is_given_up_alike_alone_and_among_others(tmp_path, cross_validated):
    evaluator = Evaluator(cross_validated, PreparedCache(tmp_path / "cache"), 1)
    spec = of_numbers(lookup(Role.CLASSIFICATION, "logistic_regression")())
    job = TrialJob(0, spec, 0, hopeless_loss=-10.0)
    whole = evaluator.evaluate(job)
    assert whole.outcome is Outcome.HOPELESS
    for fold in range(4):
        part = evaluator.evaluate_part(replace(job, folds=(fold,)))
        assert part.outcome is Outcome.HOPELESS
    # the last one saves nothing: the trial is whole with it
    assert evaluator.evaluate_part(replace(job, folds=(4,))).outcome is Outcome.FINISHED


def test_parts_that_do_not_fit_together_are_a_failed_trial_with_a_sentence():
    spec = of_numbers(Faulty())
    parts = [
        PartResult(0, (number,), Outcome.FINISHED, 1.0, probabilities=np.full((4, width), 0.5, np.float32))
        for number, width in enumerate((2, 3))
    ]
    result = joined(TrialJob(0, spec, 0), parts, np.zeros(8, np.int32), "log_loss")
    assert result.outcome is Outcome.FAILED
    assert "ValueError" in result.message
    assert result.seconds >= 2.0


@pytest.mark.parametrize("name", ["boosted_trees", "mlp"])
def test_a_fit_on_all_rows_is_whole_however_little_time_is_left(tmp_path, cross_validated, name):
    evaluator = Evaluator(cross_validated, PreparedCache(tmp_path / "cache"), 1)
    job = TrialJob(0, of_numbers(lookup(Role.CLASSIFICATION, name)()), 0, seconds=0.0)
    assert evaluator.refit(job, 7).model.iterations == 7


@pytest.mark.parametrize(("seconds", "is_marked"), [(1.5, True), (600.0, False)])
def test_a_trial_that_the_clock_stopped_says_so(tmp_path, cross_validated, seconds, is_marked):
    trees = lookup(Role.CLASSIFICATION, "boosted_trees")
    rounds = 50_000 if is_marked else 50
    spec = of_numbers(trees(max_rounds=rounds, patience=rounds))
    evaluator = Evaluator(cross_validated, PreparedCache(tmp_path / "cache"), 1)
    result = evaluator.evaluate(TrialJob(0, spec, 0, seconds=seconds))
    assert result.finished
    assert result.message == (STOPPED if is_marked else "")
