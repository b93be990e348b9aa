"""Which finished trials the model should average, during the search as at its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from autoflow.data.split import Fold
from autoflow.search import ensemble
from autoflow.search.cross_choice import cross_chosen
from autoflow.search.ensemble import Candidate, affordable_metric, best_of_each, of_true_class, select
from autoflow.search.evaluate import STOPPED
from autoflow.search.ledger import DamagedTrialError, Ledger
from autoflow.search.trial import TrialResult

_OF_EACH, _OF_EACH_JUDGED_SLOWLY = 8, 3
"""Candidates with the same classifier, by log-loss and by other metrics."""
_CANDIDATE_CELLS = 25_000_000
"""Probabilities of one candidate times candidates: bounds the memory of the selection."""
_JUDGING_ROWS = 5000
_READ_TIMES, _MOST_READ = 4, 500
"""Trials that are read for their gains: so many times those that fit into memory at once, and so many."""


@dataclass(frozen=True)
class Member:
    """A trial in the exported model and its share in the mean of probabilities."""

    trial: TrialResult
    weight: float


@dataclass
class MemberChooser:
    """Chooses members from the held-out probabilities that the run folder keeps.

    Args:
        ledger: of the run.
        labels: int32[m], of the held-out rows in the order of a trial's probabilities.
        num_classes: number of classes.
        metric: what is improved.
        seed: of the run.
        ties: int[m], equal for held-out rows that no choice may part; None where any may.
    """

    ledger: Ledger
    labels: np.ndarray
    num_classes: int
    metric: str
    seed: int
    ties: np.ndarray | None = None
    damaged: dict[int, str] = field(default_factory=dict, init=False)
    """Why the file of a trial cannot be read, by its number; such trials are passed over."""
    _own: tuple[dict[int, np.ndarray], ...] = field(default=({}, {}), init=False)
    """Of the candidates of the last two choices, by number: what `of_true_class` returns."""
    _sampled: dict[int, np.ndarray] = field(default_factory=dict, init=False)
    """Of the trials that `gains` read, by number: the same of some rows."""
    _last: tuple[tuple[Member, ...], int] = field(default=((), 0), init=False)
    """What was chosen last, unless quickly, and of how many members at most."""

    def choose(
        self, ranking: Sequence[TrialResult], max_members: int, *, quickly: bool = False
    ) -> tuple[Member, ...]:
        """Returns the members, the heaviest first: one where averaging does not pay, none without any trial.

        Args:
            ranking: finished trials, the best first.
            max_members: members at most.
            quickly: by log-loss whatever the metric, for an estimate while workers wait.
        """
        ranking = _each_once(ranking)
        rows = self._rows()
        metric = "log_loss" if quickly else affordable_metric(self.metric, len(rows), self.num_classes)
        if metric == "log_loss":  # which reads the probability of the true class only
            labels, num_imagined = np.zeros(len(rows) + 1, np.int64), 1
            best = best_of_each(ranking, _classifier, _OF_EACH)
            judged = self._of(best, lambda number: self._of_true_class(number, rows))
            self._own = (judged, self._own[0])
        else:
            labels, num_imagined = self.labels[rows], 0
            best = best_of_each(ranking, _classifier, _OF_EACH_JUDGED_SLOWLY)[
                : self._most_in_memory(len(rows))
            ]
            judged = self._of(best, lambda number: self.ledger.probabilities(number)[rows])
        candidates = [Candidate(number, probabilities) for number, probabilities in judged.items()]
        if not candidates:
            return ()
        selection = select(
            candidates,
            labels,
            metric=metric,
            max_members=max_members,
            num_imagined=num_imagined,
            ties=None if self.ties is None else self.ties[rows],
        )
        by_number = {trial.number: trial for trial in ranking}
        members = tuple(Member(by_number[number], weight) for number, weight in selection.weights.items())
        if not quickly:
            self._last = members, max_members
        return members

    def gains(self, ranking: Sequence[TrialResult], members: Sequence[Member]) -> dict[int, float]:
        """Returns by how much each trial would lower the log-loss of the mean of the others, by its number.

        By log-loss whatever the metric, and by a part of many rows. Trials that cannot be read are left out;
        where there are very many probabilities, only the best trials are read.

        Args:
            ranking: finished trials that learned from the same share of the rows, the best first.
            members: what would be averaged of these.
        """
        rows = np.arange(len(self.labels))
        if len(rows) > _JUDGING_ROWS:
            rows = np.sort(np.random.default_rng(self.seed).choice(rows, _JUDGING_ROWS, replace=False))

        def read(number: int) -> np.ndarray:
            if number not in self._sampled:
                probabilities = self.ledger.probabilities(number)
                imagined = of_true_class(probabilities, self.labels)[-1:, 0]
                sampled = of_true_class(probabilities[rows], self.labels[rows])[:-1, 0]
                self._sampled[number] = np.append(sampled, imagined)
            return self._sampled[number]

        most = min(_READ_TIMES * self._most_in_memory(len(self.labels)), _MOST_READ)
        readable = [trial for trial in _each_once(ranking)[:most] if trial.number not in self.damaged]
        counts = np.append(np.full(len(rows), len(self.labels) / len(rows)), 1.0)
        weights = {member.trial.number: member.weight for member in members}
        return ensemble.gains(self._of(readable, read), weights, counts)

    def cross_chosen(
        self, members: Sequence[Member], ranking: Sequence[TrialResult], folds: Sequence[Fold]
    ) -> np.ndarray | None:
        """Returns what choices predict that were made without the rows that they predict.

        Where `members` are not what was chosen last, as some could not be fitted in time or took too long to
        serve, those and what ranks above the model are no choice here, either.

        Args:
            members: of the model.
            ranking: finished trials, the best first; of very many probabilities the first ones only.
            folds: held-out rows that choose and those that are predicted.

        Returns:
            `float32[k, C]`, the folds' validation rows one after the other; None where there is nothing to
            choose from or the rows cannot be parted.
        """
        ranking = _each_once(ranking)
        chosen, most = self._last
        if tuple(members) != chosen:
            used = {member.trial.number for member in members}
            refused = {member.trial.number for member in chosen} - used
            best = next(place for place, trial in enumerate(ranking) if trial.number in used)
            ranking = [trial for trial in ranking[best:] if trial.number not in refused]
            most = len(members)
        most_read = self._most_in_memory(len(self.labels))
        trials = self._of(ranking[:most_read], self.ledger.probabilities)
        if not trials or not folds:
            return None
        return cross_chosen(
            trials,
            {trial.number: _classifier(trial) for trial in ranking},
            self.labels,
            folds,
            metric=self.metric,
            max_members=most,
            of_each=_OF_EACH if self.metric == "log_loss" else _OF_EACH_JUDGED_SLOWLY,
            ties=self.ties,
            seed=self.seed,
        )

    def _of(self, trials: Sequence[TrialResult], read: Callable[[int], np.ndarray]) -> dict[int, np.ndarray]:
        """Returns what is read of some trials, by number; damaged files are noted and left out."""
        found = {}
        for trial in trials:
            try:
                found[trial.number] = read(trial.number)
            except DamagedTrialError as error:
                self.damaged[trial.number] = str(error)
        return found

    def _most_in_memory(self, num_rows: int) -> int:
        return max(2, _CANDIDATE_CELLS // (num_rows * self.num_classes))

    def _of_true_class(self, number: int, rows: np.ndarray) -> np.ndarray:
        for known in self._own:
            if number in known and len(known[number]) == len(rows) + 1:
                return known[number]
        return of_true_class(self.ledger.probabilities(number)[rows], self.labels[rows])

    def _rows(self) -> np.ndarray:
        rows = np.arange(len(self.labels))
        if self.metric != "log_loss" and len(rows) > _JUDGING_ROWS:  # other metrics are slow
            return np.sort(np.random.default_rng(self.seed).choice(rows, _JUDGING_ROWS, replace=False))
        return rows


def _each_once(ranking: Sequence[TrialResult]) -> list[TrialResult]:
    """Returns one trial of each pipeline, the one that learned from most rows: on all rows they are one.

    But not one that the clock stopped and that ranks lower: it has few rounds, as its fit on all rows would.
    """
    largest: dict[str, TrialResult] = {}
    for trial in ranking:
        known = largest.setdefault(trial.spec.fingerprint, trial)
        if trial.share > known.share and trial.message != STOPPED:
            largest[trial.spec.fingerprint] = trial
    numbers = {trial.number for trial in largest.values()}
    return [trial for trial in ranking if trial.number in numbers]


def _classifier(trial: TrialResult) -> type:
    return type(trial.spec.classifier)
