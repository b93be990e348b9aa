"""What the end of a run costs, so that a search leaves time for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from autoflow.components.base import NeuralClassifier
from autoflow.search.trial import TrialResult

_MEMBERS, _MOST_MEMBERS, _MEMBER_SECONDS = 5, 8, 60.0
"""Members of an ensemble: so many, and one more for each further minute, as each costs a fit on all rows.

Eight were 0.4 % better than five, judged by rows that did not choose, over eleven searches of 300 s. Where
each is large to serve, the caller asks for those of a short search.
"""
MAX_NETWORKS_AS_FOLDS = 2
"""Networks of an ensemble that may be exported as the mean of their folds: each fold costs serving time."""

_MERGING_FACTOR = 2.0
"""What a pipeline whose parts are merged by layers takes to export, in times of another: attention has many
operations (13 pipelines, ten of them with such layers, took 15 s)."""

_SENDING_SECONDS = 0.3
"""Until a worker has begun, and until what it fitted is here."""
_TRACING_SECONDS = 1.5
"""Until TensorFlow has a training step for a network that the worker may not have trained before."""


def most_members(seconds: float) -> int:
    """Returns how many members the ensemble of a search of so many seconds may have.

    >>> most_members(20.0), most_members(60.0), most_members(180.0), most_members(3600.0)
    (5, 5, 7, 8)
    """
    more = int((seconds - _MEMBER_SECONDS) / _MEMBER_SECONDS)
    return min(_MEMBERS + max(0, more), _MOST_MEMBERS)


@dataclass(frozen=True)
class FinishCosts:
    """What the end of a run costs: the study leaves that much time.

    Args:
        fixed_seconds: exporting, verifying, reporting a single model.
        member_seconds: the same for each further pipeline of an ensemble.
        refit_factor: seconds of a refit on all rows for each second that the trial took.
        num_folds: folds of a trial; more than 1 under cross-validation.
        ending_seconds: what is left to do after the export, part of `fixed_seconds`.
        megabyte_seconds: more for each million bytes of fitted pipelines.
        folds_may_serve: whether the mean of a cross-validated network's folds may be exported; a network then
            brings so many pipelines as a member.
        most_members: members of an ensemble at most.
        most_folds_seconds: that the folds of another network than the heaviest may take.
    """

    fixed_seconds: float
    member_seconds: float
    refit_factor: float
    num_folds: int = 1
    ending_seconds: float = 0.0
    megabyte_seconds: float = 0.0
    folds_may_serve: bool = False
    most_members: int = _MEMBERS
    most_folds_seconds: float = math.inf

    def export_seconds(self, trials: Sequence[TrialResult]) -> float:
        """Returns what exporting an ensemble of some trials takes."""
        members = sum(self._pipeline_seconds(trial) for trial in trials)
        if self.folds_may_serve:
            networks = [trial for trial in trials if isinstance(trial.spec.classifier, NeuralClassifier)]
            as_folds = networks[:MAX_NETWORKS_AS_FOLDS]
            as_folds = [trial for trial in as_folds if trial is networks[0] or self.affords_folds(trial)]
            members += sum((self.num_folds - 1) * self._pipeline_seconds(trial) for trial in as_folds)
        megabytes = sum(trial.num_bytes for trial in trials) / 1e6
        first = self.member_seconds if trials else 0.0
        return self.fixed_seconds + members - first + self.megabyte_seconds * megabytes

    def affords_folds(self, trial: TrialResult) -> bool:
        """Tells whether all folds of a network that is not the heaviest may be exported."""
        return (self.num_folds - 1) * self._pipeline_seconds(trial) <= self.most_folds_seconds

    def _pipeline_seconds(self, trial: TrialResult) -> float:
        return self.member_seconds * (_MERGING_FACTOR if trial.spec.concatenation.trainable else 1.0)

    def refit_seconds(self, trial: TrialResult) -> float:
        """Returns what fitting a trial's pipeline on all rows takes."""
        traced = _TRACING_SECONDS if isinstance(trial.spec.classifier, NeuralClassifier) else 0.0
        return self.refit_factor * trial.seconds_on_all + traced + _SENDING_SECONDS

    def affordable_members(self, seconds: float) -> int:
        """Returns how many members can be exported in `seconds`, 1 to `most_members`."""
        if self.member_seconds <= 0:
            return self.most_members
        return max(1, min(self.most_members, 1 + int((seconds - self.fixed_seconds) / self.member_seconds)))
