"""A worker turns whatever a trial does into one result with a sentence."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from autoflow.components.base import FittedClassifier, MatrixClassifier
from autoflow.components.discovery import discover
from autoflow.components.registry import Role, lookup
from autoflow.data.dataset import load_dataset
from autoflow.data.split import Fold
from autoflow.pipeline.cache import PreparedCache
from autoflow.pipeline.spec import Node, PipelineSpec
from autoflow.search.evaluate import Evaluator, Experiment
from autoflow.search.trial import Outcome, TrialJob


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
