"""What the pool does about trials that take too much, without Ray's processes."""

from __future__ import annotations

import os
import subprocess
from types import SimpleNamespace

import psutil
import pytest

from autoflow.search.ray_pool import RayPool, _Slot
from autoflow.search.ray_worker import RayWorker
from autoflow.search.trial import Outcome, PartResult, TrialJob


def test_a_trial_that_takes_too_much_memory_is_stopped_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "ray.wait", lambda references, **_: (references if "process" in references else [], [])
    )
    monkeypatch.setattr("ray.get", lambda reference: os.getpid())
    ended = []
    monkeypatch.setattr("ray.kill", ended.append)
    held = psutil.Process().memory_info().rss
    for limit, outcomes in ((10 * held, []), (held / 100, [Outcome.FAILED]), (float("inf"), [])):
        pool = RayPool(0, 1, (), "session", limit)
        slot = _Slot("actor", "process", TrialJob(7, None, 0), "trial")
        pool._slots = [slot]
        results = pool.wait(0.0)
        assert [result.outcome for result in results] == outcomes
        assert (slot.job is None) == bool(outcomes)
        if outcomes:
            assert "GB of memory and was stopped" in results[0].message
    assert ended == ["actor"]


def test_a_part_of_a_trial_that_ended_elsewhere_is_dropped_and_its_worker_is_idle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = PartResult(7, (0,), Outcome.FINISHED)
    monkeypatch.setattr("ray.wait", lambda references, **_: (references, []))
    monkeypatch.setattr("ray.get", lambda reference: given)
    part = TrialJob(7, None, 0, folds=(0,))
    for number, results in ((7, []), (8, [given])):
        pool = RayPool(0, 1, (), "session")
        pool._slots = [_Slot("actor", "process", part, "part")]
        pool.forget(number)
        assert pool.wait(0.0) == results
        assert pool.idle() == [0]
        # only what was in progress is forgotten
        pool._slots[0].job, pool._slots[0].reference = part, "the same in a second try"
        assert pool.wait(0.0) == [given]


@pytest.mark.parametrize("is_forgotten", [False, True])
def test_a_part_that_does_not_come_back_is_stopped_and_told_once(
    monkeypatch: pytest.MonkeyPatch, is_forgotten: bool
) -> None:
    ended: list[str] = []
    monkeypatch.setattr("ray.wait", lambda references, **_: ([], references))
    monkeypatch.setattr("ray.kill", ended.append)
    pool = RayPool(0, 1, (), "session")
    pool._slots = [_Slot("actor", "process", TrialJob(7, None, 0, folds=(1, 2)), "part", kill_at=0.0)]
    if is_forgotten:
        pool.forget(7)
    text = "it did not come back in time and was stopped"
    told = [PartResult(7, (1, 2), Outcome.OUT_OF_TIME, message=text)]
    assert pool.wait(0.0) == ([] if is_forgotten else told)
    assert ended == ["actor"]
    assert pool.idle() == [0]
    assert not pool._slots[0].is_forgotten


def test_processes_that_a_trial_left_behind_are_ended_and_others_are_not() -> None:
    left: list[subprocess.Popen[bytes]] = []

    def evaluate(job: TrialJob) -> str:
        left.append(subprocess.Popen(["sleep", "1000"], start_new_session=True))
        if job.number == 1:
            raise ValueError("no luck")
        return "result"

    earlier = subprocess.Popen(["sleep", "1000"])
    worker = object.__new__(RayWorker)
    worker._evaluator = SimpleNamespace(evaluate=evaluate)
    assert worker.evaluate(TrialJob(0, None, 0)) == "result"
    with pytest.raises(ValueError, match="no luck"):
        worker.evaluate(TrialJob(1, None, 0))
    assert [process.wait(timeout=10) for process in left] == [-9, -9]
    assert earlier.poll() is None
    earlier.kill()
    earlier.wait()
