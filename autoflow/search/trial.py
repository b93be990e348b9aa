"""The values that travel between the study and its workers: what to try, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Protocol

import numpy as np

from autoflow.pipeline.spec import PipelineSpec

if TYPE_CHECKING:
    from autoflow.pipeline.assembly import FittedPipeline


class Outcome(Enum):
    """How a trial ended; the value is the sentence that people read."""

    FINISHED = "finished"
    HOPELESS = "given up early: it could not catch up with the best"
    FAILED = "failed"
    OUT_OF_TIME = "did not finish before the deadline"
    LOST = "its worker process died"


@dataclass(frozen=True)
class TrialJob:
    """A trial that a worker should run.

    Args:
        number: counts from 0 in the order of proposal.
        spec: the pipeline.
        seed: derived from the run's seed and the number.
        seconds: wall time that its fits should take at most.
        hopeless_loss: validation log-loss above which the trial is given up early.
        share: of the training rows that it may learn from, above 0 to 1.
        folds: numbers of the folds to fit, ascending, where several workers share the trial; None for all.
    """

    number: int
    spec: PipelineSpec
    seed: int
    seconds: float = float("inf")
    hopeless_loss: float = float("inf")
    share: float = 1.0
    folds: tuple[int, ...] | None = None

    def ended(self, outcome: Outcome, message: str, seconds: float) -> TrialResult | PartResult:
        """Returns the result of a worker that did not come back with one after so many seconds."""
        if self.folds is None:
            share = self.share
            return TrialResult(self.number, self.spec, outcome, seconds=seconds, message=message, share=share)
        return PartResult(self.number, self.folds, outcome, seconds, message)


@dataclass(frozen=True)
class PartResult:
    """What became of the folds of a trial that one worker had; `joined` makes a trial of the parts.

    Args:
        number: the trial's number.
        folds: numbers of the folds, ascending.
        outcome: how they ended.
        seconds: wall time on the worker.
        message: a sentence for folds that did not finish, or that the time stopped.
        iterations: rounds or epochs that each fold settled on; empty where there are none.
        probabilities: held-out `float32[m, num_classes]` in the order of the folds' validation rows.
        artifact: the fitted pipelines, pickled one after the other.
    """

    number: int
    folds: tuple[int, ...]
    outcome: Outcome
    seconds: float = 0.0
    message: str = ""
    iterations: tuple[int, ...] = ()
    probabilities: np.ndarray | None = field(default=None, repr=False, compare=False)
    artifact: bytes = field(default=b"", repr=False, compare=False)


@dataclass(frozen=True)
class TrialResult:
    """What became of a trial.

    Args:
        number: the trial's number.
        spec: its pipeline.
        outcome: how it ended.
        score: validation score in the metric of the search, for log-loss `metrics.careful_log_loss`; NaN
            unless finished.
        log_loss: validation log-loss; NaN unless finished.
        seconds: wall time on the worker; of workers that shared its folds the sum.
        iterations: rounds or epochs that the folds settled on (their median); None where there are none.
        message: a sentence for a trial that did not finish, or that the time stopped.
        probabilities: held-out `float32[m, num_classes]` in the order of the folds' validation rows.
        artifact: the fitted pipelines of all folds, pickled one after the other.
        share: of the training rows that it learned from.
        num_bytes: of one fitted pipeline, pickled; 0 where not known.
    """

    number: int
    spec: PipelineSpec
    outcome: Outcome
    score: float = float("nan")
    log_loss: float = float("nan")
    seconds: float = 0.0
    iterations: int | None = None
    message: str = ""
    probabilities: np.ndarray | None = field(default=None, repr=False, compare=False)
    artifact: bytes | None = field(default=None, repr=False, compare=False)
    share: float = 1.0
    num_bytes: int = field(default=0, repr=False, compare=False)

    @property
    def finished(self) -> bool:
        """Whether the trial has a score that may rank."""
        return self.outcome is Outcome.FINISHED

    @property
    def seconds_on_all(self) -> float:
        """Seconds that it is expected to take on all training rows."""
        return self.seconds / self.share


@dataclass(frozen=True)
class Refit:
    """A pipeline to fit on all rows, with the rounds or epochs that its trial settled on."""

    trial: TrialJob
    iterations: int | None

    @property
    def number(self) -> int:
        """The number of the trial."""
        return self.trial.number

    def ended(self, outcome: Outcome, message: str, seconds: float) -> RefitResult:
        """Returns the result of a worker that did not come back with one; the message says it all."""
        return RefitResult(self.number, None, message, is_lost=outcome is Outcome.LOST)


@dataclass(frozen=True)
class RefitResult:
    """What became of a fit on all rows.

    Args:
        number: the trial's number.
        pipeline: that was fitted; None where that raised or its worker died.
        message: why there is none.
        is_lost: whether its worker died.
    """

    number: int
    pipeline: FittedPipeline | None = field(repr=False)
    message: str = ""
    is_lost: bool = False


Work = TrialJob | Refit
Result = TrialResult | PartResult | RefitResult


class WorkerPool(Protocol):
    """What the study needs of its workers; tests bring one without Ray."""

    @property
    def num_workers(self) -> int:
        """Workers, numbered from 0; each has one trial, part of a trial or fit on all rows at a time."""

    def idle(self) -> list[int]:
        """Returns the workers that can take work now, those that live first; none that is being replaced."""

    def knows_tensorflow(self, worker: int) -> bool:
        """Tells whether the worker has imported TensorFlow already."""

    def start(self, worker: int, work: Work, *, needs_tensorflow: bool) -> None:
        """Gives a trial, some folds of one or a fit on all rows to an idle worker."""

    def forget(self, number: int) -> None:
        """Drops what will come of the parts of a trial; their workers are idle after them."""

    def wait(self, seconds: float) -> list[Result]:
        """Returns what ended, waiting up to `seconds` for the first."""

    def abandon_trials(self) -> None:
        """Stops all trials in progress; their workers are replaced when they are needed again."""

    def abandon_refits(self) -> None:
        """As `abandon_trials`, of the fits on all rows."""
