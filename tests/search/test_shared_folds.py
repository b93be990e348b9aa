"""Workers share the folds of a trial where trials or the time run short, and the trial ends once."""

import numpy as np
import pytest
from fake_pool import FakePool, scored, study_in

from autoflow.components.discovery import discover
from autoflow.components.registry import Role, lookup
from autoflow.pipeline.spec import Node, PipelineSpec
from autoflow.search.costs import FinishCosts
from autoflow.search.events import TrialEnded
from autoflow.search.shared_folds import RunningTrials, parts_of
from autoflow.search.trial import Outcome, PartResult, TrialJob

LABELS = np.array([0, 1, 0, 1], np.int32)


@pytest.fixture(scope="module", autouse=True)
def _components():
    import keras_tuner  # noqa: F401  # a search pays for it before its first trial

    discover()


def part_of(job, outcome=Outcome.FINISHED, message=""):
    """Returns what a worker gives for a part of two folds with two rows each, or for a whole trial."""
    if outcome is not Outcome.FINISHED:
        return job.ended(outcome, message, 0.0)
    if job.folds is None:
        return scored(job)
    (fold,) = job.folds
    return PartResult(
        job.number,
        job.folds,
        outcome,
        0.5,
        iterations=(10 * (fold + 1),),
        probabilities=np.float32([[0.9, 0.1], [0.1, 0.9]]) if fold else np.float32([[0.6, 0.4], [0.4, 0.6]]),
        artifact=b"fold %d," % fold,
    )


def any_spec():
    raw, plain = lookup(Role.FEATURE_EXTRACTION, "raw_numbers"), lookup(Role.CONCATENATION, "plain_concat")
    majority = lookup(Role.CLASSIFICATION, "majority")
    return PipelineSpec((Node("numeric", ("x",), raw()),), plain(), majority())


class LatestFirst(FakePool):
    """Answers what was started last."""

    def next_worker(self):
        return list(self.jobs)[-1]


@pytest.mark.parametrize("kind", [FakePool, LatestFirst])
def test_the_only_trial_is_shared_and_put_together_in_the_order_of_the_folds(tmp_path, kind):
    pool = kind(part_of)
    study = study_in(tmp_path / "run", pool, max_trials=1, seconds=600.0, num_folds=2)
    study.run()
    (entry,) = study.ledger.entries()
    assert study.ledger.artifact(0) == b"fold 0,fold 1,"
    held_out = study.ledger.probabilities(0)
    study.ledger.close()
    assert [job.folds for job in pool.started] == [(0,), (1,)]
    assert len({(job.number, job.seed, job.spec) for job in pool.started}) == 1
    np.testing.assert_array_equal(held_out[:, 0], np.float32([0.6, 0.4, 0.9, 0.1]))
    assert entry.result.outcome is Outcome.FINISHED
    assert entry.result.log_loss == pytest.approx(-np.mean(np.log([0.6, 0.6, 0.9, 0.9])))
    assert entry.result.iterations == 15
    assert 1.0 <= entry.result.seconds < 1.1


def test_workers_share_only_where_trials_are_fewer(tmp_path):
    pool = FakePool(lambda job: job.ended(Outcome.FAILED, "no luck", 0.0), num_workers=5)
    study = study_in(tmp_path / "run", pool, max_trials=4, seconds=600.0, num_folds=5)
    study._hand_out()
    study.ledger.close()
    assert [job.folds for job in pool.started] == [None, None, None, (0, 1, 2), (3, 4)]
    assert [job.number for job in pool.started] == [0, 1, 2, 3, 3]


def test_one_fold_is_not_parted(tmp_path):
    pool = FakePool(scored, num_workers=2)
    study = study_in(tmp_path / "run", pool, max_trials=1, seconds=600.0)
    study.run()
    study.ledger.close()
    assert [job.folds for job in pool.started] == [None]


def test_each_fold_of_a_shared_trial_may_take_as_long():
    job = TrialJob(0, None, 0, 12.0)
    parts = parts_of(job, 5, 4)
    assert [(part.folds, part.seconds) for part in parts] == [((0, 1), 12.0), ((2, 3), 12.0), ((4,), 6.0)]
    assert parts_of(job, 5, 1) == [job]


@pytest.mark.parametrize("num_folds", [1, 5])
def test_near_the_end_workers_share_a_trial_that_one_would_not_finish(tmp_path, num_folds):
    first = study_in(tmp_path / "run", FakePool(scored), max_trials=1, seconds=600.0)
    first.run()
    first.ledger.close()
    pool = FakePool(lambda job: job.ended(Outcome.FAILED, "no luck", 0.0))
    # trials take 700 s at least, 550 are left for a search: one worker ends none, two share 917 s
    costs = FinishCosts(50.0, 0.0, 0.0, num_folds)
    study = study_in(tmp_path / "run", pool, max_trials=None, seconds=600.0, costs=costs)
    study._proposals.expected_seconds = lambda spec, share, results: 1000.0
    study.refits.failed.add(0)  # else that is what a worker would do
    study._hand_out()
    study.ledger.close()
    assert [job.folds for job in pool.started] == ([] if num_folds == 1 else [(0, 1, 2), (3, 4)])
    if pool.started:
        allowed, less = (job.seconds for job in pool.started)
        assert 275 < allowed < 550
        assert less == pytest.approx(allowed * 2 / 3)


@pytest.mark.parametrize("kind", [FakePool, LatestFirst])
@pytest.mark.parametrize("times_lost", [1, 2])
def test_a_lost_part_costs_one_retry_and_one_entry(tmp_path, kind, times_lost):
    lost = []

    def answer(job):
        if job.folds != (0,) and len(lost) < times_lost:
            lost.append(job)
            return part_of(job, Outcome.LOST, "its worker process died")
        return part_of(job)

    ended = []
    pool = kind(answer)
    study = study_in(
        tmp_path / "run",
        pool,
        max_trials=1,
        seconds=600.0,
        num_folds=2,
        observer=lambda event: ended.append(event.result) if isinstance(event, TrialEnded) else None,
    )
    study.run()
    (entry,) = study.ledger.entries()
    study.ledger.close()
    expected = Outcome.FINISHED if times_lost == 1 else Outcome.LOST
    assert [result.outcome for result in ended] == [entry.result.outcome] == [expected]
    assert len(lost) == times_lost
    # with the other part still in progress the second try has one worker
    second = [job.folds for job in pool.started[2:]]
    assert second == ([None] if kind is LatestFirst else [(0,), (1,)])


def test_a_hopeless_part_ends_the_trial_and_the_other_worker_is_used_again():
    def answer(job):
        return part_of(job, Outcome.HOPELESS, "far off") if job.folds == (0,) else part_of(job)

    pool = FakePool(answer)
    trials = RunningTrials(pool, LABELS, "log_loss")
    spec = any_spec()
    trials.start([0, 1], TrialJob(0, spec, 0), 2)
    (hopeless,) = trials.wait(0.0)
    assert (hopeless.outcome, hopeless.message) == (Outcome.HOPELESS, "far off")
    assert trials.jobs == []
    assert pool.idle() == [0]
    trials.start([0], TrialJob(1, spec, 0), 2)
    assert trials.wait(0.0) == []  # what the other worker had of the hopeless trial
    assert pool.idle() == [1]
    assert [result.number for result in trials.wait(0.0)] == [1]
    assert trials.jobs == []


def test_what_is_left_of_a_hopeless_trial_does_not_outlive_the_search(tmp_path):
    class SecondHangs(FakePool):
        """Never ends the part with the last fold."""

        def wait(self, seconds):
            ended = [worker for worker, job in self.jobs.items() if 0 in job.folds]
            return self.come_back(ended[0]) if ended else []

    pool = SecondHangs(lambda job: part_of(job, Outcome.HOPELESS, "too bad"))
    study = study_in(tmp_path / "run", pool, max_trials=1, seconds=600.0, num_folds=2)
    study.run()
    study.ledger.close()
    assert [result.outcome for result in study.results] == [Outcome.HOPELESS]
    assert not pool.jobs


def test_a_second_try_takes_no_part_of_the_first():
    tried = []

    def answer(job):
        tried.append(job.folds)
        return part_of(job, Outcome.LOST, "its worker process died") if len(tried) == 1 else part_of(job)

    pool = FakePool(answer, num_workers=3)
    trials = RunningTrials(pool, LABELS, "log_loss")
    job = TrialJob(0, any_spec(), 0)
    trials.start([0, 1], job, 2)
    assert [result.outcome for result in trials.wait(0.0)] == [Outcome.LOST]
    trials.start([0, 2], job, 2)
    assert trials.wait(0.0) == []
    assert pool.idle() == [1]  # it had the other part of the first try
    assert trials.wait(0.0) == []
    assert [result.outcome for result in trials.wait(0.0)] == [Outcome.FINISHED]
    assert tried == [(0,), (0,), (1,)]


def test_parts_that_fail_at_once_are_one_failed_trial():
    class AllAtOnce(FakePool):
        def wait(self, seconds):
            results = [self.answer(job) for job in self.jobs.values()]
            self.jobs.clear()
            return results

    pool = AllAtOnce(lambda job: part_of(job, Outcome.FAILED, f"ValueError: fold {job.folds}"))
    trials = RunningTrials(pool, LABELS, "log_loss")
    trials.start([0, 1], TrialJob(0, any_spec(), 0), 2)
    (failed,) = trials.wait(0.0)
    assert (failed.outcome, failed.message) == (Outcome.FAILED, "ValueError: fold (0,)")
    assert trials.jobs == []


def test_a_shared_trial_that_the_end_cuts_off_is_told_once(tmp_path):
    ended = []
    pool = FakePool(part_of)
    study = study_in(
        tmp_path / "run",
        pool,
        max_trials=1,
        seconds=600.0,
        num_folds=2,
        observer=lambda event: ended.append(event.result) if isinstance(event, TrialEnded) else None,
        should_stop=lambda: bool(pool.started),
    )
    study.run()
    assert study.ledger.entries() == []
    study.ledger.close()
    assert [result.outcome for result in ended] == [Outcome.OUT_OF_TIME]
    assert pool.jobs == {}
