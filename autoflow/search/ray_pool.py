"""Long-lived workers on Ray, and what happens when one dies.

A worker that dies or hangs costs its trial and is replaced. One whose replacement finds no place, as a node
went away, is left out until there is one. Retries are decided by the study, never by Ray.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psutil

from autoflow.components.discovery import ComponentFile
from autoflow.errors import MachineError
from autoflow.search.evaluate import Experiment
from autoflow.search.ray_cluster import last_line
from autoflow.search.ray_worker import RayWorker
from autoflow.search.trial import Outcome, Refit, Result, TrialJob, Work

_OVERRUN_FACTOR = 1.5
_OVERRUN_SECONDS = 20.0
_BEGIN_SECONDS = 120.0
_BEGIN_TRIES = 3
_LOOK_SECONDS = 0.25
_PLACELESS_SECONDS = 60.0
"""A node joins within seconds, so a search that has had no worker for longer has lost its cluster."""
_WORKER_DIED = "its worker process died (killed, out of memory, or crashed in native code)"


@dataclass(eq=False)
class _Slot:
    actor: Any = None
    process: Any = None
    job: Work | None = None
    reference: Any = None
    started: float = 0.0
    kill_at: float = float("inf")
    is_forgotten: bool = False
    knows_tensorflow: bool = False


@dataclass
class RayPool:
    """A pool of Ray actors; implements `WorkerPool`. Call `begin` once before the first trial.

    Args:
        num_workers: trials, or parts of trials, that run side by side.
        num_threads: threads of each.
        component_files: the user's own components.
        session: see `RayWorker`.
        worker_bytes: memory that one worker may hold; where workers are on other machines, Ray alone watches.
    """

    num_workers: int
    num_threads: int
    component_files: tuple[ComponentFile, ...]
    session: str
    worker_bytes: float = float("inf")
    _slots: list[_Slot] = field(default_factory=list, init=False)
    _experiment: Any = field(default=None, init=False)
    _placeless_since: float = field(default=float("inf"), init=False)

    def __post_init__(self) -> None:
        self._slots = [_Slot(self._new_actor()) for _ in range(self.num_workers)]

    def begin(self, experiment: Experiment, should_stop: Callable[[], bool]) -> None:
        """Sends the data to all workers, and waits for them unless the user wants to stop.

        Raises:
            MachineError: the workers do not start.
        """
        import ray

        self._experiment = ray.put(experiment)
        for slot in self._slots:
            slot.process = slot.actor.begin.remote(self._experiment)
        deadline = time.monotonic() + _BEGIN_SECONDS
        for slot in self._slots:
            self._wait_for(slot, deadline, should_stop)

    def _wait_for(self, slot: _Slot, deadline: float, should_stop: Callable[[], bool]) -> None:
        """Waits until a worker has the data; one that dies meanwhile is replaced."""
        import ray

        for _ in range(_BEGIN_TRIES):
            try:
                while not ray.wait([slot.process], timeout=_LOOK_SECONDS)[0]:
                    if should_stop():
                        return
                    if time.monotonic() > deadline:
                        raise TimeoutError("they take too long")
                ray.get(slot.process)
                return
            except ray.exceptions.RayActorError:
                self._end(slot)
                self._actor(slot)
            except (ray.exceptions.RayError, TimeoutError) as error:
                raise MachineError(f"the workers do not start: {last_line(error)}") from error
        raise MachineError(
            f"the workers do not start: {_BEGIN_TRIES} processes died one after the other (killed, out of "
            "memory, or crashed in native code)"
        )

    def idle(self) -> list[int]:
        """Returns the workers that can take work now; those that live first, as starting takes seconds."""
        free = [number for number, slot in enumerate(self._slots) if slot.job is None and self._is_up(slot)]
        return sorted(free, key=lambda number: self._slots[number].actor is None)

    def knows_tensorflow(self, worker: int) -> bool:
        """Tells whether the worker has imported TensorFlow already."""
        return self._slots[worker].knows_tensorflow

    def start(self, worker: int, work: Work, *, needs_tensorflow: bool) -> None:
        """Gives a trial, some folds of one or a fit on all rows to an idle worker."""
        slot = self._slots[worker]
        actor = self._actor(slot)
        slot.started = time.monotonic()
        if isinstance(work, Refit):  # however long it takes: what stops early is a worse model
            slot.reference, slot.kill_at = actor.refit.remote(work), float("inf")
        else:
            slot.reference = actor.evaluate.remote(work)
            slot.kill_at = slot.started + work.seconds * _OVERRUN_FACTOR + _OVERRUN_SECONDS
        slot.job = work
        slot.knows_tensorflow = slot.knows_tensorflow or needs_tensorflow

    def forget(self, number: int) -> None:
        """Drops what will come of the parts of a trial; their workers are idle after them.

        They are not stopped, as another process would import and read for longer than most folds take.
        """
        for slot in self._slots:
            if isinstance(slot.job, TrialJob) and slot.job.number == number:
                slot.is_forgotten = True

    def wait(self, seconds: float) -> list[Result]:
        """Returns what ended, waiting up to `seconds` for the first.

        Raises:
            MachineError: for a minute no worker found a place in the cluster.
        """
        import ray

        self._check_places()
        busy = [slot for slot in self._slots if slot.job is not None]
        if not busy:
            ray.wait([slot.process for slot in self._slots], timeout=max(seconds, 0.0))
            return []
        references = [slot.reference for slot in busy]
        if ray.wait(references, num_returns=1, timeout=max(seconds, 0.0))[0]:  # others may have ended by now
            ready, _ = ray.wait(references, num_returns=len(references), timeout=0)
        else:
            ready = []
        results = []
        for slot in busy:
            is_forgotten = slot.is_forgotten
            result = self._collect(slot) if slot.reference in ready else self._stopped(slot)
            if result is not None and not is_forgotten:
                results.append(result)
        return results

    def _stopped(self, slot: _Slot) -> Result | None:
        """Ends a worker that took too much time or memory; None where it did not."""
        if time.monotonic() > slot.kill_at:
            return self._lose(slot, Outcome.OUT_OF_TIME, "it did not come back in time and was stopped")
        if self._held_bytes(slot) > self.worker_bytes:
            return self._lose(slot, Outcome.FAILED, self._too_much())
        return None

    def _is_up(self, slot: _Slot) -> bool:
        """Tells whether a worker has begun or died, which its next trial will show."""
        import ray

        return bool(ray.wait([slot.process], timeout=0)[0])

    def _check_places(self) -> None:
        """Raises where the workers have been without a place for long: Ray would wait for ever."""
        import ray

        if any(self._is_up(slot) for slot in self._slots):
            self._placeless_since = float("inf")
            return
        now = time.monotonic()
        self._placeless_since = min(self._placeless_since, now)
        cores = int(ray.cluster_resources().get("CPU", 0))
        patience = _PLACELESS_SECONDS if cores < self.num_threads else _BEGIN_SECONDS
        if now - self._placeless_since > patience:
            raise MachineError(
                f"no worker has come up for {patience:.0f} seconds: the cluster has {cores} cores left, and "
                f"each worker needs {self.num_threads}; all finished trials are kept, so repeat the same "
                "command once there is room"
            )

    def _held_bytes(self, slot: _Slot) -> int:
        """Returns the memory that a worker holds and shares with nobody; 0 where it is not known."""
        import ray

        if self.worker_bytes == float("inf") or not self._is_up(slot):
            return 0
        try:
            memory = psutil.Process(ray.get(slot.process)).memory_info()
        except (psutil.Error, ray.exceptions.RayError):  # it is gone, which `_collect` will say
            return 0
        return int(memory.rss - memory.shared)

    def abandon_trials(self) -> None:
        """Stops all trials in progress; their workers are replaced when they are needed again."""
        self._abandon(TrialJob)

    def abandon_refits(self) -> None:
        """As `abandon_trials`, of the fits on all rows."""
        self._abandon(Refit)

    def _abandon(self, kind: type[Work]) -> None:
        for slot in self._slots:
            if isinstance(slot.job, kind):
                self._end(slot)

    def _too_much(self) -> str:
        return f"it took more than {self.worker_bytes / 1e9:.1f} GB of memory and was stopped"

    def close(self) -> None:
        """Ends the workers."""
        for slot in self._slots:
            self._end(slot)

    def _collect(self, slot: _Slot) -> Result:
        import ray

        try:
            result: Result = ray.get(slot.reference)
        except (ray.exceptions.RayActorError, ray.exceptions.ObjectLostError):
            return self._lose(slot, Outcome.LOST, _WORKER_DIED)
        except ray.exceptions.RayError as error:
            return self._lose(slot, Outcome.FAILED, last_line(error))
        slot.job, slot.reference, slot.is_forgotten = None, None, False
        return result

    def _lose(self, slot: _Slot, outcome: Outcome, message: str) -> Result:
        assert slot.job is not None
        lost, seconds = slot.job, time.monotonic() - slot.started
        self._end(slot)
        self._actor(slot)  # it starts while others work
        return lost.ended(outcome, message, seconds)

    def _end(self, slot: _Slot) -> None:
        """Ends a worker process; the next use of the slot starts another."""
        import ray

        if slot.actor is not None:
            ray.kill(slot.actor)
        slot.actor, slot.job, slot.reference = None, None, None
        slot.is_forgotten = slot.knows_tensorflow = False

    def _actor(self, slot: _Slot) -> Any:
        if slot.actor is None:
            slot.actor = self._new_actor()
            slot.process = slot.actor.begin.remote(self._experiment)
        return slot.actor

    def _new_actor(self) -> Any:
        import ray

        actor = ray.remote(RayWorker).options(num_cpus=self.num_threads, max_restarts=0, max_task_retries=0)
        return actor.remote(self.component_files, self.num_threads, self.session)
