from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoflow.errors import UsageError
from autoflow.metrics import (
    calibration_error,
    careful_log_loss,
    check_metric,
    clearly_better,
    evaluate_probabilities,
    imagined_error,
    larger_is_better,
    metric_names,
    score,
    standard_error,
)


def _case(seed: int, num_classes: int, num_rows: int = 200) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.integers(num_classes, size=num_rows)
    # Rounded, so that there are ties.
    probabilities = np.round(random.dirichlet(np.ones(num_classes), num_rows), 1) + 1e-3
    probabilities[np.arange(num_rows), labels] += random.random(num_rows).round(1)
    return labels, probabilities / probabilities.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("num_classes", [2, 3, 12])
@pytest.mark.parametrize("seed", [0, 1])
def test_agrees_with_scikit_learn(num_classes: int, seed: int) -> None:
    from sklearn import metrics

    labels, probabilities = _case(seed, num_classes)
    predicted = probabilities.argmax(axis=1)
    ranked = probabilities[:, 1] if num_classes == 2 else probabilities
    expected = {
        "log_loss": metrics.log_loss(labels, probabilities, labels=range(num_classes)),
        "accuracy": metrics.accuracy_score(labels, predicted),
        "balanced_accuracy": metrics.balanced_accuracy_score(labels, predicted),
        "roc_auc": metrics.roc_auc_score(labels, ranked, multi_class="ovr"),
        "f1": metrics.f1_score(labels, predicted, average="macro"),
    }
    found = {name: score(name, labels, probabilities) for name in metric_names()}
    assert found == pytest.approx(expected, abs=1e-12)
    scores = evaluate_probabilities(labels, probabilities, [str(i) for i in range(num_classes)])
    assert np.array_equal(scores.confusion, metrics.confusion_matrix(labels, predicted))
    if num_classes == 2:
        assert scores.f1_positive == pytest.approx(metrics.f1_score(labels, predicted))
        assert scores.top_5_accuracy is None


def test_rows_of_a_group_are_no_evidence_of_their_own() -> None:
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 50)
    of_groups = random.normal(size=20)
    values = of_groups[groups]
    assert standard_error(values) == pytest.approx(values.std(ddof=1) / np.sqrt(1000))
    assert standard_error(values, groups) == pytest.approx(of_groups.std(ddof=1) / np.sqrt(20))
    labels = (np.arange(1000) % 2).astype(np.int64)
    shares = np.full((1000, 2), 0.5)
    strength = 0.1 * (of_groups - of_groups.mean() + 0.3)[groups, None]
    told = 0.5 + strength * (2 * np.eye(2)[labels] - 1)
    assert clearly_better(labels, told, shares)
    assert not clearly_better(labels, told, shares, groups)
    assert clearly_better(labels, told, shares, np.zeros(1000, np.int64))


def test_the_luckiest_of_many_is_not_clearly_better_and_a_signal_is() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(2, size=400)
    shares = np.tile(np.bincount(labels) / 400, (400, 1))
    first = np.clip(0.5 + 0.05 * random.standard_normal((50, 400)), 0.01, 0.99)
    guesses = np.stack([first, 1 - first], axis=2)
    luckiest = min(guesses, key=lambda guess: score("log_loss", labels, guess))
    assert score("log_loss", labels, luckiest) < score("log_loss", labels, shares)
    assert not clearly_better(labels, luckiest, shares)
    assert not clearly_better(labels, shares, shares)
    right = np.where(random.random(400) < 0.72, labels, 1 - labels)
    told = np.eye(2)[right] * 0.3 + 0.35
    assert clearly_better(labels, told, shares)
    bold = np.eye(2)[right] * 0.98 + 0.01  # a poor log-loss, but right more often
    assert score("log_loss", labels, bold) > score("log_loss", labels, shares)
    assert clearly_better(labels, bold, shares)


def test_top_5_accuracy_agrees_with_scikit_learn() -> None:
    from sklearn.metrics import top_k_accuracy_score

    labels = np.random.default_rng(0).integers(12, size=200)
    probabilities = np.random.default_rng(1).dirichlet(np.ones(12), 200)
    scores = evaluate_probabilities(labels, probabilities, [str(i) for i in range(12)])
    assert scores.top_5_accuracy == pytest.approx(top_k_accuracy_score(labels, probabilities, k=5))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 5))
def test_perfect_predictions_are_the_best_there_are(seed: int, num_classes: int) -> None:
    labels, probabilities = _case(seed, num_classes, num_rows=40)
    perfect = np.eye(num_classes)[labels]
    for name in metric_names():
        best, other = score(name, labels, perfect), score(name, labels, probabilities)
        assert best >= other if larger_is_better(name) else best <= other


def test_certain_and_wrong_costs_a_finite_loss() -> None:
    assert score("log_loss", np.array([0]), np.array([[0.0, 1.0]])) == pytest.approx(-math.log(1e-15))


def test_an_unknown_label_is_wrong_in_every_figure() -> None:
    scores = evaluate_probabilities(
        np.array([0, 1, -1]), np.array([[0.9, 0.1], [0.2, 0.8], [1, 0]]), ["a", "b"]
    )
    assert scores.unknown_labels == 1
    assert scores.accuracy == pytest.approx(2 / 3)
    assert scores.balanced_accuracy == pytest.approx(2 / 3)
    assert scores.log_loss > 10
    assert np.sum(scores.confusion) == 2


def test_calibration_error_is_how_far_confidence_is_from_the_truth() -> None:
    generator = np.random.default_rng(0)
    own = generator.uniform(0.5, 1.0, 200_000)
    sure = np.stack([own, 1 - own], axis=1)
    labels = (generator.random(len(own)) > own).astype(np.int64)
    assert calibration_error(labels, sure) < 0.005
    assert calibration_error(np.zeros_like(labels), sure) == pytest.approx(1 - own.mean(), abs=1e-9)
    assert calibration_error(np.array([0, -1]), np.array([[1.0, 0.0], [0.0, 1.0]])) == 0.5


def test_the_boldest_of_few_rows_that_are_all_right_is_not_the_best() -> None:
    labels = np.arange(100) % 2

    def sure(certainty: float, num_wrong: int = 0) -> np.ndarray:
        own = np.where(np.arange(100) < num_wrong, 1 - certainty, certainty)
        return np.stack([np.where(labels == 0, own, 1 - own), np.where(labels == 1, own, 1 - own)], axis=1)

    assert score("log_loss", labels, sure(1.0)) < score("log_loss", labels, sure(0.99))
    assert careful_log_loss(labels, sure(0.99)) < careful_log_loss(labels, sure(1.0))
    assert careful_log_loss(labels, sure(0.99)) < careful_log_loss(labels, sure(0.9))
    wrong = sure(0.9, num_wrong=20)
    assert careful_log_loss(labels, wrong) == pytest.approx(score("log_loss", labels, wrong), rel=0.01)
    assert math.isnan(careful_log_loss(labels, np.full((100, 2), np.nan)))
    saturated = np.eye(2, dtype=np.float32)[labels]
    assert 0 < imagined_error(labels, saturated) < 1e-14


def test_absent_classes() -> None:
    labels, probabilities = np.array([0, 0, 1]), np.array([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.2, 0.7, 0.1]])
    scores = evaluate_probabilities(labels, probabilities, ["a", "b", "c"])
    assert scores.balanced_accuracy == pytest.approx(0.75)
    assert scores.roc_auc == pytest.approx(1.0)
    one_class = evaluate_probabilities(labels[:2], probabilities[:2], ["a", "b", "c"])
    assert one_class.roc_auc is None
    assert math.isnan(score("roc_auc", labels[:2], probabilities[:2]))


def test_nan_never_scores() -> None:
    probabilities = np.array([[0.5, 0.5], [np.nan, np.nan]])
    assert all(math.isnan(score(name, np.array([0, 1]), probabilities)) for name in metric_names())


def test_unknown_metric() -> None:
    with pytest.raises(UsageError, match=r"^no metric is called 'logloss'; did you mean 'log_loss'\?$"):
        check_metric("logloss")
    with pytest.raises(UsageError):
        larger_is_better("speed")


def test_scores_go_to_json() -> None:
    import json

    labels, probabilities = _case(3, 3)
    value = evaluate_probabilities(labels, probabilities, ["a", "b", "c"]).to_json()
    assert json.loads(json.dumps(value, allow_nan=False)) == value
