"""The trials in progress, each on one worker or with its folds shared among several.

Parts a trial among workers and joins what they give to one result. Which trial runs when, and on how many
workers, is the study's business; what a worker does with its folds is the evaluator's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from autoflow.components.base import NeuralClassifier
from autoflow.search.evaluate import joined
from autoflow.search.trial import Outcome, PartResult, RefitResult, TrialJob, TrialResult, WorkerPool


def speed_up(num_folds: int, num_workers: int) -> float:
    """Returns how many times sooner some workers end a trial than one: folds are not parted themselves.

    >>> speed_up(4, 2), speed_up(3, 2), speed_up(1, 2)
    (2.0, 1.5, 1.0)
    """
    return num_folds / math.ceil(num_folds / num_workers)


def parts_of(job: TrialJob, num_folds: int, num_workers: int) -> list[TrialJob]:
    """Returns a job for each worker that is needed: the trial itself, or some of its folds with their time.

    Args:
        job: a trial with the wall time that it may take.
        num_folds: its folds.
        num_workers: that are idle; fewer are used where more would not end it sooner.
    """
    largest = math.ceil(num_folds / num_workers)
    num_parts = math.ceil(num_folds / largest)
    if num_parts == 1:
        return [job]
    parts = [tuple(part.tolist()) for part in np.array_split(np.arange(num_folds), num_parts)]
    # a fold may take as long in a small part as in a large one, or its score would have an advantage
    return [replace(job, folds=part, seconds=job.seconds * len(part) / largest) for part in parts]


@dataclass
class _Running:
    job: TrialJob
    num_parts: int
    ended: list[PartResult] = field(default_factory=list)


class RunningTrials:
    """The trials in progress on a pool; a trial ends once, whatever becomes of its parts.

    Args:
        pool: the workers.
        labels: int32[m], of the held-out rows in the order of a trial's probabilities.
        metric: that ranks trials.
    """

    def __init__(self, pool: WorkerPool, labels: np.ndarray, metric: str) -> None:
        self._pool = pool
        self._labels = labels
        self._metric = metric
        self._running: dict[int, _Running] = {}

    @property
    def jobs(self) -> list[TrialJob]:
        """The trials in progress, the earliest first."""
        return [running.job for running in self._running.values()]

    @property
    def num_workers(self) -> int:
        """How many workers are at them."""
        return sum(running.num_parts - len(running.ended) for running in self._running.values())

    def start(self, workers: Sequence[int], job: TrialJob, num_folds: int) -> None:
        """Gives a trial to idle workers, as many of them as its folds keep busy."""
        parts = parts_of(job, num_folds, len(workers))
        needs_tensorflow = isinstance(job.spec.classifier, NeuralClassifier)
        for worker, part in zip(workers, parts, strict=False):
            self._pool.start(worker, part, needs_tensorflow=needs_tensorflow)
        self._running[job.number] = _Running(job, len(parts))

    def wait(self, seconds: float) -> list[TrialResult | RefitResult]:
        """Returns the trials and fits on all rows that ended, waiting up to `seconds` for a worker."""
        ended: list[TrialResult | RefitResult] = []
        for result in self._pool.wait(seconds):
            whole = self._with_part(result) if isinstance(result, PartResult) else result
            if isinstance(whole, TrialResult):
                del self._running[whole.number]
            if whole is not None:
                ended.append(whole)
        return ended

    def abandon(self) -> None:
        """Stops all trials in progress."""
        self._running.clear()
        self._pool.abandon_trials()

    def _with_part(self, part: PartResult) -> TrialResult | None:
        """Returns the trial where the part was the last one or ends it; None where others are awaited."""
        running = self._running.get(part.number)
        if running is None:  # another part ended the trial just before
            return None
        running.ended.append(part)
        if len(running.ended) < running.num_parts:
            if part.outcome is Outcome.FINISHED:
                return None
            self._pool.forget(part.number)
        return joined(running.job, running.ended, self._labels, self._metric)
