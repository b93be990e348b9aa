"""The search loop against a pool without processes."""

import time
from dataclasses import replace

import numpy as np
import pytest
from fake_pool import FakePool, scored, study_in

from autoflow.budget import Budget
from autoflow.components.base import NeuralClassifier
from autoflow.components.classification.logistic_regression import LogisticRegression
from autoflow.components.discovery import discover
from autoflow.components.registry import name_of
from autoflow.errors import NoModelError
from autoflow.search.costs import FinishCosts
from autoflow.search.evaluate import STOPPED
from autoflow.search.events import TrialEnded, Warned
from autoflow.search.members import Member
from autoflow.search.proposals import Vacancy
from autoflow.search.sampler import Proposal
from autoflow.search.trial import Outcome, Refit, TrialResult


@pytest.fixture(scope="module", autouse=True)
def _components():
    import keras_tuner  # noqa: F401  # a search pays for it before its first trial

    discover()


def test_a_search_runs_the_portfolio_first_and_then_asks_tpe(tmp_path):
    study = study_in(tmp_path / "run", FakePool(scored), max_trials=30)
    study.run()
    entries = study.ledger.entries()
    study.ledger.close()
    origins = [entry.proposal.origin for entry in entries]
    assert len(entries) == 30
    assert origins[0] == "portfolio"
    assert "tpe" in origins
    assert origins == sorted(origins)
    assert len({entry.result.spec.fingerprint for entry in entries}) == 30
    assert study.best.score == min(entry.result.score for entry in entries)


def test_a_resumed_search_repeats_nothing_and_goes_on_with_the_numbers(tmp_path):
    first = study_in(tmp_path / "run", FakePool(scored), max_trials=6)
    first.run()
    first.ledger.close()
    second = study_in(tmp_path / "run", FakePool(scored), max_trials=25)
    assert second.best == replace(first.best, probabilities=None)
    assert second.best.num_bytes == first.best.num_bytes == 1
    second.run()
    second.ledger.close()
    fingerprints = [result.spec.fingerprint for result in second.results]
    assert [result.number for result in second.results] == list(range(25))
    assert len(set(fingerprints)) == 25


def test_trials_begin_on_few_rows_and_the_best_third_moves_up(tmp_path):
    study = study_in(tmp_path / "run", FakePool(scored), max_trials=40, rungs=(0.25, 1.0))
    study.run()
    study.ledger.close()
    few = {each.spec.fingerprint: each.score for each in study.results if each.share == 0.25}
    whole = {each.spec.fingerprint for each in study.results if each.share == 1.0}
    assert len(few) + len(whole) == 40
    assert set(few) > whole
    # some were among the best third when they moved up and no longer are ("asynchronous")
    assert len(few) // 3 - 2 <= len(whole) <= len(few) // 3 + 3
    assert min(few, key=few.get) in whole
    assert np.median([few[recipe] for recipe in whole]) < np.median(list(few.values()))


def test_a_resumed_search_knows_who_moved_up(tmp_path):
    rungs = (0.25, 1.0)
    for max_trials in (20, 40):
        study = study_in(tmp_path / "run", FakePool(scored), max_trials=max_trials, rungs=rungs)
        study.run()
        study.ledger.close()
    done = [(each.spec.fingerprint, each.share) for each in study.results]
    assert len(done) == len(set(done)) == 40
    assert sum(share == 1.0 for _, share in done) in range(8, 14)


def test_the_same_seed_proposes_the_same_trials(tmp_path):
    runs = []
    for name in ("a", "b"):
        pool = FakePool(scored, num_workers=1)
        study = study_in(tmp_path / name, pool, max_trials=25)
        study.run()
        study.ledger.close()
        runs.append([(job.number, job.seed, job.spec) for job in pool.started])
    assert runs[0] == runs[1]


def test_a_search_whose_every_trial_fails_ends_with_the_first_message(tmp_path):
    def failed(job):
        return TrialResult(job.number, job.spec, Outcome.FAILED, message=f"ValueError: reason {job.number}")

    study = study_in(tmp_path / "run", FakePool(failed), max_trials=200)
    with pytest.raises(NoModelError, match="reason 0"):
        study.run()
    study.ledger.close()
    assert len(study.results) < 60


def test_a_lost_worker_costs_one_retry(tmp_path):
    lost = []

    def answer(job):
        if job.number == 3:
            lost.append(job)
            return TrialResult(job.number, job.spec, Outcome.LOST, message="its worker process died")
        return scored(job)

    study = study_in(tmp_path / "run", FakePool(answer), max_trials=6)
    study.run()
    study.ledger.close()
    assert len(lost) == 2
    assert lost[0].spec == lost[1].spec
    assert lost[1].seconds < 31  # of 59: what killed a worker may hang at its second try
    assert [result.outcome for result in study.results if result.number == 3] == [Outcome.LOST]
    assert sum(result.finished for result in study.results) == 5


def test_a_search_goes_on_with_what_ends_in_time_where_tpe_likes_what_does_not(tmp_path):
    def answer(job):
        slow = isinstance(job.spec.classifier, NeuralClassifier)
        good = replace(scored(job), score=0.1, log_loss=0.1)
        return replace(good if slow else scored(job), seconds=80.0 if slow else 0.01)

    pool = FakePool(answer, num_workers=1)
    study = study_in(tmp_path / "run", pool, seconds=100.0, max_trials=12, costs=FinishCosts(1.0, 0.0, 0.0))
    study.run()
    assert sum(isinstance(job.spec.classifier, NeuralClassifier) for job in pool.started) > 2
    study.ledger.close()
    # 59 s are left for a trial, and 56 are usual for a network; later there are 39
    late = study_in(
        tmp_path / "run",
        pool,
        seconds=100.0,
        max_trials=40,
        costs=FinishCosts(1.0, 0.0, 0.0),
        started=time.monotonic() - 60.0,
    )
    pool.started.clear()
    late.refits.failed |= set(range(40))
    late.run()
    late.ledger.close()
    assert len(pool.started) == 28
    assert not any(isinstance(job.spec.classifier, NeuralClassifier) for job in pool.started)


def test_a_search_leaves_the_time_that_finishing_needs(tmp_path):
    told = []
    costs = FinishCosts(3.9, 0.0, 0.0)
    study = study_in(tmp_path / "run", FakePool(scored), seconds=6.0, max_trials=None, costs=costs)
    study.nearly_over = lambda: told.append(True)
    study.run()
    study.ledger.close()
    assert study.budget.remaining() > 3.5
    assert told == [True]


def test_one_trial_may_not_take_all_that_is_left(tmp_path):
    pool = FakePool(scored, num_workers=1)
    study = study_in(tmp_path / "run", pool, max_trials=3, seconds=100.0)
    study.run()
    study.ledger.close()
    first, *others = [job.seconds for job in pool.started]
    assert first == 60  # there is no model yet
    assert all(40 < seconds < 60 for seconds in others)


@pytest.mark.parametrize(("seconds", "least", "most"), [(40.0, 35, 40), (90.0, 60, 60), (1000.0, 450, 500)])
def test_trials_that_hang_before_there_is_a_score_give_their_workers_back(tmp_path, seconds, least, most):
    pool = FakePool(scored, num_workers=2)
    study = study_in(tmp_path / "run", pool, max_trials=2, seconds=seconds)
    study.run()
    study.ledger.close()
    assert len(pool.started) == 2  # both before there was a score
    assert all(least <= job.seconds <= most for job in pool.started)


def test_the_baseline_is_tried_however_short_the_time(tmp_path):
    costs = FinishCosts(6.0, 0.0, 1.0)
    study = study_in(tmp_path / "run", FakePool(scored), seconds=6.0, max_trials=None, costs=costs)
    study.run()
    study.ledger.close()
    assert [result.number for result in study.results] == [0]


def test_a_component_that_fails_in_every_trial_is_named(tmp_path):
    def answer(job):
        names = {entry["component"] for entry in job.spec.to_json()["feature_extraction"]}
        if "one_hot" in names:
            return TrialResult(job.number, job.spec, Outcome.FAILED, message="ValueError: no luck")
        return scored(job)

    warned = []
    study = study_in(
        tmp_path / "run",
        FakePool(answer),
        observer=lambda event: warned.append(event.text) if isinstance(event, Warned) else None,
    )
    study.run()
    study.ledger.close()
    assert any("'one_hot' failed in every trial" in text and "no luck" in text for text in warned)
    assert not any("'plain_concat'" in text for text in warned)


def test_a_wish_to_stop_ends_the_search_after_the_trials_that_are_done(tmp_path):
    ended = []
    study = study_in(
        tmp_path / "run",
        FakePool(scored),
        observer=lambda event: ended.append(event) if isinstance(event, TrialEnded) else None,
        should_stop=lambda: len(ended) >= 4,
    )
    study.run()
    study.ledger.close()
    assert sum(result.finished for result in study.results) == 4


@pytest.mark.parametrize("by_hand", [True, False])
def test_trials_that_the_end_cuts_off_are_told(tmp_path, by_hand):
    class HangingPool(FakePool):
        def wait(self, seconds):
            if 0 in [job.number for job in self.jobs.values()]:
                return super().wait(seconds)
            time.sleep(0.02)
            return []

    ended = []
    study = study_in(
        tmp_path / "run",
        HangingPool(scored),
        seconds=3.0,
        observer=lambda event: ended.append(event) if isinstance(event, TrialEnded) else None,
        should_stop=lambda: by_hand and bool(ended),
        costs=FinishCosts(0.1, 0.0, 0.0),
    )
    study.run()
    recorded = [entry.result.number for entry in study.ledger.entries()]
    study.ledger.close()
    assert recorded == [0]
    cut_off = [event.result for event in ended[1:]]
    assert cut_off
    assert all(result.outcome is Outcome.OUT_OF_TIME and result.seconds > 0 for result in cut_off)
    words = "was stopped with the search" if by_hand else "did not finish before the deadline"
    assert {result.message for result in cut_off} == {words}
    assert (ended[-1].num_finished, ended[-1].num_failed) == (1, len(cut_off))


def test_non_finite_scores_never_rank(tmp_path):
    def answer(job):
        if job.number % 2:
            return TrialResult(
                job.number, job.spec, Outcome.FAILED, message="its log_loss is not a finite number"
            )
        return scored(job)

    study = study_in(tmp_path / "run", FakePool(answer), max_trials=8)
    study.run()
    study.ledger.close()
    assert all(np.isfinite(result.score) for result in study.ranking())
    assert len(study.ranking()) == 4


def test_workers_that_come_after_the_deadline_still_give_a_model(tmp_path):
    pool = FakePool(scored)
    study = study_in(tmp_path, pool, seconds=20.0, started=time.monotonic() - 36.0)
    study.run()
    assert study.best is not None
    assert len(pool.started) == 1


def test_the_search_goes_on_in_the_time_that_early_fits_leave(tmp_path):
    def slow(job):
        return replace(scored(job), seconds=29.0)

    pool = FakePool(slow, num_workers=1)
    study = study_in(
        tmp_path,
        pool,
        seconds=100.0,
        max_trials=None,
        costs=FinishCosts(1.0, 0.0, 1.0),
        started=time.monotonic() - 65.0,  # a fit on all rows takes 30 of 35 s
    )
    study.run()
    order = [("fit", each.number) for each in pool.refits] + [("trial", job.number) for job in pool.started]
    assert order[0] == ("fit", study.best.number) or study.best.number > 0
    first = pool.refits[0].number
    assert [job.number for job in pool.started][: first + 1] == list(range(first + 1))
    assert len(pool.started) > first + 1  # and more after it
    assert study.refits.fitted.keys() == {each.number for each in pool.refits}


def test_what_a_kind_of_trial_takes_is_not_learned_from_those_that_raised(tmp_path):
    study = study_in(tmp_path, FakePool(scored), max_trials=1)
    study.run()
    (done,) = study.results
    study.ledger.close()
    expected = study._proposals.expected_seconds
    for outcome, seconds, usual in (
        (Outcome.FAILED, 0.0, 30.0),
        (Outcome.LOST, 0.0, 30.0),
        (Outcome.OUT_OF_TIME, 20.0, 30.0),
        (Outcome.HOPELESS, 0.3, 30.0),
    ):
        results = [replace(done, seconds=30.0), replace(done, outcome=outcome, seconds=seconds)]
        assert expected(done.spec, 1.0, results) == usual
    assert expected(done.spec, 1.0, results[1:]) == 0.3  # as long as none has finished


def test_an_idle_worker_fits_on_all_rows_while_another_has_a_trial(tmp_path):
    class SlowSecond(FakePool):
        """Ends the second trial only after a fit on all rows was begun."""

        def next_worker(self):
            return next((each for each, job in self.jobs.items() if job.number != 1), next(iter(self.jobs)))

    pool = SlowSecond(scored)
    study = study_in(tmp_path, pool, max_trials=2)
    study.run()
    assert [result.number for result in study.results] == [0, 1]
    assert pool.refits[0].number == 0
    assert 0 in study.refits.fitted
    wanted = {member.trial.number for member in study.refits.wanted(study._likely_members())}
    assert wanted <= study.refits.fitted.keys()


def test_what_the_model_does_not_need_any_more_is_not_waited_for(tmp_path):
    class Hanging(FakePool):
        """Never ends a fit of trial 0."""

        def next_worker(self):
            return next(each for each, job in self.jobs.items() if not isinstance(job, Refit) or job.number)

    def better(job):
        score = 0.9 if job.number == 0 else 0.1
        sure = np.eye(2, dtype=np.float32)[[0, 1, 0, 1]]
        right = sure * 0.2 + 0.4 if job.number else 1.0 - (sure * 0.98 + 0.01)
        return replace(scored(job), score=score, log_loss=score, probabilities=right)

    warned = []
    pool = Hanging(better)
    study = study_in(
        tmp_path,
        pool,
        max_trials=2,
        observer=lambda event: warned.append(event.text) if isinstance(event, Warned) else None,
    )
    study.run()
    assert [each.number for each in pool.refits] == [0, 1]
    assert study.refits.fitted == {1: "pipeline"}
    assert pool.jobs == {}
    assert warned == []


@pytest.mark.parametrize("given", [20.0, 0.5])
def test_a_running_trial_is_not_lost_to_fits_that_a_better_one_asks_for(tmp_path, monkeypatch, given):
    class SlowSecond(FakePool):
        def wait(self, seconds):
            time.sleep(0.05)
            late = time.monotonic() > self.begun + 3.2
            due = [worker for worker, job in self.jobs.items() if job.number == 0 or late]
            return self.come_back(due[0]) if due else []

    monkeypatch.setattr("autoflow.search.study._GRACE_SECONDS", 0.2)
    pool = SlowSecond(lambda job: replace(scored(job), seconds=0.5))
    pool.begun = time.monotonic()
    costs = FinishCosts(0.5, 0.0, 1.0)  # with the fit on all rows of the first, 1.3 of the 4 s
    study = study_in(tmp_path, pool, seconds=4.0, max_trials=3, costs=costs)
    study._allowance = lambda proposal, seconds, times: given
    study.run()
    assert [result.finished for result in study.results] == [True] + [given == 20.0] * 2


def test_a_search_in_which_all_but_the_baseline_fail_ends_and_says_why(tmp_path):
    def answer(job):
        if job.spec.classifier.baseline:
            return scored(job)
        return TrialResult(job.number, job.spec, Outcome.FAILED, message="ValueError: no such thing")

    study = study_in(tmp_path, FakePool(answer), max_trials=200)
    with pytest.raises(NoModelError, match=r"every trial but the baseline failed.*no such thing"):
        study.run()
    assert len(study.results) < 60


def test_what_had_more_rows_or_other_folds_makes_no_trial_hopeless(tmp_path):
    study = study_in(tmp_path, FakePool(scored), max_trials=12, num_folds=5)
    study.run()
    for place, result in enumerate(study.results):
        share, loss = ((1.0, 0.1), (0.25, 0.5))[place % 2]
        study.results[place] = replace(result, share=share, log_loss=loss)
    assert study._hopeless_loss(0.25) == pytest.approx(0.5 * 1.6 + 0.02)
    assert study._hopeless_loss(1.0) < 0.5 * 1.6
    study.folds_are_alike = False
    assert study._hopeless_loss(0.25) == float("inf")


@pytest.mark.parametrize(("seconds", "again"), [(90.0, False), (600.0, True)])
def test_trials_that_the_clock_stopped_are_tried_again_with_more_time(tmp_path, seconds, again):
    def answer(job):
        return replace(scored(job), message=STOPPED)

    first = study_in(tmp_path / "run", FakePool(answer), max_trials=4)
    first.ledger.remember("planned_seconds", 60.0)
    first.run()
    first.ledger.close()
    before = {each.spec.fingerprint for each in first.results}
    for most in (9, 14):  # once, and not with every command
        study = study_in(tmp_path / "run", FakePool(answer), max_trials=most, seconds=seconds)
        study.run()
        study.ledger.close()
    repeated = [each.spec.fingerprint for each in study.results[4:] if each.spec.fingerprint in before]
    assert sorted(repeated) == (sorted(before) if again else [])


@pytest.mark.parametrize(("seconds", "again"), [(90.0, 0), (600.0, 1)])
def test_what_moved_up_and_was_stopped_by_the_clock_moves_up_again_with_more_time(tmp_path, seconds, again):
    def answer(job):
        return replace(scored(job), message=STOPPED if job.share == 1.0 else "")

    first = study_in(tmp_path / "run", FakePool(answer), max_trials=20, rungs=(0.25, 1.0))
    first.ledger.remember("planned_seconds", 60.0)
    first.run()
    first.ledger.close()
    moved_up = {each.spec.fingerprint for each in first.results if each.share == 1.0}
    assert len(moved_up) > 2
    for most in (35, 50):
        study = study_in(
            tmp_path / "run", FakePool(answer), max_trials=most, rungs=(0.25, 1.0), seconds=seconds
        )
        study.run()
        study.ledger.close()
    begun = [each.spec.fingerprint for each in study.results if each.share == 0.25]
    assert len(begun) == len(set(begun))
    repeated = [each.spec.fingerprint for each in study.results[20:] if each.share == 1.0]
    # not all are among the best third still
    counts = [repeated.count(recipe) for recipe in moved_up]
    assert max(counts) == again
    assert sum(counts) >= again * len(moved_up) // 2


def test_what_a_pipeline_takes_is_learned_from_its_own_trials(tmp_path):
    study = study_in(tmp_path, FakePool(scored), max_trials=20)
    study.run()
    study.ledger.close()
    trees = [each for each in study.results if name_of(each.spec.classifier) == "boosted_trees"]
    slow, quick = replace(trees[0], seconds=10.0, share=0.25), replace(trees[1], seconds=1.0, share=0.25)
    expected = study._proposals.expected_seconds
    assert expected(slow.spec, 1.0, [quick, slow]) == 40.0
    assert expected(trees[2].spec, 1.0, [quick, slow]) == 4.0


def test_what_was_hopeless_counts_as_the_worst_for_what_is_drawn_next(tmp_path):
    def answer(job):
        if job.number % 3 == 2:
            return TrialResult(job.number, job.spec, Outcome.HOPELESS, message="too far")
        return scored(job)

    told = []
    study = study_in(tmp_path, FakePool(answer), max_trials=12)
    study.sampler.tell = lambda proposal, loss: told.append(loss)
    study.run()
    so_far = []
    for result, loss in zip(study.results, told, strict=True):
        so_far += [result.score] if result.finished else []
        assert loss == (result.score if result.finished else max(so_far))


def test_the_chosen_are_fitted_though_all_that_were_likely_could_not_be_exported(tmp_path):
    study = study_in(tmp_path, FakePool(scored), max_trials=8, costs=FinishCosts(1.0, 4.0, 0.3))
    study.run()
    unfitted = [each for each in study.results if each.number not in study.refits.fitted]
    trials = [each for each in unfitted if not each.spec.concatenation.trainable][:3]
    study._likely_members = lambda: tuple(Member(each, 1 / 3) for each in trials)
    study.budget = study.refits.budget = Budget(60.0, time.monotonic() - 57.0)  # 9 s would be needed
    study.fit_on_all_rows([Member(trials[1], 1.0)])
    assert trials[1].number in study.refits.fitted
    assert not {trials[0].number, trials[2].number} & study.refits.fitted.keys()
    study.ledger.close()


def _study_that_draws_what_is_slow(tmp_path, *, quick):
    """After 30 trials, of which the good ones took 1 s and the networks 10 s; TPE draws networks only."""

    def answer(job):
        slow = isinstance(job.spec.classifier, NeuralClassifier)
        return replace(scored(job), score=0.5 if slow else 0.3, seconds=10.0 if slow else 1.0)

    study = study_in(tmp_path, FakePool(answer), max_trials=30, seconds=1000.0)
    study.run()
    slow = next(each.spec for each in study.results if isinstance(each.spec.classifier, NeuralClassifier))
    fast = next(each.spec for each in study.results if isinstance(each.spec.classifier, LogisticRegression))
    asked, forced = [], []

    def ask(number, classifier, gains):
        if classifier is not None:
            forced.append(number)
            spec = replace(fast, classifier=LogisticRegression(l2=float(len(forced))))
            return Proposal(spec, {}, {}, "tpe") if quick else None
        asked.append(replace(slow, classifier=replace(slow.classifier, batch_size=100 + len(asked))))
        return Proposal(asked[-1], {}, {}, "tpe")

    study.sampler.ask = ask
    study._proposals.gains = dict  # all trials predict alike here, so that these would rank none
    study._proposals._pending.clear()
    return study, asked


def test_what_takes_k_times_as_long_as_is_affordable_is_tried_once_in_k_times(tmp_path):
    study, asked = _study_that_draws_what_is_slow(tmp_path, quick=True)
    wanted = Vacancy(2000.0)
    given = [study._proposals.next(wanted, study.results) for _ in range(300)]
    slow = [each for each in given if isinstance(each.spec.classifier, NeuralClassifier)]
    assert 0.15 < len(slow) / len(asked) < 0.25
    assert len({each.spec.fingerprint for each in given}) == 300
    assert {type(each.spec.classifier) for each in given if each not in slow} == {LogisticRegression}
    study.ledger.close()


def test_no_worker_waits_for_luck(tmp_path):
    study, asked = _study_that_draws_what_is_slow(tmp_path, quick=False)
    wanted = Vacancy(2000.0)
    given = [study._proposals.next(wanted, study.results) for _ in range(50)]
    assert None not in given
    assert len({each.spec.fingerprint for each in given}) == 50
    assert len(asked) > 100
    assert study._proposals.next(Vacancy(5.0), study.results) is None
    assert study._proposals.next(wanted, []).spec == asked[-1]  # as long as nothing is known
    study.ledger.close()


@pytest.mark.parametrize("rungs", [(1.0,), (0.25, 1.0)])
def test_every_second_draw_is_by_what_trials_of_the_first_rung_gain_the_mean(tmp_path, rungs):
    def answer(job):
        certain = np.random.default_rng(job.number).uniform(0.5, 0.9, 4)
        positive = np.where([False, True, False, True], certain, 1 - certain)
        probabilities = np.stack([1 - positive, positive], axis=1).astype(np.float32)
        return replace(scored(job), probabilities=probabilities)

    asked, told_at_first_rung = [], []
    study = study_in(tmp_path, FakePool(answer), max_trials=60, rungs=rungs)
    ask = study.sampler.ask

    def noted(number, classifier, gains):
        asked.append((number, gains))
        first = [each for each in study.results if each.share == rungs[0]]
        told_at_first_rung.append({each.spec.fingerprint for each in first})
        return ask(number, classifier, gains)

    study.sampler.ask = noted
    study.run()
    by_gains = dict.fromkeys(number for number, _ in asked)
    for (number, gains), told in zip(asked, told_at_first_rung, strict=True):
        by_gains[number] = bool(gains)
        assert not gains or gains.keys() == told
    assert len(by_gains) > 8
    assert list(by_gains.values()) == [place % 2 == 1 for place in range(len(by_gains))]
    study.ledger.close()


def test_a_search_waits_for_workers_that_are_being_replaced(tmp_path):
    class LosingPool(FakePool):
        """Loses its worker with the first trial, and has it back after three looks."""

        looks_until_back = 0

        def idle(self):
            return [] if self.looks_until_back else super().idle()

        def wait(self, seconds):
            if not self.jobs:
                self.looks_until_back -= 1
                return []
            return super().wait(seconds)

    def answer(job):
        if len(pool.started) == 1:
            pool.looks_until_back = 3
            return TrialResult(job.number, job.spec, Outcome.LOST, message="its worker process died")
        return scored(job)

    pool = LosingPool(answer, num_workers=1)
    study = study_in(tmp_path / "run", pool, max_trials=4)
    study.run()
    study.ledger.close()
    assert [result.outcome for result in study.results] == [Outcome.FINISHED] * 4
    assert [job.number for job in pool.started] == [0, 0, 1, 2, 3]
