"""Choices that are judged by rows which took no part in them."""

import numpy as np
import pytest

from autoflow import metrics
from autoflow.data.split import Fold, make_choice_folds
from autoflow.pipeline.temperature import fit_temperature, tempered
from autoflow.search.cross_choice import cross_chosen
from autoflow.search.ensemble import Candidate, select

SHARES = np.array([0.5, 0.3, 0.2])
ROWS = 300


def guesses(seed, num_trials, *, strength=0.0, shares=SHARES):
    """Probabilities around the shares of the classes, pulled to the label with a strength, and the labels."""
    random = np.random.default_rng(seed)
    labels = random.choice(len(shares), ROWS, p=shares).astype(np.int32)
    trials = {}
    for number in range(num_trials):
        logits = np.log(shares) + 0.3 * random.normal(size=(ROWS, len(shares)))
        powers = np.exp(logits + strength * np.eye(len(shares))[labels])
        trials[number] = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    return trials, labels


def folds_of(labels):
    return make_choice_folds(labels, feature_keys=np.arange(len(labels)), groups=None, moments=None, seed=1)


def chosen_again(trials, labels, metric="log_loss", folds=None, max_members=5):
    """Returns what cross-fitted choices predict, row by row."""
    folds = folds_of(labels) if folds is None else folds
    predicted = cross_chosen(
        trials,
        dict.fromkeys(trials),
        labels,
        folds,
        metric=metric,
        max_members=max_members,
        of_each=25,
        seed=0,
    )
    rows = np.concatenate([fold.validation for fold in folds])
    return predicted[np.argsort(rows)]


def chosen_on_all(trials, labels, metric="log_loss"):
    """Returns what the choice on all rows predicts for these rows."""
    sign = -1 if metrics.larger_is_better(metric) else 1
    ranking = sorted(trials, key=lambda number: sign * metrics.score(metric, labels, trials[number]))
    best = [Candidate(number, trials[number]) for number in ranking[:25]]
    weights = select(best, labels, metric=metric, max_members=5).weights
    mean = np.sum([weight * trials[number] for number, weight in weights.items()], axis=0)
    return tempered(mean, fit_temperature(mean, labels, seed=0))


def gains(labels, probabilities):
    """Returns by how much the log-loss of each row is lower than that of the shares of the classes."""
    return np.log(probabilities[np.arange(len(labels)), labels]) - np.log(SHARES[labels])


@pytest.mark.parametrize("metric", ["log_loss", "accuracy", "roc_auc"])
def test_the_best_of_hundreds_of_guesses_looks_good_only_on_the_rows_that_chose_it(metric):
    flattering, honest, lucky, sober = [], [], [], []
    for seed in range(6):
        trials, labels = guesses(seed, 300)
        on_all, again = chosen_on_all(trials, labels, metric), chosen_again(trials, labels, metric)
        flattering.append(gains(labels, on_all))
        honest.append(gains(labels, again))
        lucky.append(metrics.score("roc_auc", labels, on_all))
        sober.append(metrics.score("roc_auc", labels, again))
    error = np.std(np.concatenate(flattering)) / np.sqrt(6 * ROWS)
    assert np.mean(flattering) > 4 * error
    assert np.mean(honest) < np.std(np.concatenate(honest)) / np.sqrt(6 * ROWS)
    assert np.mean(lucky) > 0.56
    assert abs(np.mean(sober) - 0.5) < 0.03


@pytest.mark.parametrize("metric", metrics.metric_names())
def test_no_label_of_a_row_has_a_part_in_what_is_predicted_for_it(metric):
    trials, labels = guesses(0, 40, strength=0.3)
    folds = folds_of(labels)
    before = chosen_again(trials, labels, metric, folds)
    own = folds[2].validation
    others = np.setdiff1d(np.arange(ROWS), own)
    changed = labels.copy()
    changed[own] = (labels[own] + 1) % len(SHARES)
    after = chosen_again(trials, changed, metric, folds)
    np.testing.assert_array_equal(after[own], before[own])
    assert not np.array_equal(after[others], before[others])


def test_what_is_good_on_all_rows_is_chosen_for_each_of_them():
    trials, labels = guesses(3, 30)
    trials[30] = guesses(3, 1, strength=4.0)[0][0]
    again = chosen_again(trials, labels, max_members=1)
    expected = tempered(trials[30], fit_temperature(trials[30], labels, seed=0))
    np.testing.assert_allclose(again, expected, atol=0.05)
    assert metrics.score("log_loss", labels, again) < 0.4


@pytest.mark.parametrize("max_members", [1, 2])
def test_no_more_members_are_averaged_than_are_allowed(max_members):
    # only trial `i` favours class `i`, so that a mean tells its members; that of all four favours none
    labels = np.tile(np.arange(4), 25)
    trials = {number: np.full((100, 4), 0.2, np.float32) for number in range(4)}
    for number in trials:
        trials[number][:, number] = 0.4
    (fold,) = folds_of(labels)[:1]
    again = chosen_again(trials, labels, folds=(fold,), max_members=max_members)
    assert 1 <= np.sum(again[0] > again[0].min() + 1e-4) <= max_members


def test_of_equal_trials_the_earlier_one_is_taken():
    trials, labels = guesses(4, 2, strength=1.0)
    rows = np.arange(ROWS)
    fold = Fold(rows[:200], rows[200:])
    trials[1][:200] = trials[0][:200]
    again = chosen_again(dict(reversed(trials.items())), labels, folds=(fold,), max_members=1)
    closer = [np.abs(again - trials[number][200:]).sum() for number in (0, 1)]
    assert closer[0] < closer[1]


def test_where_another_metric_would_take_seconds_log_loss_chooses():
    shares = np.full(80, 1 / 80)
    trials, labels = guesses(5, 6, strength=2.0, shares=shares)
    np.testing.assert_array_equal(
        chosen_again(trials, labels, "roc_auc"), chosen_again(trials, labels, "log_loss")
    )
    few, labels = guesses(5, 20, strength=0.1)
    assert not np.array_equal(chosen_again(few, labels, "accuracy"), chosen_again(few, labels, "log_loss"))
