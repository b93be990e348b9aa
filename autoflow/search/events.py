"""What happens during a run, as values that a command line or notebook draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from autoflow.data.dataset import Dataset
from autoflow.search.trial import TrialJob, TrialResult


@dataclass(frozen=True)
class Stage:
    """A step of the run began, in plain words."""

    text: str


@dataclass(frozen=True)
class DataReady:
    """The table was read and understood.

    Args:
        dataset: the training rows.
        notes: what was guessed.
        warnings: what deserves a look.
        validation: how trials are scored, in plain words.
    """

    dataset: Dataset
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    validation: str


@dataclass(frozen=True)
class Resumed:
    """An earlier session's trials were found.

    Args:
        num_finished: trials with a score.
        num_failed: trials without one.
        seconds_used: budget that they used.
        best: the best of them, or None.
    """

    num_finished: int
    num_failed: int
    seconds_used: float
    best: TrialResult | None


@dataclass(frozen=True)
class TrialStarted:
    """A worker began a trial."""

    job: TrialJob


@dataclass(frozen=True)
class TrialEnded:
    """A trial ended and is on disk, or was cut off by the end of the search.

    Args:
        result: how it ended.
        best: the best finished trial so far, or None.
        num_finished: trials with a score.
        num_failed: trials without one.
    """

    result: TrialResult
    best: TrialResult | None
    num_finished: int
    num_failed: int


@dataclass(frozen=True)
class RefitStarted:
    """A worker began to fit a trial's pipeline on all rows."""

    job: TrialJob


@dataclass(frozen=True)
class RefitEnded:
    """A fit on all rows ended, well or not."""

    number: int


@dataclass(frozen=True)
class Warned:
    """Something deserves a look but stops nothing."""

    text: str


@dataclass(frozen=True)
class Notice:
    """Something that a person should read, and that stays on the screen."""

    text: str


Event = Stage | Notice | DataReady | Resumed | TrialStarted | TrialEnded | RefitStarted | RefitEnded | Warned
Observer = Callable[[Event], None]
