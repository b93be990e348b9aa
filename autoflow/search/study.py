"""The loop of a search: propose, hand out, record, until the time or the trials are used up.

Knows neither TensorFlow nor Ray: workers are a `WorkerPool`, and tests bring a fake one.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from autoflow.budget import Budget
from autoflow.components.registry import name_of
from autoflow.errors import NoModelError
from autoflow.metrics import larger_is_better
from autoflow.search.costs import FinishCosts
from autoflow.search.evaluate import STOPPED
from autoflow.search.events import Observer, RefitEnded, TrialEnded, TrialStarted, Warned
from autoflow.search.ledger import Ledger, LedgerEntry
from autoflow.search.members import Member, MemberChooser
from autoflow.search.proposals import Proposals, Vacancy
from autoflow.search.refits import LATE_SECONDS, Refits
from autoflow.search.sampler import Proposal, Sampler, Value, derived_seed
from autoflow.search.shared_folds import RunningTrials, speed_up
from autoflow.search.trial import Outcome, TrialJob, TrialResult, WorkerPool

_SHORTEST_TRIAL_SECONDS = 1.5
_LONGER = 2.0
"""Times what a search was begun with: then recipes that the clock stopped are tried again."""
_HOPELESS_FACTOR = 1.6
_TRIES = 2
_LEAD_SECONDS = 10.0
_GRACE_SECONDS = 1.0
_LATE_MODEL_SECONDS = 5.0
_ALLOWED_SHARE, _ALLOWED_FACTOR = 0.5, 1.5
_ALLOWED_WITHOUT_SCORE = 60.0
"""Seconds; as long as there is no model, a trial may take all of a short search."""


@dataclass
class Study:
    """One search. `run` returns when it is over; `best`, `results` and `refits` tell what came out.

    An idle worker gets a trial that will end in time, else a fit on all rows of a pipeline that the model
    would average as things stand. When those are done, their time is free for trials again.

    Args:
        pool: the workers.
        sampler: proposes pipelines.
        ledger: makes finished trials durable.
        chooser: says which of them the model would average as things stand.
        budget: of the whole run.
        costs: time to leave at the end.
        metric: that ranks trials.
        seed: of the run.
        max_trials: trials in all, earlier sessions included; None for no limit.
        recipes: values of the opening portfolio.
        rungs: shares of the training rows, ascending to 1.0; trials begin at the first, good ones move up.
        observer: is told what happens.
        should_stop: tells whether the user wants the search to end now.
        nearly_over: is called once, some seconds before the search ends.
        folds_are_alike: whether the loss on one fold tells that on all. Groups and periods differ, and a hard
            one among the first would stop every trial.
    """

    pool: WorkerPool
    sampler: Sampler
    ledger: Ledger
    chooser: MemberChooser
    budget: Budget
    costs: FinishCosts
    metric: str
    seed: int
    max_trials: int | None
    recipes: list[dict[str, Value]]
    observer: Observer
    should_stop: Callable[[], bool] = lambda: False
    rungs: tuple[float, ...] = (1.0,)
    nearly_over: Callable[[], object] = lambda: None
    folds_are_alike: bool = True
    results: list[TrialResult] = field(default_factory=list, init=False)
    num_new: int = field(default=0, init=False)
    _tries: dict[int, int] = field(default_factory=dict, init=False)
    _started: dict[int, float] = field(default_factory=dict, init=False)
    _retries: deque[TrialJob] = field(default_factory=deque, init=False)
    _next_number: int = field(default=0, init=False)
    _num_opening: int = field(default=0, init=False)
    _num_restored: int = field(default=0, init=False)
    _members: tuple[int, tuple[Member, ...]] = field(default=(0, ()), init=False)
    _known_gains: tuple[int, dict[str, float]] = field(default=(0, {}), init=False)
    _warned_of: set[str] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        self._trials = RunningTrials(self.pool, self.chooser.labels, self.metric)
        self._proposals = Proposals(self.sampler, self.rungs, self._loss, self._gains)
        self.refits = Refits(self.pool, self.costs, self.budget, self.seed, self.observer)

    @property
    def best(self) -> TrialResult | None:
        """The finished trial with the best score; of equals the earlier one."""
        return next(iter(self.ranking()), None)

    @property
    def _has_model(self) -> bool:
        """Whether there is a trial to export that looks at the columns."""
        return any(each.finished and not each.spec.classifier.baseline for each in self.results)

    def ranking(self) -> list[TrialResult]:
        """Returns the finished trials, the best first."""
        finished = [result for result in self.results if result.finished]
        return sorted(finished, key=lambda result: (self._loss(result), result.number))

    def restore(self) -> None:
        """Takes in the trials of earlier sessions from the ledger."""
        is_longer = self.budget.seconds >= _LONGER * (self.ledger.setting("planned_seconds") or math.inf)
        entries = self.ledger.entries()
        shares: dict[str, list[float]] = {}
        for entry in entries:
            shares.setdefault(entry.proposal.spec.fingerprint, []).append(entry.proposal.share)
        for entry in entries:
            num_bytes = self.ledger.artifact_bytes(entry.result.number) // self.costs.num_folds
            self.results.append(replace(entry.result, num_bytes=num_bytes))
            self._tell(entry.proposal, entry.result)
            # what the clock cut off in a short search is worth one more try in a longer one
            tried, share = shares[entry.proposal.spec.fingerprint], entry.proposal.share
            is_last = share == max(tried) and tried.count(share) == 1
            again = is_longer and is_last and entry.result.message == STOPPED
            moved_up = share != self.rungs[0]
            if not (again and moved_up):  # then it does not count as begun
                self._proposals.by_number[entry.result.number] = entry.proposal
            if again and not moved_up and entry.proposal.origin == "portfolio":
                self.sampler.forget(entry.proposal)
            self._num_restored = len(self.results)
            self._next_number = entry.result.number + 1

    def run(self) -> None:
        """Searches until the time left is what finishing needs, or all trials are done.

        Raises:
            NoModelError: every trial of the opening portfolio failed; the first message is quoted.
            MachineError: a finished trial cannot be written.
        """
        self._num_opening = self._proposals.open(self.recipes)
        told = False
        while not self.should_stop():
            if not told and self._search_seconds() < _LEAD_SECONDS:
                self.nearly_over()
                told = True
            self._hand_out()
            if self._trials_are_late():
                self._give_up_trials()  # their workers may have time for fits on all rows
            elif self._is_over():
                break
            else:
                self._wait()
        self._give_up_trials()
        self._give_up_refits(self._likely_members())
        self._warn_of_broken_components()

    def fit_on_all_rows(self, members: Sequence[Member]) -> None:
        """Fits those members that should be and were not yet, as far as the time allows; see `refits`."""
        while not self.should_stop() and not self._must_export(members):
            idle = self.pool.idle()
            for worker in idle:
                self.refits.begin(worker, members)
            if not self.refits.running and (idle or not self.refits.missing(members)):
                break
            self._wait()
        self._give_up_refits(members)

    def _wait(self) -> None:
        """Takes in what ends within a moment."""
        for result in self._trials.wait(0.25):
            if isinstance(result, TrialResult):
                self._take(result)
            else:
                self.refits.take(result, self._likely_members())
                self.observer(RefitEnded(result.number))

    def _is_over(self) -> bool:
        """Tells whether nothing that is wanted runs, and nothing will."""
        if self._trials.jobs:
            return False
        members = self._likely_members()
        if self.best is not None and self._must_export(members):
            return True
        if any(member.trial.number in self.refits.running for member in self.refits.wanted(members)):
            return False
        nothing_left = self._num_left() <= 0 and not self.refits.missing(members)
        # without an idle worker those that died are being replaced
        return nothing_left or bool(self.pool.idle())

    def _must_export(self, members: Sequence[Member]) -> bool:
        """Tells whether there is time for nothing but the export of some members."""
        export = self.costs.export_seconds(_trials_of(members))
        return self.budget.remaining() < export - LATE_SECONDS

    def _trials_are_late(self) -> bool:
        """Tells whether the trials that run must be given up."""
        if not self._trials.jobs:
            return False
        left = self._search_seconds()
        if self.best is None:  # a model a little late is worth more than none, and so is one of late workers
            late = max(0.0, min(self._started.values()) - self.budget.seconds)
            return left < -self._reserve() - late - _LATE_MODEL_SECONDS
        return left < 0 and not self._ends_in_time()

    def _ends_in_time(self) -> bool:
        """Tells whether trials run that will end in the time that they were given.

        What a better one of them added to the time for fits on all rows is no reason to lose the others, as
        long as there is time to export; but of folds, those fits are what makes a model, and the workers
        without a trial must have the time for them.
        """
        if self.costs.num_folds > 1:
            members, busy = self._likely_members(), self._trials.num_workers
            free = self.pool.num_workers - busy or self.pool.num_workers
            left = self.budget.remaining() - self.costs.export_seconds(_trials_of(members))
            return left - self.refits.room(members, free) > -_GRACE_SECONDS / 2
        ends = max((self._started[job.number] + job.seconds for job in self._trials.jobs), default=0.0)
        in_time = self.budget.remaining() > self.costs.export_seconds(_trials_of(self._likely_members()))
        return in_time and self.budget.elapsed() < ends + _GRACE_SECONDS

    def _give_up_trials(self) -> None:
        """Takes in what is cut off by the end as trials without a score; the ledger holds none of them."""
        why = "was stopped with the search" if self.should_stop() else Outcome.OUT_OF_TIME.value
        for job in self._trials.jobs:
            result = TrialResult(
                job.number,
                job.spec,
                Outcome.OUT_OF_TIME,
                seconds=self.budget.elapsed() - self._started[job.number],
                message=why,
                share=job.share,
            )
            self.results.append(result)
            self._tell_ended(result)
        self._trials.abandon()  # also what is left of trials whose other folds were hopeless

    def _give_up_refits(self, members: Sequence[Member]) -> None:
        self.refits.abandon(members, "was stopped" if self.should_stop() else "did not end in time")

    def _tell_ended(self, result: TrialResult) -> None:
        num_finished = self._num_finished()
        num_failed = len(self.results) - num_finished
        self.observer(TrialEnded(result, self.best, num_finished, num_failed))

    def _hand_out(self) -> None:
        """Gives each idle worker work; they share the folds of a trial if trials or time run short."""
        unused: list[int] = []
        while idle := [worker for worker in self.pool.idle() if worker not in unused]:
            num_left = self._num_left()
            begun = num_left > 0 and self._begin(idle[: max(1, int(len(idle) / num_left))])
            if not begun and not self.refits.begin(idle[0], self._likely_members()):
                unused.append(idle[0])
        if len(unused) > 1 and self.costs.num_folds > 1 and self._num_left() > 0:
            self._begin(unused)

    def _num_left(self) -> float:
        """Returns how many trials may be handed out, those to repeat among them."""
        if self.max_trials is None:
            return math.inf
        return self.max_trials - len(self.results) - len(self._trials.jobs)

    def _begin(self, workers: Sequence[int]) -> bool:
        """Hands one trial out to idle workers, and tells whether there was one that would end in time."""
        times = speed_up(self.costs.num_folds, len(workers))
        seconds = self._trial_seconds(times)
        first = self._next_number == 0 and not self._retries
        if seconds < _SHORTEST_TRIAL_SECONDS and not first:
            return False
        if self._retries:
            job = self._retries.popleft()
            proposal = self._proposals.by_number[job.number]
        else:
            averaged = {member.trial.spec.fingerprint for member in self._likely_members()}
            drawn = self._proposals.next(self._vacancy(workers, seconds, times), self.results, averaged)
            if drawn is None:
                return False
            proposal, job = drawn, self._new_job(drawn)
        allowed = max(self._allowance(proposal, seconds, times), _SHORTEST_TRIAL_SECONDS)
        job = replace(job, seconds=allowed, hopeless_loss=self._hopeless_loss(job.share))
        self._tries[job.number] = self._tries.get(job.number, 0) + 1
        self._started[job.number] = self.budget.elapsed()
        self._trials.start(workers, job, self.costs.num_folds)
        self.observer(TrialStarted(job))
        return True

    def _trial_seconds(self, times: float) -> float:
        """Returns the wall time left for a trial that ends `times` as soon as on one worker."""
        seconds = self._search_seconds()
        if self.costs.num_folds > 1:  # folds are no model to export: it must be fitted again, on one worker
            left = self.budget.remaining() - self.costs.fixed_seconds
            seconds = min(seconds, left / (1 + self.costs.refit_factor * times))
        return seconds

    def _allowance(self, proposal: Proposal, seconds: float, times: float) -> float:
        """Returns the time that a trial may take of what the search has left.

        What is not done when the search ends counts for nothing, and the end comes nearer as better trials
        ask for time to be fitted again, so a trial stops itself before; what usually takes long may.
        """
        if self.best is None:  # one that hangs must not keep its worker to the end
            return min(seconds, max(_ALLOWED_SHARE * seconds, _ALLOWED_WITHOUT_SCORE))
        usual = self._proposals.expected_seconds(proposal.spec, proposal.share, self.results) / times
        return min(seconds, max(_ALLOWED_SHARE * seconds, _ALLOWED_FACTOR * usual))

    def _new_job(self, proposal: Proposal) -> TrialJob:
        number = self._next_number
        self._next_number += 1
        self._proposals.by_number[number] = proposal
        return self._job(number)

    def _job(self, number: int) -> TrialJob:
        proposal = self._proposals.by_number[number]
        return TrialJob(number, proposal.spec, derived_seed(self.seed, number), share=proposal.share)

    def _vacancy(self, workers: Sequence[int], seconds: float, times: float) -> Vacancy:
        known = [self.pool.knows_tensorflow(worker) for worker in range(self.pool.num_workers)]
        others = frozenset(knowing for worker, knowing in enumerate(known) if worker not in workers)
        return Vacancy(seconds, times, all(known[worker] for worker in workers), others)

    def _take(self, result: TrialResult) -> None:
        if result.outcome is Outcome.LOST and self._tries[result.number] < _TRIES:
            self._retries.append(self._job(result.number))
            return
        proposal = self._proposals.by_number[result.number]
        self.ledger.record(LedgerEntry(proposal, result, self.budget.elapsed()))
        self._tell(proposal, result)
        num_bytes = len(result.artifact or b"") // self.costs.num_folds
        self.results.append(replace(result, artifact=None, probabilities=None, num_bytes=num_bytes))
        self.num_new += 1
        self._tell_ended(result)
        failed = [each for each in self.results[self._num_restored :] if not each.finished]
        if not self._has_model and len(failed) >= max(3, self._num_opening - 1):
            but = " but the baseline" if self.best is not None else ""
            raise NoModelError(
                f"every trial{but} failed; the first one ({failed[0].spec}): {failed[0].message}"
            )

    def _tell(self, proposal: Proposal, result: TrialResult) -> None:
        """Tells the sampler; losses on larger shares of the rows would not compare with the others.

        What was hopeless or failed is told as the worst so far, or its surroundings would be drawn from as
        before: TPE reads nothing of trials without a value.
        """
        if proposal.share != self.rungs[0]:
            return
        loss = self._loss(result) if result.finished else None
        if result.outcome in (Outcome.HOPELESS, Outcome.FAILED):
            alike = [each for each in self.results if each.finished and each.share == proposal.share]
            loss = max(map(self._loss, alike), default=None)
        self.sampler.tell(proposal, loss)

    def _search_seconds(self) -> float:
        """Returns the seconds until the search must end for the winners to be finished in time."""
        return self.budget.remaining() - self._reserve()

    def _reserve(self) -> float:
        """Returns the seconds that fitting the best trials again, exporting and verifying will take."""
        members = self._likely_members()
        return self.costs.export_seconds(_trials_of(members)) + self.refits.room(
            members, self.pool.num_workers
        )

    def _likely_members(self) -> tuple[Member, ...]:
        """Returns the members of the model if the search ended now; chosen once per finished trial."""
        num_finished, members = self._members
        if num_finished != (now := self._num_finished()):
            members = self.chooser.choose(self.ranking(), self.costs.most_members, quickly=True)
            self._members = (now, members)
        return members

    def _num_finished(self) -> int:
        return sum(each.finished for each in self.results)

    def _gains(self) -> dict[str, float]:
        """Returns what trials of the first rung are worth to the mean of the others, by fingerprint.

        See `MemberChooser.gains`; looked at once per finished trial.
        """
        num_finished, gains = self._known_gains
        if num_finished != (now := self._num_finished()):
            alike = [each for each in self.ranking() if each.share == self.rungs[0]]
            members = self._likely_members()
            if len(self.rungs) > 1:  # those that had more rows would leave the others nothing to gain
                members = self.chooser.choose(alike, self.costs.most_members, quickly=True)
            by_number = self.chooser.gains(alike, members)
            gains = {
                each.spec.fingerprint: by_number[each.number] for each in alike if each.number in by_number
            }
            self._known_gains = (now, gains)
        return gains

    def _hopeless_loss(self, share: float) -> float:
        """Returns the log-loss above which a trial cannot catch up: far above that of the good quarter.

        Other metrics can rank a trial high whose log-loss is poor, so they stop none.

        Args:
            share: of the rows that it learns from; those that had more are better for that alone.
        """
        if self.metric != "log_loss" or (self.costs.num_folds > 1 and not self.folds_are_alike):
            return math.inf
        losses = sorted(each.log_loss for each in self.results if each.finished and each.share <= share)
        if len(losses) < 3:
            return math.inf
        return losses[len(losses) // 4] * _HOPELESS_FACTOR + 0.02

    def _warn_of_broken_components(self) -> None:
        """Names each component whose every trial raised, with the first message."""
        failed: dict[str, list[TrialResult]] = {}
        sound: set[str] = set()
        for result in self.results:
            parts = [node.extractor for node in result.spec.nodes]
            used = {name_of(part) for part in (*parts, result.spec.concatenation, result.spec.classifier)}
            if result.outcome in (Outcome.FAILED, Outcome.LOST):
                for name in used:
                    failed.setdefault(name, []).append(result)
            elif result.outcome in (Outcome.FINISHED, Outcome.HOPELESS):
                sound |= used
        for name in sorted(failed.keys() - sound - self._warned_of):
            first = failed[name][0]
            self.observer(Warned(f"component '{name}' failed in every trial; the first: {first.message}"))
            self._warned_of.add(name)

    def _loss(self, result: TrialResult) -> float:
        return -result.score if larger_is_better(self.metric) else result.score


def _trials_of(members: Sequence[Member]) -> list[TrialResult]:
    return [member.trial for member in members]
