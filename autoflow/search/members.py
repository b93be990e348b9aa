"""Which finished trials the model should average, during the search as at its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from autoflow.search.ensemble import Candidate, affordable_metric, select
from autoflow.search.ledger import DamagedTrialError, Ledger
from autoflow.search.trial import TrialResult

MAX_MEMBERS = 5
"""Members of an ensemble at most: each costs serving time and a fit on all rows."""

_CANDIDATES = 25
_CANDIDATE_CELLS = 25_000_000
"""Probabilities of one candidate times candidates: bounds the memory of the selection."""
_JUDGING_ROWS = 5000


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
    """

    ledger: Ledger
    labels: np.ndarray
    num_classes: int
    metric: str
    seed: int
    damaged: dict[int, str] = field(default_factory=dict, init=False)
    """Why the file of a trial cannot be read, by its number; such trials are passed over."""
    _read: dict[int, np.ndarray] = field(default_factory=dict, init=False)

    def choose(
        self, ranking: Sequence[TrialResult], max_members: int, *, quickly: bool = False
    ) -> tuple[Member, ...]:
        """Returns the members, the heaviest first: one where averaging does not pay, none without any trial.

        Args:
            ranking: finished trials, the best first.
            max_members: members at most.
            quickly: by log-loss whatever the metric, for an estimate while workers wait.
        """
        rows = self._rows()
        most = max(2, _CANDIDATE_CELLS // (len(rows) * self.num_classes))
        candidates = []
        for trial in ranking[: min(_CANDIDATES, most)]:
            try:
                candidates.append(Candidate(trial.number, self._probabilities(trial.number, rows)))
            except DamagedTrialError as error:
                self.damaged[trial.number] = str(error)
        if not candidates:
            return ()
        self._read = {each.number: each.probabilities for each in candidates}
        metric = "log_loss" if quickly else affordable_metric(self.metric, len(rows), self.num_classes)
        selection = select(candidates, self.labels[rows], metric=metric, max_members=max_members)
        by_number = {trial.number: trial for trial in ranking}
        return tuple(Member(by_number[number], weight) for number, weight in selection.weights.items())

    def _probabilities(self, number: int, rows: np.ndarray) -> np.ndarray:
        if number not in self._read:
            return self.ledger.probabilities(number)[rows]
        return self._read[number]

    def _rows(self) -> np.ndarray:
        rows = np.arange(len(self.labels))
        if self.metric != "log_loss" and len(rows) > _JUDGING_ROWS:  # other metrics are slow
            return np.sort(np.random.default_rng(self.seed).choice(rows, _JUDGING_ROWS, replace=False))
        return rows
