"""The loop of a search: propose, hand out, record, until the time or the trials are used up.

Knows neither TensorFlow nor Ray: workers are a `WorkerPool`, and tests bring a fake one.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

from autoflow.budget import Budget
from autoflow.components.base import NeuralClassifier
from autoflow.components.registry import name_of
from autoflow.errors import NoModelError
from autoflow.metrics import larger_is_better
from autoflow.pipeline.spec import PipelineSpec
from autoflow.search.costs import FinishCosts
from autoflow.search.events import Observer, TrialEnded, TrialStarted, Warned
from autoflow.search.fidelity import promotions
from autoflow.search.ledger import Ledger, LedgerEntry
from autoflow.search.members import MAX_MEMBERS, MemberChooser
from autoflow.search.sampler import Proposal, Sampler, derived_seed, opening
from autoflow.search.shared_folds import RunningTrials, speed_up
from autoflow.search.trial import Outcome, TrialJob, TrialResult, WorkerPool

_SHORTEST_TRIAL_SECONDS = 1.5
_HOPELESS_FACTOR = 1.6
_TRIES = 2
_LARGEST_REFIT_SHARE = 0.3
_LEAD_SECONDS = 10.0
_GRACE_SECONDS = 1.0
_LATE_MODEL_SECONDS = 5.0
_USUAL_SHARE = 0.7
_ALLOWED_SHARE, _ALLOWED_FACTOR = 0.5, 1.5
_ALLOWED_WITHOUT_SCORE = 60.0
"""Seconds; as long as there is no model, a trial may take all of a short search."""
_UNKNOWN_NETWORK_SECONDS = 8.0
_ASKED_TO_FIT = 3
_SECONDS_BETWEEN_DRAWS = 1.0
"""After as many in vain: what fits changes slowly, and drawing takes time from trials."""
_IMPORTING = 10.0
"""Seconds that a second worker must have besides those of a trial to import TensorFlow, which takes 5."""


@dataclass
class Study:
    """One search. `run` returns when it is over; `best` and `results` tell what came out.

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
    recipes: list[dict[str, int | float | str | bool]]
    observer: Observer
    should_stop: Callable[[], bool] = lambda: False
    rungs: tuple[float, ...] = (1.0,)
    nearly_over: Callable[[], object] = lambda: None
    results: list[TrialResult] = field(default_factory=list, init=False)
    num_new: int = field(default=0, init=False)
    _proposals: dict[int, Proposal] = field(default_factory=dict, init=False)
    _tries: dict[int, int] = field(default_factory=dict, init=False)
    _started: dict[int, float] = field(default_factory=dict, init=False)
    _pending: deque[Proposal] = field(default_factory=deque, init=False)
    _retries: deque[TrialJob] = field(default_factory=deque, init=False)
    _next_number: int = field(default=0, init=False)
    _num_opening: int = field(default=0, init=False)
    _members: tuple[int, list[TrialResult]] = field(default=(0, []), init=False)
    _fitted_again: set[int] = field(default_factory=set, init=False)
    _drawn_in_vain: dict[float, float] = field(default_factory=dict, init=False)
    _warned_of: set[str] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        self._trials = RunningTrials(self.pool, self.chooser.labels, self.metric)

    @property
    def best(self) -> TrialResult | None:
        """The finished trial with the best score; of equals the earlier one."""
        return next(iter(self.ranking()), None)

    def ranking(self) -> list[TrialResult]:
        """Returns the finished trials, the best first."""
        finished = [result for result in self.results if result.finished]
        return sorted(finished, key=lambda result: (self._loss(result), result.number))

    def restore(self) -> None:
        """Takes in the trials of earlier sessions from the ledger."""
        for entry in self.ledger.entries():
            self.results.append(entry.result)
            self._proposals[entry.result.number] = entry.proposal
            self._tell(entry.proposal, entry.result)
            self._next_number = entry.result.number + 1

    def run(self) -> None:
        """Searches until the time left is what finishing needs, or all trials are done; goes on if repeated.

        Raises:
            NoModelError: every trial of the opening portfolio failed; the first message is quoted.
            MachineError: a finished trial cannot be written.
        """
        self._pending.extend(opening(self.sampler, self.recipes))  # what was seen is not repeated
        self._num_opening = self._num_opening or len(self._pending)
        told = False
        while not self.should_stop():
            if not told and self._search_seconds() < _LEAD_SECONDS:
                self.nearly_over()
                told = True
            self._hand_out()
            if self._is_over():
                break
            for result in self._trials.wait(0.25):
                self._take(result)
        self._give_up_running()
        self._warn_of_broken_components()

    def may_go_on(self) -> bool:
        """Tells whether trials were made and more are allowed, be there time for them or not."""
        allowed = self.max_trials is None or len(self.results) < self.max_trials
        made = self.num_new > 0 and self.best is not None
        return allowed and made and not self.should_stop()

    def note_fitted_again(self, numbers: Collection[int]) -> None:
        """Takes note of trials that are fitted on all rows already, for which no time must be left."""
        self._fitted_again |= set(numbers)

    def _is_over(self) -> bool:
        """Tells whether nothing runs and nothing will, or what runs must be given up."""
        left = self._search_seconds()
        if self.best is None:  # a model a little late is worth more than none, and so is one of late workers
            late = max(0.0, min(self._started.values(), default=0.0) - self.budget.seconds)
            if left < -self._reserve() - late - _LATE_MODEL_SECONDS:
                return True
        elif left < 0 and not self._ends_in_time():
            return True
        if self._trials.jobs:
            return False
        all_tried = self.max_trials is not None and len(self.results) >= self.max_trials
        # without an idle worker those that died are being replaced
        return all_tried or bool(self.pool.idle())

    def _ends_in_time(self) -> bool:
        """Tells whether trials run that will end in the time that they were given.

        What a better one of them added to the time for fits on all rows is no reason to lose the others, as
        long as there is time to export; but of folds, those fits are what makes a model.
        """
        if self.costs.num_folds > 1:
            return self._search_seconds() > -_GRACE_SECONDS / 2
        ends = max((self._started[job.number] + job.seconds for job in self._trials.jobs), default=0.0)
        in_time = self.budget.remaining() > self.costs.export_seconds(self._likely_members())
        return in_time and self.budget.elapsed() < ends + _GRACE_SECONDS

    def _give_up_running(self) -> None:
        """Takes in what is cut off by the end as trials without a score; the ledger holds none of them."""
        why = "was stopped with the search" if self.should_stop() else Outcome.OUT_OF_TIME.value
        for job in self._trials.jobs:
            seconds = self.budget.elapsed() - self._started[job.number]
            result = TrialResult(job.number, job.spec, Outcome.OUT_OF_TIME, seconds=seconds, message=why)
            self.results.append(result)
            self._tell_ended(result)
        self._trials.abandon()

    def _tell_ended(self, result: TrialResult) -> tuple[int, int]:
        """Tells the observer, and returns how many trials have a score and how many have none."""
        num_finished = sum(each.finished for each in self.results)
        num_failed = len(self.results) - num_finished
        self.observer(TrialEnded(result, self.best, num_finished, num_failed))
        return num_finished, num_failed

    def _hand_out(self) -> None:
        """Gives each idle worker a trial; they share the folds of one where trials or the time run short."""
        unused: list[int] = []
        while idle := [worker for worker in self.pool.idle() if worker not in unused]:
            num_left = self._num_left()
            if num_left <= 0:
                return
            if not self._begin(idle[: max(1, int(len(idle) / num_left))]):
                unused.append(idle[0])
        if len(unused) > 1 and self.costs.num_folds > 1:
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
            job = replace(self._retries.popleft(), seconds=seconds)
        else:
            proposal = self._propose(workers, seconds, times)
            if proposal is None:
                return False
            seconds = max(self._allowance(proposal, seconds, times), _SHORTEST_TRIAL_SECONDS)
            job = self._new_job(proposal, seconds)
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
        usual = self._usual_seconds(proposal.spec, proposal.share) / _USUAL_SHARE / times
        return min(seconds, max(_ALLOWED_SHARE * seconds, _ALLOWED_FACTOR * usual))

    def _new_job(self, proposal: Proposal, seconds: float) -> TrialJob:
        number = self._next_number
        self._next_number += 1
        self._proposals[number] = proposal
        seed = derived_seed(self.seed, number)
        return TrialJob(number, proposal.spec, seed, seconds, self._hopeless_loss(), proposal.share)

    def _propose(self, workers: Sequence[int], seconds: float, times: float) -> Proposal | None:
        """Returns a trial to move up, the next recipe or one from TPE; None where none would end in time."""
        for rising in self._promotions():
            if self._usual_seconds(rising.spec, rising.share) <= seconds * times:
                return rising
        proposal = self._new_proposal(workers, seconds, times)
        return None if proposal is None else replace(proposal, share=self.rungs[0])

    def _promotions(self) -> list[Proposal]:
        """Returns proposals of finished trials with the next larger share of the rows, the best first."""
        if len(self.rungs) == 1:
            return []
        losses: dict[float, dict[str, float]] = {share: {} for share in self.rungs}
        for result in self.results:
            if result.finished:
                losses[result.share][result.spec.fingerprint] = self._loss(result)
        by_recipe = {each.spec.fingerprint: each for each in self._proposals.values()}
        begun = {(each.spec.fingerprint, each.share) for each in self._proposals.values()}
        return [replace(by_recipe[recipe], share=share) for recipe, share in promotions(losses, begun)]

    def _new_proposal(self, workers: Sequence[int], seconds: float, times: float) -> Proposal | None:
        """Returns the next recipe or one from TPE; None where what is left to try would not end in time.

        TensorFlow takes seconds to import, so where workers differ one imports it and then prefers networks.
        """
        share = self.rungs[0]
        known = [self.pool.knows_tensorflow(worker) for worker in range(self.pool.num_workers)]
        knows = all(known[worker] for worker in workers)
        others = {knowing for worker, knowing in enumerate(known) if worker not in workers}

        def fits(spec: PipelineSpec) -> bool:
            imports = isinstance(spec.classifier, NeuralClassifier) and not knows and True in known
            left = seconds - _IMPORTING if imports else seconds
            return self._usual_seconds(spec, share) <= left * times

        fitting = [each for each in self._pending if fits(each.spec)]
        if not fitting and (self._next_number > 0 or not self._pending):
            return self._drawn(fits, times)
        proposal = fitting[0] if fitting else self._pending[0]
        if self._next_number > 0 and others and others != {knows} and (knows or True in others):
            suiting = (
                each for each in fitting if isinstance(each.spec.classifier, NeuralClassifier) == knows
            )
            proposal = next(suiting, proposal)
        self._pending.remove(proposal)
        return proposal

    def _drawn(self, fits: Callable[[PipelineSpec], bool], times: float) -> Proposal | None:
        """Returns a proposal from TPE that would end in time; None where a few were drawn in vain."""
        if self.budget.elapsed() < self._drawn_in_vain.get(times, -math.inf) + _SECONDS_BETWEEN_DRAWS:
            return None
        for _ in range(_ASKED_TO_FIT):
            proposal = self.sampler.ask(self._next_number)
            if fits(proposal.spec):
                return proposal
            self.sampler.tell(proposal, None)
        self._drawn_in_vain[times] = self.budget.elapsed()
        return None

    def _usual_seconds(self, spec: PipelineSpec, share: float) -> float:
        """Returns what a trial with this classifier takes at least, judged by those before; 0 if unknown.

        Args:
            spec: of the trial.
            share: of the training rows.
        """
        kind = type(spec.classifier)
        alike = [each.seconds_on_all for each in self.results if type(each.spec.classifier) is kind]
        if not alike and isinstance(spec.classifier, NeuralClassifier):
            networks = [each for each in self.results if isinstance(each.spec.classifier, NeuralClassifier)]
            alike = [each.seconds_on_all for each in networks] or [_UNKNOWN_NETWORK_SECONDS / share]
        return _USUAL_SHARE * share * min(alike, default=0.0)

    def _take(self, result: TrialResult) -> None:
        if result.outcome is Outcome.LOST and self._tries[result.number] < _TRIES:
            proposal = self._proposals[result.number]
            self._retries.append(
                TrialJob(
                    result.number,
                    proposal.spec,
                    derived_seed(self.seed, result.number),
                    hopeless_loss=self._hopeless_loss(),
                    share=proposal.share,
                )
            )
            return
        proposal = self._proposals[result.number]
        self.ledger.record(LedgerEntry(proposal, result, self.budget.elapsed()))
        self._tell(proposal, result)
        num_bytes = len(result.artifact or b"") // self.costs.num_folds
        self.results.append(replace(result, artifact=None, num_bytes=num_bytes))
        self.num_new += 1
        num_finished, num_failed = self._tell_ended(result)
        if num_finished == 0 and num_failed >= max(3, self._num_opening):
            first = next(each for each in self.results if not each.finished)
            raise NoModelError(f"every trial failed; the first one ({first.spec}): {first.message}")

    def _tell(self, proposal: Proposal, result: TrialResult) -> None:
        """Tells the sampler; losses on larger shares of the rows would not compare with the others."""
        if proposal.share == self.rungs[0]:
            self.sampler.tell(proposal, self._loss(result) if result.finished else None)

    def _search_seconds(self) -> float:
        """Returns the seconds until the search must end for the winners to be finished in time."""
        return self.budget.remaining() - self._reserve()

    def _reserve(self) -> float:
        """Returns the seconds that fitting the best trials again, exporting and verifying will take."""
        best = self._likely_members()
        most = _LARGEST_REFIT_SHARE * self.budget.seconds
        missing = [result for result in best if result.number not in self._fitted_again]
        seconds = [self.costs.refit_seconds(result) for result in missing]
        # time that is too short for a refit would be lost to the search for nothing
        seconds = [each for each in seconds if each <= most]
        refits = max(max(seconds, default=0.0), sum(seconds) / self.pool.num_workers)
        return self.costs.export_seconds(best) + min(refits, most)

    def _likely_members(self) -> list[TrialResult]:
        """Returns the trials that the model would average if the search ended now; chosen once per result."""
        num_results, members = self._members
        if num_results != len(self.results):
            chosen = self.chooser.choose(self.ranking(), MAX_MEMBERS, quickly=True)
            members = [member.trial for member in chosen]
            self._members = (len(self.results), members)
        return members

    def _hopeless_loss(self) -> float:
        """Returns the log-loss above which a trial cannot catch up: far above that of the good quarter.

        Other metrics can rank a trial high whose log-loss is poor, so they stop none.
        """
        if self.metric != "log_loss":
            return math.inf
        losses = sorted(result.log_loss for result in self.results if result.finished)
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
