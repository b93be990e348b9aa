"""What to try next: trials that deserve more rows, then the opening portfolio, then TPE; what ends in time.

How long a trial may take and on which workers it runs is the study's business.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

from autoflow.components.base import NeuralClassifier
from autoflow.components.registry import name_of
from autoflow.pipeline.spec import PipelineSpec
from autoflow.search.fidelity import promotions
from autoflow.search.sampler import Proposal, Sampler, Value, opening
from autoflow.search.trial import Outcome, TrialResult

_USUAL_SHARE = 0.7
_TELLING = (Outcome.FINISHED, Outcome.HOPELESS, Outcome.OUT_OF_TIME)
_UNKNOWN_NETWORK_SECONDS = 8.0
_ASKED_TO_FIT = 3
_GOOD = 10
"""Finished trials, the best ones: they say what a trial may take, and whose classifier is worth another."""
_AFFORDABLE = 2.0
"""Times what good trials take: a trial that takes no more is accepted whenever it is drawn."""
_IMPORTING = 10.0
"""Seconds that a second worker must have besides those of a trial to import TensorFlow, which takes 5."""


@dataclass(frozen=True)
class Vacancy:
    """What idle workers have for a trial.

    Args:
        seconds: wall time that is left for it.
        times: as soon as on one worker it will end; see `shared_folds.speed_up`.
        knows: whether all workers that would run it have imported TensorFlow.
        others_know: the same of each other worker.
    """

    seconds: float
    times: float = 1.0
    knows: bool = True
    others_know: frozenset[bool] = frozenset()


@dataclass
class Proposals:
    """The proposals of one search, made one after the other.

    Args:
        sampler: proposes pipelines, and is told of the trials by the study.
        rungs: shares of the training rows, ascending to 1.0; trials begin at the first, good ones move up.
        loss: of a finished trial, smaller is better.
        gains: returns what pipelines of the first rung are worth to the mean of the others, by fingerprint.
    """

    sampler: Sampler
    rungs: tuple[float, ...]
    loss: Callable[[TrialResult], float]
    gains: Callable[[], Mapping[str, float]]
    by_number: dict[int, Proposal] = field(default_factory=dict, init=False)
    """Of the trials that were begun."""
    _pending: deque[Proposal] = field(default_factory=deque, init=False)
    _drawn_in_vain: dict[float, tuple[int, float]] = field(default_factory=dict, init=False)
    """By the times of a vacancy: how many results there were, and how many seconds nothing was found for."""

    def open(self, recipes: list[dict[str, Value]]) -> int:
        """Queues the recipes that were not tried before, and returns how many that are."""
        opened = list(opening(self.sampler, recipes))
        self._pending.extend(opened)
        return len(opened)

    def next(
        self, wanted: Vacancy, results: Sequence[TrialResult], averaged: Collection[str] = ()
    ) -> Proposal | None:
        """Returns a trial to move up, the next recipe or one from TPE; None where none would end in time.

        Args:
            wanted: what idle workers have for it.
            results: of the trials so far.
            averaged: fingerprints of the pipelines that the model would average as things stand.
        """
        for rising in self._rising(results, averaged):
            usual = _USUAL_SHARE * self.expected_seconds(rising.spec, rising.share, results)
            if usual <= wanted.seconds * wanted.times:
                return rising
        proposal = self._new(wanted, results)
        return None if proposal is None else replace(proposal, share=self.rungs[0])

    def expected_seconds(self, spec: PipelineSpec, share: float, results: Sequence[TrialResult]) -> float:
        """Returns what this pipeline took, else the shortest trial of its kind; 0 where nothing is known.

        For the share of the rows that is asked. Trials that were given up or cut off say something only as
        long as none has finished.

        Args:
            spec: of the trial.
            share: of the training rows.
            results: of the trials so far.
        """
        own = [
            each.seconds_on_all
            for each in results
            if each.finished and each.spec.fingerprint == spec.fingerprint
        ]
        if own:
            return share * min(own)
        # what raised or died says nothing about those that do not
        results = [each for each in results if each.outcome in _TELLING]
        kind = type(spec.classifier)
        alike = [each for each in results if type(each.spec.classifier) is kind]
        if not alike and isinstance(spec.classifier, NeuralClassifier):
            alike = [each for each in results if _is_network(each.spec)]
            if not alike:
                return _UNKNOWN_NETWORK_SECONDS
        alike = [each for each in alike if each.finished] or alike
        return share * min((each.seconds_on_all for each in alike), default=0.0)

    def _rising(self, results: Sequence[TrialResult], averaged: Collection[str]) -> list[Proposal]:
        """Returns proposals of finished trials with the next larger share of the rows, the best first."""
        if len(self.rungs) == 1:
            return []
        losses: dict[float, dict[str, float]] = {share: {} for share in self.rungs}
        for result in results:
            if result.finished:
                losses[result.share][result.spec.fingerprint] = self.loss(result)
        begun = self.by_number.values()
        by_recipe = {each.spec.fingerprint: each for each in begun}
        rising = promotions(losses, {(each.spec.fingerprint, each.share) for each in begun}, averaged)
        return [replace(by_recipe[recipe], share=share) for recipe, share in rising]

    def _new(self, wanted: Vacancy, results: Sequence[TrialResult]) -> Proposal | None:
        """Returns the next recipe or one from TPE; None where what is left to try would not end in time.

        TensorFlow takes seconds to import, so where workers differ one imports it and then prefers networks.
        """
        knows, others = wanted.knows, wanted.others_know

        def fits(spec: PipelineSpec) -> bool:
            imports = _is_network(spec) and not knows and True in others
            left = wanted.seconds - _IMPORTING if imports else wanted.seconds
            usual = _USUAL_SHARE * self.expected_seconds(spec, self.rungs[0], results)
            return usual <= left * wanted.times

        is_first = not self.by_number
        fitting = [each for each in self._pending if fits(each.spec)]
        if not fitting and not (is_first and self._pending):
            return self._drawn(fits, wanted, results)
        proposal = fitting[0] if fitting else self._pending[0]
        if not is_first and others and others != {knows} and (knows or True in others):
            proposal = next((each for each in fitting if _is_network(each.spec) == knows), proposal)
        self._pending.remove(proposal)
        return proposal

    def _drawn(
        self, fits: Callable[[PipelineSpec], bool], wanted: Vacancy, results: Sequence[TrialResult]
    ) -> Proposal | None:
        """Returns a proposal from TPE that would end in time; None where a few were drawn in vain.

        Every second one is drawn towards what is worth most to the mean of the others, and not towards small
        losses: by these alone, two draws in three were the same classifier on most of twenty tables.

        A kind of trials that usually takes k times as long as is affordable, which is twice what good trials
        take, is accepted once in k times, so that kinds share the time and not the draws: on three tables
        whose best trials were boosted trees of 2 s, one draw in five was a network or a large forest, and
        these took more than half of the time. Where nothing is accepted, the best classifier that is
        affordable is asked for, and rather than have a worker wait, the first one refused is taken.
        """
        in_vain = self._drawn_in_vain.get(wanted.times)
        if in_vain is not None and in_vain[0] == len(results) and wanted.seconds <= in_vain[1]:
            return None  # drawing takes time from trials
        number = max(self.by_number, default=-1) + 1
        begun = self.by_number.values()
        num_drawn = sum(each.origin == "tpe" and each.share == self.rungs[0] for each in begun)
        gains = self.gains() if num_drawn % 2 else {}
        good = [each for each in self._good(results, gains) if fits(each.spec)]
        affordable = _AFFORDABLE * median(each.seconds_on_all for each in good) if good else math.inf
        unlucky = None
        for _ in range(_ASKED_TO_FIT):
            proposal = self._fitting(number, None, gains, fits)
            if proposal is None:
                continue
            if _luck(proposal.spec) * self._usual_seconds(proposal.spec, results) <= affordable:
                return proposal
            self.sampler.tell(proposal, None)
            self.sampler.forget(proposal)
            unlucky = unlucky or proposal
        quick = next(
            (each.spec for each in good if self._usual_seconds(each.spec, results) <= affordable), None
        )
        proposal = None if quick is None else self._fitting(number, name_of(quick.classifier), gains, fits)
        if proposal is None and unlucky is not None and self.sampler.claim(unlucky):
            return unlucky
        if proposal is None:
            self._drawn_in_vain[wanted.times] = len(results), wanted.seconds
        return proposal

    def _fitting(
        self,
        number: int,
        classifier: str | None,
        gains: Mapping[str, float],
        fits: Callable[[PipelineSpec], bool],
    ) -> Proposal | None:
        """Returns a proposal from TPE; None where it drew nothing new, or what would not end in time."""
        proposal = self.sampler.ask(number, classifier, gains)
        if proposal is None or fits(proposal.spec):
            return proposal
        self.sampler.tell(proposal, None)
        return None

    def _usual_seconds(self, spec: PipelineSpec, results: Sequence[TrialResult]) -> float:
        """Returns what finished trials with this classifier took on all rows, the median; 0 without any."""
        kind = type(spec.classifier)
        alike = [
            each.seconds_on_all for each in results if each.finished and type(each.spec.classifier) is kind
        ]
        return median(alike) if alike else 0.0

    def _good(self, results: Sequence[TrialResult], gains: Mapping[str, float]) -> list[TrialResult]:
        """Returns the best finished trials that are no baselines, the best first: by their gains if given."""
        finished = [each for each in results if each.finished and not each.spec.classifier.baseline]

        def badness(trial: TrialResult) -> float:
            return -gains.get(trial.spec.fingerprint, -math.inf) if gains else self.loss(trial)

        return sorted(finished, key=badness)[:_GOOD]


def _luck(spec: PipelineSpec) -> float:
    """Returns 0 to 1, for a resumed search the same as before."""
    return int(spec.fingerprint, 16) % 1000 / 1000


def _is_network(spec: PipelineSpec) -> bool:
    return isinstance(spec.classifier, NeuralClassifier)
