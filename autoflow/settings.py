"""What a user asks of a run, and whether this machine can give it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autoflow.budget import format_duration
from autoflow.components.discovery import ComponentFile
from autoflow.errors import MachineError, UsageError
from autoflow.export.saved_model import NO_LIMITS, Limits
from autoflow.machine import available_cores
from autoflow.metrics import check_metric

LEAST_SECONDS = 12.0


@dataclass(frozen=True)
class RunSettings:
    """What a user asks of a run.

    Args:
        output: the run folder.
        label: header of the label column; None to find it.
        seconds: time budget for everything, from process start to verified model.
        max_trials: trials in all; None for as many as fit.
        metric: ranks the trials.
        seed: of everything that is drawn.
        workers: trials side by side; None for the number of cores.
        ray_address: cluster to join; None for this machine.
        component_files: the user's own components.
        encoding: of text files; None to find it.
        image_folder: where the paths of pictures start; None for the folder of the table.
        source: name of the table for messages and manifest.
        test: labelled table that the model will be scored on, checked before the search; None for none.
        embeddings: version folders of exported models whose embeddings are features of every trial.
        group: header of a column whose equal values may not be parted by a split.
        time_column: header of a column that orders rows in time: later rows check models of earlier ones.
        ignored: headers of columns that are no features.
        limits: what the exported model may cost to serve.
        image_weights: pretrained networks for pictures, as `ARCHITECTURE=FILE`.
        text_embeddings: folders of pretrained embedding models for texts.
    """

    output: Path
    label: str | None = None
    seconds: float = 300.0
    max_trials: int | None = None
    metric: str = "log_loss"
    seed: int = 0
    workers: int | None = None
    ray_address: str | None = None
    component_files: tuple[ComponentFile, ...] = ()
    encoding: str | None = None
    image_folder: Path | None = None
    source: str = "data"
    test: Path | None = None
    embeddings: tuple[Path, ...] = ()
    group: str | None = None
    time_column: str | None = None
    ignored: tuple[str, ...] = ()
    limits: Limits = NO_LIMITS
    image_weights: tuple[str, ...] = ()
    text_embeddings: tuple[Path, ...] = ()

    @property
    def asked(self) -> dict[str, float | None]:
        """How much is asked, as JSON values: what a finished search must have had to be what is wanted."""
        row_ms, megabytes = (
            None if limit == math.inf else limit for limit in (self.limits.row_ms, self.limits.megabytes)
        )
        return {
            "seconds": self.seconds,
            "max_trials": self.max_trials,
            "max_latency_ms": row_ms,
            "max_size_mb": megabytes,
        }

    def has_limits_of(self, asked: Mapping[str, float | None] | None) -> bool:
        """Tells whether an earlier command asked for the same limits of size and latency."""
        names = ("max_latency_ms", "max_size_mb")
        return asked is not None and all(asked.get(name) == self.asked[name] for name in names)


def check_settings(settings: RunSettings) -> None:
    """Refuses what cannot work, before anything is read.

    Raises:
        UsageError: an unknown metric, no time, no trials, no workers.
        MachineError: more workers than this process has cores.
    """
    check_metric(settings.metric)
    if not min(settings.limits.row_ms, settings.limits.megabytes) > 0:
        raise UsageError("--max-latency-ms and --max-size-mb must be above 0")
    if settings.seconds < LEAST_SECONDS:
        raise UsageError(
            f"a time budget of {format_duration(settings.seconds)} is too short: importing the libraries and "
            f"exporting take about {LEAST_SECONDS:.0f}s; give --time-budget 20s or more"
        )
    if settings.max_trials is not None and settings.max_trials < 1:
        raise UsageError(f"--max-trials must be 1 or more, got {settings.max_trials}")
    cores = available_cores()
    if settings.workers is not None and settings.workers < 1:
        raise UsageError(f"--workers must be 1 or more, got {settings.workers}")
    if settings.ray_address is None and (settings.workers or 1) > cores:
        raise MachineError(
            f"--workers {settings.workers} asks for more cores than this process may use; "
            f"ask for {cores} or fewer"
        )


def default_output(source: str) -> Path:
    """Returns the run folder of a table: `<name>-autoflow` in the working folder."""
    name = Path(source).name
    for suffix in (".gz", ".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".txt"):
        name = name.removesuffix(suffix)
    return Path(f"{name or 'data'}-autoflow")
