"""One run in its folder: read, search, finish. The order of steps; each step's logic lives elsewhere."""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoflow import metrics
from autoflow.budget import Budget, format_duration
from autoflow.components.discovery import discover
from autoflow.data.dataset import Dataset, features_for, load_dataset
from autoflow.data.plan import RowPlan, plan_rows
from autoflow.data.reading import read_table
from autoflow.data.schema import DataProfile, Schema
from autoflow.errors import DataError
from autoflow.finished import FinishedModel, remembered
from autoflow.image_weights import image_weights
from autoflow.parts import model_part
from autoflow.report.leaderboard import LeaderboardRow, leaderboard
from autoflow.search.evaluate import Experiment
from autoflow.search.events import DataReady, Notice, Observer, Resumed
from autoflow.search.ledger import Ledger
from autoflow.search.leftovers import clear
from autoflow.search.trial import TrialResult
from autoflow.serving.quiet import import_tensorflow
from autoflow.serving.rows import labelled_rows
from autoflow.session import Session, finish_seconds, resumed
from autoflow.settings import RunSettings, check_settings
from autoflow.text_embeddings import text_embeddings

if TYPE_CHECKING:
    import pandas as pd

_LEAST_TRIAL_SECONDS = 5.0
"""Starting the workers included."""


@dataclass(frozen=True)
class RunReport:
    """What came out of a run.

    Args:
        folder: the run folder.
        model: the exported model.
        schema: columns, label and classes.
        rows: the leaderboard.
        metric: of the search.
        warnings: about the data and the model.
        seconds: of this session, from the start of the budget to here.
        signal_number: of the signal that ended the search early; 0 for none.
    """

    folder: Path
    model: FinishedModel
    schema: Schema
    rows: tuple[LeaderboardRow, ...]
    metric: str
    warnings: tuple[str, ...]
    seconds: float
    signal_number: int = 0


def execute(
    data: str | Path | pd.DataFrame, settings: RunSettings, observer: Observer, budget: Budget
) -> RunReport:
    """Runs a search, or goes on with the one in the run folder, and exports its best model.

    Args:
        data: the labelled table.
        settings: what is asked.
        observer: is told what happens.
        budget: time for everything; the command line's began when its process did.

    Raises:
        DataError: the table cannot be used.
        NoModelError: no trial gave a usable model.
        MachineError: disk, memory or cluster.
        RunFolderInUseError: another process writes into the run folder.
        RunInterrupted: a signal came before there was a model.
        UsageError: settings, components or run folder do not fit.
    """
    check_settings(settings)
    discover(settings.component_files)
    dataset, notes, warnings = load_dataset(
        data,
        label=settings.label,
        encoding=settings.encoding,
        image_folder=settings.image_folder,
        group=settings.group,
        time_column=settings.time_column,
        ignored=settings.ignored,
    )
    _check_test(dataset, settings)
    profile = _profile(dataset, settings)
    with contextlib.ExitStack() as stack:
        ledger = Ledger(settings.output, _identity(dataset, settings, profile))
        stack.callback(ledger.close)
        plan = _plan(dataset, settings, ledger)
        observer(DataReady(dataset, notes, warnings, plan.description))
        experiment = Experiment(dataset, plan.folds, settings.metric, settings.seed, plan.set_aside)
        _check_metric(experiment)
        model, results, signal_number = _searched(settings, experiment, profile, ledger, observer, budget)
    return RunReport(
        folder=settings.output,
        model=model,
        schema=dataset.schema,
        rows=leaderboard(results, settings.metric),
        metric=settings.metric,
        warnings=(*warnings, *model.doubts),
        seconds=budget.elapsed(),
        signal_number=signal_number,
    )


def _searched(
    settings: RunSettings,
    experiment: Experiment,
    profile: DataProfile,
    ledger: Ledger,
    observer: Observer,
    budget: Budget,
) -> tuple[FinishedModel, list[TrialResult], int]:
    """Returns the model, all trials, and the signal that ended the search early or 0.

    The model of an earlier session stays where nothing more is asked for or no time is left.
    """
    if ledger.setting("session"):  # its watcher may have been killed, too
        clear(ledger.setting("session"))
    entries = ledger.entries()
    results = [entry.result for entry in entries]
    earlier = remembered(ledger, results)
    if earlier is not None and settings.limits.refusal(earlier.verification, earlier.num_bytes):
        earlier = None
    used = max((entry.elapsed for entry in entries), default=0.0)
    if results:
        observer(_resumption(results, settings.metric, used))
    asked = (ledger.setting("model") or {}).get("asked")
    to_finish = finish_seconds(settings, experiment.dataset)
    # other limits may choose another model, for which there must be time
    stays = earlier if settings.has_limits_of(asked) else None
    if stays is not None and _asks_no_more(settings, asked):
        observer(Notice("this search is finished; a larger --time-budget or --max-trials continues it"))
        return stays, results, 0
    if stays is not None and _has_no_time(stays, settings, used + budget.elapsed(), to_finish):
        time = format_duration(settings.seconds)
        observer(Notice(f"hardly any of the {time} is left; a larger --time-budget continues the search"))
        return stays, results, 0
    left = resumed(budget, used, stays, to_finish)
    return Session(settings, experiment, profile, ledger, observer, left).run(earlier)


def _check_test(dataset: Dataset, settings: RunSettings) -> None:
    """Raises DataError where `--test` does not fit: that should not wait for the end of the search."""
    if settings.test is not None:
        table = read_table(settings.test, encoding=settings.encoding, image_folder=settings.image_folder)
        features_for(dataset.schema.columns, table)
        labelled_rows(dataset.schema, table)


def _check_metric(experiment: Experiment) -> None:
    """Raises DataError where the metric has no value on the held-out rows, whatever is predicted."""
    labels = experiment.dataset.labels[experiment.validation_rows]
    if not math.isfinite(metrics.score(experiment.metric, labels, experiment.class_shares)):
        names = [experiment.dataset.schema.classes[code] for code in np.unique(labels)]
        raise DataError(
            f"{experiment.metric} cannot be told of the held-out rows, as their labels are only "
            f"{', '.join(map(repr, names[:3]))}; choose another --metric, such as log_loss, or give more rows"
        )


def _resumption(results: Sequence[TrialResult], metric: str, used: float) -> Resumed:
    first = leaderboard(results, metric)[0]
    best = next((result for result in results if first.rank and result.number == first.trial), None)
    num_finished = sum(result.finished for result in results)
    return Resumed(num_finished, len(results) - num_finished, used, best)


def _asks_no_more(settings: RunSettings, asked: dict[str, Any] | None) -> bool:
    """Tells whether a finished search had at least the time and the trials that are asked for now."""
    if asked is None or not settings.has_limits_of(asked):
        return False
    now, then = (math.inf if limit is None else limit for limit in (settings.max_trials, asked["max_trials"]))
    return settings.seconds <= asked["seconds"] and now <= then


def _has_no_time(earlier: FinishedModel, settings: RunSettings, used: float, to_finish: float) -> bool:
    """Tells whether a whole model is there, and no time for a trial that could add to it."""
    is_whole = earlier.refitted and earlier.verification.ok
    return is_whole and settings.seconds - used < to_finish + _LEAST_TRIAL_SECONDS


def _plan(dataset: Dataset, settings: RunSettings, ledger: Ledger) -> RowPlan:
    """Returns the plan of the first session, as trials on other rows would not compare."""
    seconds = ledger.setting("planned_seconds") or settings.seconds
    ledger.remember("planned_seconds", seconds)
    return plan_rows(dataset, seed=settings.seed, seconds=seconds)


def _profile(dataset: Dataset, settings: RunSettings) -> DataProfile:
    """Returns the profile of the table with what the user brings beside it, checked."""
    if settings.embeddings or settings.image_weights:
        import_tensorflow()  # quietly, before somebody else does
    return replace(
        dataset.profile(),
        parts=tuple(
            model_part(folder, dataset.schema, dataset.name, dataset) for folder in settings.embeddings
        ),
        image_weights=tuple(image_weights(text) for text in settings.image_weights),
        text_embeddings=tuple(text_embeddings(folder) for folder in settings.text_embeddings),
    )


def _identity(dataset: Dataset, settings: RunSettings, profile: DataProfile) -> dict[str, Any]:
    sources = "".join(file.source for file in settings.component_files)
    return {
        "data": dataset.fingerprint,
        "label": dataset.schema.label,
        "metric": settings.metric,
        "group": settings.group,
        "time column": settings.time_column,
        "ignored": sorted({*settings.ignored}) or None,
        "seed": settings.seed,
        "components": hashlib.sha256(sources.encode()).hexdigest()[:16],
        "embeddings": [part.fingerprint[:16] for part in profile.parts],
        "image_weights": [[each.architecture, each.fingerprint[:16]] for each in profile.image_weights],
        "text_embeddings": [each.fingerprint[:16] for each in profile.text_embeddings],
    }
