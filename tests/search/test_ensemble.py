"""Greedy selection on held-out probabilities."""

import numpy as np
import pytest

from autoflow import metrics
from autoflow.search import ensemble
from autoflow.search.ensemble import Candidate, affordable_metric, gains, of_true_class, select

ROWS, CLASSES = 600, 3


def candidates(seed, strengths, *, noise=1.0):
    """Probabilities from logits that point at the label, each with errors of its own."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, CLASSES, ROWS)
    found = []
    for number, strength in enumerate(strengths):
        logits = strength * np.eye(CLASSES)[labels] + noise * generator.normal(size=(ROWS, CLASSES))
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities = (exponentials / exponentials.sum(axis=1, keepdims=True)).astype(np.float32)
        found.append((metrics.score("log_loss", labels, probabilities), Candidate(number, probabilities)))
    return [candidate for _, candidate in sorted(found, key=lambda pair: pair[0])], labels


def mean_of(selection, pool):
    by_number = {candidate.number: candidate.probabilities for candidate in pool}
    return np.sum([weight * by_number[number] for number, weight in selection.weights.items()], axis=0)


@pytest.mark.parametrize("metric", metrics.metric_names())
@pytest.mark.parametrize("seed", range(4))
def test_a_selection_is_no_worse_than_its_best_member_on_rows_that_did_not_choose_it(metric, seed):
    pool, labels = candidates(seed, [1.5, 1.4, 1.2, 0.2])
    known = np.arange(ROWS) < ROWS // 2
    seen = [Candidate(each.number, each.probabilities[known]) for each in pool]
    selection = select(seen, labels[known], metric=metric, max_members=4)
    fresh = [Candidate(each.number, each.probabilities[~known]) for each in pool]
    sign = 1 if metrics.larger_is_better(metric) else -1
    mean = mean_of(selection, fresh).astype(np.float32)
    singles = [
        metrics.score(metric, labels[~known], each.probabilities)
        for each in fresh
        if each.number in selection.weights
    ]
    assert (
        sign * metrics.score(metric, labels[~known], mean) >= max(sign * single for single in singles) - 0.01
    )
    assert selection.score == pytest.approx(
        metrics.score(metric, labels[known], mean_of(selection, seen).astype(np.float32)), abs=1e-6
    )
    assert sum(selection.weights.values()) == pytest.approx(1)


def test_the_luckiest_of_many_on_few_rows_does_not_stand_alone():
    """All are equally good on average; the best of them on few rows is so by chance."""
    lucky, steady = [], []
    for seed in range(6):
        pool, labels = candidates(seed, [2.0] * 25)
        few = np.arange(ROWS) < 60
        seen = sorted(
            (Candidate(each.number, each.probabilities[few]) for each in pool),
            key=lambda each: metrics.score("log_loss", labels[few], each.probabilities),
        )
        selection = select(seen, labels[few], metric="log_loss", max_members=5)
        fresh = [Candidate(each.number, each.probabilities[~few]) for each in pool]
        steady.append(metrics.score("log_loss", labels[~few], mean_of(selection, fresh).astype(np.float32)))
        best = next(each for each in fresh if each.number == seen[0].number)
        lucky.append(metrics.score("log_loss", labels[~few], best.probabilities))
    assert np.mean(steady) < 0.9 * np.mean(lucky)


def test_copies_of_a_row_do_not_vouch_for_the_luck_of_a_model():
    """Twenty rows, thirty times each: parted at random, what fits one half by chance fits the other, too."""
    losses = {True: [], False: []}
    for seed in range(6):
        pool, labels = candidates(seed, [2.0] * 25)
        few = np.repeat(np.arange(20), 30)
        seen = sorted(
            (Candidate(each.number, each.probabilities[few]) for each in pool),
            key=lambda each: metrics.score("log_loss", labels[few], each.probabilities),
        )
        fresh = [Candidate(each.number, each.probabilities[20:]) for each in pool]
        for tied in losses:
            ties = few if tied else None
            selection = select(seen, labels[few], metric="log_loss", max_members=5, ties=ties)
            mean = mean_of(selection, fresh).astype(np.float32)
            losses[tied].append(metrics.score("log_loss", labels[20:], mean))
    assert np.mean(losses[True]) < 0.99 * np.mean(losses[False])


def test_independent_errors_average_out():
    pool, labels = candidates(0, [1.5, 1.5, 1.5])
    selection = select(pool, labels, metric="log_loss", max_members=3)
    assert len(selection.weights) == 3
    assert selection.score < 0.9 * metrics.score("log_loss", labels, pool[0].probabilities)


def test_copies_of_the_best_add_nothing():
    pool, labels = candidates(1, [2.0])
    copies = [Candidate(number, pool[0].probabilities) for number in range(5)]
    assert select(copies, labels, metric="log_loss", max_members=5).weights == {0: 1.0}


def test_several_that_are_hardly_better_than_one_are_not_worth_serving():
    pool, labels = candidates(1, [2.0])
    noise = np.random.default_rng(0).normal(0, 1e-4, (5, *pool[0].probabilities.shape))
    alike = [Candidate(number, pool[0].probabilities * np.exp(each)) for number, each in enumerate(noise)]
    assert len(select(alike, labels, metric="log_loss", max_members=5).weights) == 1


def test_useless_candidates_are_left_out():
    pool, labels = candidates(2, [3.0, 0.0, 0.0, 0.0], noise=0.5)
    assert select(pool, labels, metric="log_loss", max_members=4).weights == {0: 1.0}


def test_the_number_of_members_is_bounded():
    pool, labels = candidates(3, [1.0] * 12)
    assert len(select(pool, labels, metric="log_loss", max_members=4).weights) == 4


def test_one_candidate_is_its_own_selection():
    pool, labels = candidates(4, [1.0])
    selection = select(pool, labels, metric="accuracy", max_members=5)
    assert selection.weights == {0: 1.0}


def test_log_loss_stands_in_where_other_metrics_would_take_minutes():
    for metric in ("accuracy", "roc_auc", "log_loss"):
        assert affordable_metric(metric, 5000, 26) == metric
        assert affordable_metric(metric, 4000, 1000) == "log_loss"


def test_a_member_that_hardly_counts_is_left_out():
    for seed in (6, 9, 15, 17):
        pool, labels = candidates(seed, [2.0, 1.8, 1.6, 1.4, 1.2])
        selection = select(pool, labels, metric="log_loss", max_members=5)
        assert min(selection.weights.values()) >= 0.04
        assert sum(selection.weights.values()) == pytest.approx(1)


def test_where_all_hardly_count_the_first_of_them_remains(monkeypatch):
    monkeypatch.setattr(ensemble, "_LEAST_SHARE", 0.9)
    pool, labels = candidates(6, [2.0, 2.0, 2.0])
    assert list(select(pool, labels, metric="log_loss", max_members=3).weights.values()) == [1.0]


@pytest.mark.parametrize("metric", metrics.metric_names())
def test_a_class_of_two_rows_may_be_missing_from_a_half(metric):
    for seed in range(4):
        pool, _ = candidates(seed, [1.0, 1.0, 1.0])
        labels = np.r_[np.zeros(ROWS - 2, np.int64), 1, 1]
        pairs = [
            Candidate(
                each.number, each.probabilities[:, :2] / each.probabilities[:, :2].sum(1, keepdims=True)
            )
            for each in pool
        ]
        selection = select(pairs, labels, metric=metric, max_members=3, seed=seed)
        assert sum(selection.weights.values()) == pytest.approx(1)


EACH_ONCE = np.ones(ROWS + 1)


def owned(seed, strengths):
    """What `gains` reads, by place in the ranking, the best first."""
    pool, labels = candidates(seed, strengths)
    return {place: of_true_class(each.probabilities, labels)[:, 0] for place, each in enumerate(pool)}


def loss_of(own):
    return -np.log(own).mean()


def test_a_trial_with_errors_of_its_own_gains_more_than_a_better_copy_of_a_member():
    own = owned(5, [1.5, 1.3, 0.3])
    own[3] = own[0] * 0.999 + own[1] * 0.001
    own[4] = np.full_like(own[0], 1e-3)
    found = gains(own, {0: 1.0}, EACH_ONCE)
    assert loss_of(own[3]) < loss_of(own[1])
    assert found[1] > 10 * abs(found[3])
    assert found[4] < 0
    assert found[1] >= loss_of(own[0]) - loss_of(0.65 * own[0] + 0.35 * own[1]) - 1e-6


def test_members_are_told_what_they_add_to_the_others_and_the_only_one_to_the_next_best():
    own = owned(6, [1.5, 1.4, 1.3, 0.1])
    weights = {0: 0.5, 1: 0.3, 2: 0.2}
    found = gains(own, weights, EACH_ONCE)
    others = 0.6 * own[1] + 0.4 * own[2]
    best = min(loss_of(others + share * (own[0] - others)) for share in (0.35, 0.6))
    assert found[0] == pytest.approx(loss_of(others) - best, rel=1e-3)
    assert min(found[place] for place in weights) > max(found[3], 0)
    next_best = min((1, 2, 3), key=lambda place: loss_of(own[place]))
    assert gains(own, {0: 1.0}, EACH_ONCE)[0] > loss_of(own[next_best]) - loss_of(own[0])
    with_third = gains(own, {2: 1.0}, EACH_ONCE)[2]
    assert with_third == pytest.approx(
        loss_of(own[0])
        - min(loss_of(own[0] + share * (own[2] - own[0])) for share in (0.05, 0.1, 0.2, 0.35, 0.6)),
        rel=1e-4,
    )
    assert gains({7: own[0]}, {7: 1.0}, EACH_ONCE) == {7: pytest.approx(0.0, abs=1e-12)}


def test_gains_count_rows_and_do_without_members_that_cannot_be_read():
    own = owned(7, [1.5, 1.4, 1.3])
    twice = {place: np.append(each, each[:100]) for place, each in own.items()}
    counts = np.append(np.full(100, 2.0), np.ones(ROWS - 99))
    weights = {0: 0.6, 1: 0.4}
    expected = gains(twice, weights, np.ones(ROWS + 101))
    assert gains(own, weights, counts) == pytest.approx(expected)
    assert gains(own, weights | {9: 0.3}, counts) == pytest.approx(expected)
    assert gains(own, {9: 1.0}, counts) == {}


def test_a_row_that_only_one_member_knows_leaves_no_noise():
    """In float32 the mean without that member would be no better than chance about what is left."""
    own = {0: np.array([1.0, 0.5], np.float32), 1: np.array([1e-9, 0.5], np.float32)}
    found = gains(own, {0: 0.96, 1: 0.04}, np.ones(2))
    assert found[0] == pytest.approx((np.log(1.0) - np.log(1e-9)) / 2, rel=1e-6)
