"""What the pool does about trials that take too much, without Ray's processes."""

from __future__ import annotations

import os
import subprocess
from types import SimpleNamespace

import psutil
import pytest

from autoflow.errors import MachineError
from autoflow.search.ray_pool import RayPool, Refit, _Slot
from autoflow.search.ray_worker import RayWorker
from autoflow.search.trial import Outcome, PartResult, TrialJob


def test_a_trial_that_takes_too_much_memory_is_stopped_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "ray.wait", lambda references, **_: (references if "process" in references else [], [])
    )
    monkeypatch.setattr("ray.get", lambda reference: os.getpid())
    ended = []
    monkeypatch.setattr("ray.kill", ended.append)
    replacement = SimpleNamespace(begin=SimpleNamespace(remote=lambda experiment: "process"))
    monkeypatch.setattr(RayPool, "_new_actor", lambda pool: replacement)
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


class FakeRay:
    """Ray's functions, for references that are their own names; those in `ready` have an answer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ready: set[str] = set()
        self.answers: dict[str, object] = {}
        self.ended: list[str] = []
        self.cores = 0
        for name in ("get", "wait", "kill", "put", "cluster_resources"):
            monkeypatch.setattr(f"ray.{name}", getattr(self, name))

    def get(self, reference: str, timeout: float = 0.0) -> object:
        answer = self.answers[reference]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def wait(self, references: list[str], timeout: float = 0.0, **_: int) -> tuple[list[str], list[str]]:
        return [each for each in references if each in self.ready], []

    def kill(self, actor: object) -> None:
        self.ended.append(actor.name)

    def put(self, value: object) -> object:
        return value

    def cluster_resources(self) -> dict[str, int]:
        return {"CPU": self.cores}


def _pool(monkeypatch: pytest.MonkeyPatch, num_workers: int, worker_bytes: float = float("inf")) -> RayPool:
    """Returns a pool whose actors are named a0, a1, ... in the order in which they are made."""
    made = []

    def new_actor(self: RayPool) -> SimpleNamespace:
        name = f"a{len(made)}"
        made.append(name)
        calls = {
            call: SimpleNamespace(remote=lambda *_, call=call: f"{name}.{call}")
            for call in ("begin", "evaluate", "refit")
        }
        return SimpleNamespace(name=name, **calls)

    monkeypatch.setattr(RayPool, "_new_actor", new_actor)
    return RayPool(num_workers, 1, (), "session", worker_bytes)


def _died() -> Exception:
    from ray.exceptions import ActorDiedError

    return ActorDiedError()


def test_a_worker_that_dies_while_it_starts_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeRay(monkeypatch)
    fake.answers = {"a0.begin": 1, "a1.begin": _died(), "a2.begin": 3}
    fake.ready = {"a0.begin", "a1.begin", "a2.begin", "a3.begin"}
    _pool(monkeypatch, 2).begin("data")
    assert fake.ended == ["a1"]
    fake.answers |= {"a2.begin": _died(), "a3.begin": _died(), "a0.begin": 1}
    with pytest.raises(MachineError, match="the workers do not start: 3 processes died"):
        _pool(monkeypatch, 2).begin("data")


def test_workers_are_not_waited_for_once_the_run_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeRay(monkeypatch)
    asked = []
    pool = _pool(monkeypatch, 2)
    pool.begin("data", lambda: bool(asked.append("stop?") or len(asked) > 2))
    assert len(asked) == 4  # three times for the first worker, once for the second
    assert fake.ended == []


def test_a_worker_gets_no_trial_before_it_is_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeRay(monkeypatch)
    fake.answers = {"a0.begin": 1, "a1.begin": 2, "a1.evaluate": _died()}
    fake.ready = {"a0.begin", "a1.begin", "a1.evaluate"}
    pool = _pool(monkeypatch, 2)
    pool.begin("data")
    assert pool.idle() == [0, 1]
    pool.start(1, TrialJob(7, None, 0), needs_tensorflow=False)
    assert [result.outcome for result in pool.wait(0.0)] == [Outcome.LOST]
    assert pool.idle() == [0]
    fake.ready.add("a2.begin")
    assert pool.idle() == [0, 1]


def test_a_cluster_without_room_for_any_worker_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeRay(monkeypatch)
    fake.answers = {"a0.begin": 1}
    fake.ready = {"a0.begin"}
    pool = _pool(monkeypatch, 1)
    pool.begin("data")
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    for seconds, up in ((0.0, False), (59.0, False), (61.0, True), (62.0, False), (121.0, False)):
        clock[0] = seconds
        fake.ready = {"a0.begin"} if up else set()
        assert pool.wait(0.0) == []
    clock[0] = 123.0
    with pytest.raises(MachineError, match="no worker has come up for 60 seconds: the cluster has 0 cores"):
        pool.wait(0.0)
    fake.cores = 1  # a slow machine may need longer
    assert pool.wait(0.0) == []


def test_a_fit_on_all_rows_that_takes_too_much_memory_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeRay(monkeypatch)
    fake.answers = {"a0.begin": os.getpid()}
    fake.ready = {"a0.begin"}
    pool = _pool(monkeypatch, 1, psutil.Process().memory_info().rss / 100)
    pool.begin("data")
    refits = pool.refit([Refit(TrialJob(7, None, 0), None)], 100.0, lambda: False)
    assert refits.fitted == {}
    assert "GB of memory and was stopped" in refits.failed[7]
    assert fake.ended == ["a0"]


def test_a_part_of_a_trial_that_ended_elsewhere_is_dropped_and_its_worker_is_idle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake = FakeRay(monkeypatch)
    given = PartResult(7, (0,), Outcome.FINISHED)
    fake.answers = {"a0.begin": 1, "a0.evaluate": given}
    fake.ready = {"a0.begin", "a0.evaluate"}
    pool = _pool(monkeypatch, 1)
    pool.begin("data")
    # only what is in progress is forgotten, and nothing of another trial
    for number, results in ((8, [given]), (7, []), (8, [given])):
        pool.start(0, TrialJob(7, None, 0, folds=(0,)), needs_tensorflow=False)
        pool.forget(number)
        assert pool.idle() == []
        assert pool.wait(0.0) == results
        assert pool.idle() == [0]
    assert fake.ended == []


@pytest.mark.parametrize("is_forgotten", [False, True])
def test_a_part_that_does_not_come_back_is_stopped_and_told_once(
    monkeypatch: pytest.MonkeyPatch, is_forgotten: bool
) -> None:
    fake = FakeRay(monkeypatch)
    fake.answers = {"a0.begin": 1}
    fake.ready = {"a0.begin", "a1.begin"}
    pool = _pool(monkeypatch, 1)
    pool.begin("data")
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    pool.start(0, TrialJob(7, None, 0, 10.0, folds=(1, 2)), needs_tensorflow=False)
    if is_forgotten:
        pool.forget(7)
    clock[0] = 34.0
    assert pool.wait(0.0) == []
    clock[0] = 36.0
    text = "it did not come back in time and was stopped"
    told = [PartResult(7, (1, 2), Outcome.OUT_OF_TIME, message=text)]
    assert pool.wait(0.0) == ([] if is_forgotten else told)
    assert fake.ended == ["a0"]
    assert pool.idle() == [0]
