"""What the pool does about trials that take too much, without Ray's processes."""

from __future__ import annotations

import os
import subprocess
from types import SimpleNamespace

import psutil
import pytest

from autoflow.search.ray_pool import RayPool, RayWorker, _Slot
from autoflow.search.trial import Outcome, TrialJob


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


def test_processes_that_a_trial_left_behind_are_ended_and_others_are_not() -> None:
    left: list[subprocess.Popen[bytes]] = []

    def evaluate(job: str) -> str:
        left.append(subprocess.Popen(["sleep", "1000"], start_new_session=True))
        if job == "bad":
            raise ValueError("no luck")
        return "result"

    earlier = subprocess.Popen(["sleep", "1000"])
    worker = object.__new__(RayWorker)
    worker._evaluator = SimpleNamespace(evaluate=evaluate)
    assert worker.evaluate("good") == "result"
    with pytest.raises(ValueError, match="no luck"):
        worker.evaluate("bad")
    assert [process.wait(timeout=10) for process in left] == [-9, -9]
    assert earlier.poll() is None
    earlier.kill()
    earlier.wait()
