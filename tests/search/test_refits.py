"""Fits on all rows as work for idle workers: which are wanted, which fit into the time, what comes of it."""

import time
from types import SimpleNamespace

import pytest
from fake_pool import FakePool

from autoflow.budget import Budget
from autoflow.components.classification.boosted_trees import BoostedTrees
from autoflow.components.classification.mlp import Mlp
from autoflow.search.costs import FinishCosts
from autoflow.search.events import Warned
from autoflow.search.members import Member
from autoflow.search.refits import Refits
from autoflow.search.trial import Outcome, RefitResult, TrialResult

PLAIN = SimpleNamespace(trainable=False)


def member_of(number, classifier=None, *, weight=0.25, seconds=10.0, concatenation=PLAIN):
    classifier = BoostedTrees() if classifier is None else classifier
    spec = SimpleNamespace(classifier=classifier, concatenation=concatenation)
    return Member(TrialResult(number, spec, Outcome.FINISHED, 0.0, 0.0, seconds, 7), weight)


def test_folds_of_a_second_network_are_exported_where_there_is_time():
    merged = SimpleNamespace(trainable=True)
    costs = FinishCosts(5.0, 0.5, 1.0, 5, folds_may_serve=True, most_folds_seconds=3.0)
    plain, first, second = (member_of(number, Mlp()).trial for number in range(3))
    attentive = member_of(3, Mlp(), concatenation=merged).trial
    assert costs.export_seconds([]) == costs.export_seconds([member_of(9).trial]) == 5.0
    assert costs.export_seconds([plain]) == 5.0 + 4 * 0.5
    assert costs.export_seconds([first, second]) == 5.0 + 9 * 0.5
    assert costs.export_seconds([attentive]) == 5.0 + 0.5 + 4 * 1.0
    without_its_folds = 5.0 + 4 * 0.5 + 1.0
    assert costs.export_seconds([plain, attentive]) == without_its_folds
    refits = refits_with(90.0, num_folds=5, folds_may_serve=True)
    refits.costs = costs
    members = [member_of(0, Mlp(), weight=0.6), member_of(1, Mlp(), weight=0.4, concatenation=merged)]
    assert [member.trial.number for member in refits.wanted(members)] == [1]


def refits_with(seconds, *, num_folds=1, folds_may_serve=False, warned=None):
    costs = FinishCosts(5.0, 0.0, 1.0, num_folds, folds_may_serve=folds_may_serve)
    observer = lambda event: warned.append(event.text) if isinstance(event, Warned) else None  # noqa: E731
    budget = Budget(100.0, time.monotonic() - (100.0 - seconds))
    observer = observer if warned is not None else lambda event: None
    return Refits(FakePool(None), costs, budget, 0, observer)


def test_the_heaviest_that_will_end_in_time_is_begun_first_and_each_once():
    refits = refits_with(25.0)
    members = [member_of(3, seconds=40.0), member_of(1), member_of(2)]
    assert refits.begin(0, members)
    assert refits.begin(1, members)
    assert not refits.begin(2, members)
    assert [(work.number, work.iterations) for work in refits.pool.refits] == [(1, 7), (2, 7)]
    assert sorted(refits.running) == [1, 2]


def test_room_is_kept_for_what_is_missing_and_can_still_be_fitted():
    members = [member_of(1), member_of(2), member_of(3)]
    each = FinishCosts(5.0, 0.0, 1.0).refit_seconds(members[0].trial)
    refits = refits_with(90.0)
    assert refits.room(members, 1) == pytest.approx(30.0)  # the most of 100 s
    assert refits.room(members, 2) == pytest.approx(1.5 * each)
    assert refits.room(members, 3) == pytest.approx(each)
    refits.begin(0, members)
    assert refits.room(members, 1) == pytest.approx(2 * each)
    refits.take(RefitResult(1, "fitted"), members)
    assert refits.room(members, 1) == pytest.approx(2 * each)
    assert refits_with(13.0).room(members, 1) == 0.0


def test_fits_that_failed_and_fits_that_were_late_are_told_apart():
    warned = []
    refits = refits_with(90.0, warned=warned)
    members = [member_of(number) for number in range(4)]
    for worker, member in enumerate([*members, member_of(9)]):
        refits.begin(worker, [member])
    refits.take(RefitResult(0, "fitted"), members)
    refits.take(RefitResult(1, None, "ValueError: no luck"), members)
    refits.abandon(members, "did not end in time")
    assert warned == [
        "fitting trial 1 on all rows failed: ValueError: no luck",
        "fitting trials 2, 3 on all rows did not end in time",
    ]
    assert refits.fitted == {0: "fitted"}
    assert [member.trial.number for member in refits.missing(members)] == [2, 3]  # a failure is not repeated
    assert refits.pool.jobs == {}
    assert refits.complete == ()


def test_a_fit_whose_worker_died_is_repeated_once():
    warned = []
    refits = refits_with(90.0, warned=warned)
    members = [member_of(1)]
    for missing in ([1], []):
        assert refits.begin(0, members)
        (job,) = refits.pool.jobs.values()
        refits.take(job.ended(Outcome.LOST, "its worker died", 1.0), members)
        refits.pool.jobs.clear()
        assert [member.trial.number for member in refits.missing(members)] == missing
    assert warned == ["fitting trial 1 on all rows failed: its worker died"]


def test_a_fit_whose_worker_died_late_is_told():
    warned = []
    refits = refits_with(90.0, warned=warned)
    members = [member_of(1)]
    refits.begin(0, members)
    refits.take(RefitResult(1, None, "its worker died", is_lost=True), members)
    refits.abandon(members, "did not end in time")
    assert warned == ["fitting trial 1 on all rows failed: its worker died"]


def test_members_are_complete_when_the_last_of_them_is_fitted():
    refits = refits_with(90.0)
    members = [member_of(1), member_of(2)]
    for worker, member in enumerate(members):
        refits.begin(worker, members)
        assert refits.complete == ()
        refits.take(RefitResult(member.trial.number, "fitted"), members)
    assert refits.complete == tuple(members)
    refits.begin(0, [member_of(3)])
    refits.take(RefitResult(3, "fitted"), [*members, member_of(3), member_of(4)])
    assert refits.complete == tuple(members)


@pytest.mark.parametrize(
    ("weights", "as_folds"), [((0.8, 0.1, 0.1), (0,)), ((0.4, 0.3, 0.3), (0, 1)), ((0.1, 0.1, 0.1), (0,))]
)
def test_the_heaviest_networks_of_few_rows_are_exported_as_their_folds(weights, as_folds):
    members = [member_of(9, weight=1 - sum(weights))]
    members += [member_of(number, Mlp(), weight=weight) for number, weight in enumerate(weights)]
    everyone = {9, 0, 1, 2}
    for seconds, may_serve, expected in ((90.0, True, as_folds), (90.0, False, ()), (1.0, True, ())):
        refits = refits_with(seconds, num_folds=5, folds_may_serve=may_serve)
        wanted = {member.trial.number for member in refits.wanted(members)}
        assert everyone - wanted == set(expected)
