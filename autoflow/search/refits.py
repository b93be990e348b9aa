"""Fits of chosen pipelines on all rows: which are wanted, what they take, and what became of them.

They are work for idle workers like trials, so that none waits for the end of the search. When one is begun
is the study's business; which trials a model averages is the chooser's.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from autoflow.budget import Budget
from autoflow.components.base import NeuralClassifier
from autoflow.search.costs import MAX_NETWORKS_AS_FOLDS, FinishCosts
from autoflow.search.events import Observer, RefitStarted, Warned
from autoflow.search.members import Member
from autoflow.search.sampler import derived_seed
from autoflow.search.trial import Refit, RefitResult, TrialJob, TrialResult, WorkerPool

if TYPE_CHECKING:
    from autoflow.pipeline.assembly import FittedPipeline

LATE_SECONDS = 1.5
"""By which fits on all rows may be late: exporting takes so much less than is expected."""
_LARGEST_SHARE = 0.3
"""Of the whole time, for which the search makes room."""
_LEAST_WEIGHT_AS_FOLDS = 0.2


@dataclass
class Refits:
    """The fits on all rows of one session.

    Args:
        pool: the workers.
        costs: what fits and exports are expected to take.
        budget: of the whole run.
        seed: of the run.
        observer: is told what happens.
    """

    pool: WorkerPool
    costs: FinishCosts
    budget: Budget
    seed: int
    observer: Observer
    fitted: dict[int, FittedPipeline] = field(default_factory=dict, init=False)
    failed: set[int] = field(default_factory=set, init=False)
    complete: tuple[Member, ...] = field(default=(), init=False)
    """The last members of whom all that were to be fitted on all rows were."""
    seconds: float = field(default=0.0, init=False)
    """That workers were at those that ended, summed."""
    _running: dict[int, float] = field(default_factory=dict, init=False)
    _lost: dict[int, str] = field(default_factory=dict, init=False)
    """Why there is nothing of fits whose worker died once."""

    @property
    def running(self) -> Collection[int]:
        """The numbers of the trials that are being fitted on all rows."""
        return self._running.keys()

    def wanted(self, members: Sequence[Member]) -> list[Member]:
        """Returns the members to fit on all rows before they are exported, the heaviest first."""
        return [member for member in members if not self._better_as_folds(member, members)]

    def missing(self, members: Sequence[Member]) -> list[Member]:
        """Returns the wanted members that are neither fitted nor being fitted, failed ones left out."""
        known = {*self.fitted, *self.failed, *self._running}
        return [member for member in self.wanted(members) if member.trial.number not in known]

    def room(self, members: Sequence[Member], num_workers: int) -> float:
        """Returns the seconds to keep for fits that may still be begun, on so many workers."""
        # time that is too short for a fit would be lost to the search for nothing
        most = min(_LARGEST_SHARE * self.budget.seconds, self._seconds_left(members))
        seconds = [self.costs.refit_seconds(member.trial) for member in self.missing(members)]
        seconds = [each for each in seconds if each <= most]
        return min(max(max(seconds, default=0.0), sum(seconds) / num_workers), most)

    def begin(self, worker: int, members: Sequence[Member]) -> bool:
        """Gives the heaviest missing member that can be fitted in time to an idle worker, if there is one."""
        left = self._seconds_left(members)
        for member in self.missing(members):
            if self.costs.refit_seconds(member.trial) <= left:
                self._start(worker, member.trial)
                return True
        return False

    def take(self, result: RefitResult, members: Sequence[Member]) -> None:
        """Takes in a fit that ended.

        Args:
            result: how it ended.
            members: of the model as things stand.
        """
        self.seconds += time.monotonic() - self._running.pop(result.number)
        if result.is_lost and result.number not in self._lost:
            self._lost[result.number] = result.message  # as a trial whose worker died, it is tried once more
        elif result.pipeline is None:
            self.failed.add(result.number)
            self.observer(Warned(f"fitting trial {result.number} on all rows failed: {result.message}"))
        else:
            self.fitted[result.number] = result.pipeline
            if all(member.trial.number in self.fitted for member in self.wanted(members)):
                self.complete = tuple(members)

    def abandon(self, members: Sequence[Member], why: str) -> None:
        """Stops those in progress; only those that members of the model needed are worth a word.

        Args:
            members: of the model as things stand.
            why: ends a sentence about them.
        """
        for number in [each.trial.number for each in self.missing(members)]:
            if number in self._lost:
                self.observer(Warned(f"fitting trial {number} on all rows failed: {self._lost[number]}"))
        if not self._running:
            return
        needed = [each.trial.number for each in self.wanted(members) if each.trial.number in self._running]
        if needed:
            trials = "trial" if len(needed) == 1 else "trials"
            self.observer(Warned(f"fitting {trials} {', '.join(map(str, needed))} on all rows {why}"))
        self._running.clear()
        self.pool.abandon_refits()

    def _start(self, worker: int, trial: TrialResult) -> None:
        job = TrialJob(trial.number, trial.spec, derived_seed(self.seed, trial.number))
        is_network = isinstance(trial.spec.classifier, NeuralClassifier)
        self.pool.start(worker, Refit(job, trial.iterations), needs_tensorflow=is_network)
        self._running[trial.number] = time.monotonic()
        self.observer(RefitStarted(job))

    def _seconds_left(self, members: Sequence[Member]) -> float:
        """Returns how long a fit may take that is begun now."""
        export = self.costs.export_seconds([member.trial for member in members])
        return self.budget.remaining() - export + LATE_SECONDS

    def _better_as_folds(self, member: Member, members: Sequence[Member]) -> bool:
        """Tells whether the mean of a trial's folds should be exported in place of one fit on all rows.

        Networks of few rows vary from fit to fit, and a fit on all rows has no rows left to stop it: on rows
        of no fold the log-loss of the mean of five was 7 % lower (four tables of 800 to 4,136 rows, three
        pipelines each). Only the heaviest are worth the time that folds take to serve.
        """
        if not self.costs.folds_may_serve or not _is_network(member):
            return False
        heaviest = [each for each in members if _is_network(each)][:MAX_NETWORKS_AS_FOLDS]
        is_worth_it = member.weight >= _LEAST_WEIGHT_AS_FOLDS and self.costs.affords_folds(member.trial)
        return (
            member in heaviest
            and (member is heaviest[0] or is_worth_it)
            and self._seconds_left(members) > -LATE_SECONDS
        )


def _is_network(member: Member) -> bool:
    return isinstance(member.trial.spec.classifier, NeuralClassifier)
