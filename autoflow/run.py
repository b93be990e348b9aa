"""One run in its folder: read, search, finish. The order of steps; each step's logic lives elsewhere.

What the end of a run does is in `autoflow.finish`.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoflow.budget import Budget
from autoflow.components.discovery import ComponentFile, discover
from autoflow.data.dataset import Dataset, load_dataset
from autoflow.data.schema import Schema
from autoflow.data.split import describe_folds, make_folds
from autoflow.errors import MachineError, UsageError
from autoflow.export.verify import Verifier
from autoflow.metrics import check_metric
from autoflow.report.leaderboard import LeaderboardRow, leaderboard, to_csv
from autoflow.search.evaluate import Experiment
from autoflow.search.events import DataReady, Observer, Resumed, Stage
from autoflow.search.interrupt import Interruption, graceful_interruption
from autoflow.search.ledger import Ledger, write_durably
from autoflow.search.portfolio import recipes
from autoflow.search.ray_pool import RayPool, start_ray, stop_ray, sweep
from autoflow.search.sampler import Sampler
from autoflow.search.study import FinishCosts, Study
from autoflow.search.trial import TrialResult
from autoflow.serving.quiet import import_tensorflow

if TYPE_CHECKING:
    import pandas as pd

    from autoflow.finish import FinishedModel

FINISH_SECONDS = 9.0
"""Exporting, verifying and reporting took 4 to 7 s on two cores; see benchmarks/budget.py."""

_VERIFIER_LEAD_SECONDS = 12.0
_LEAST_SEARCH_SECONDS = 10.0


@dataclass(frozen=True)
class RunSettings:
    """What a user asks of a run.

    Args:
        output: the run folder.
        label: header of the label column; None to find it.
        seconds: time budget for everything, from process start to verified model.
        max_trials: trials in all; None for as many as fit.
        metric: ranks the trials.
        seed: makes a run repeatable.
        workers: trials side by side; None for the number of cores.
        ray_address: cluster to join; None for this machine.
        component_files: the user's own components.
        encoding: of text files; None to find it.
        source: name of the table for messages and manifest.
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
    source: str = "data"


@dataclass(frozen=True)
class RunReport:
    """What came out of a run.

    Args:
        folder: the run folder.
        model: the exported model.
        schema: columns, label and classes.
        rows: the leaderboard.
        metric: of the search.
        warnings: about the data and the run.
        seconds: from process start to here.
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


def execute(data: str | Path | pd.DataFrame, settings: RunSettings, observer: Observer) -> RunReport:
    """Runs a search, or goes on with the one in the run folder, and exports its best model.

    Raises:
        DataError: the table cannot be used.
        NoModelError: no trial gave a usable model.
        MachineError: disk, memory or cluster.
        RunFolderInUseError: another process writes into the run folder.
        UsageError: settings, components or run folder do not fit.
    """
    from autoflow.finish import Finisher, remember, remembered

    budget = Budget.since_process_start(settings.seconds)
    check_metric(settings.metric)
    discover(settings.component_files)
    _check_cores(settings)
    dataset, notes, warnings = load_dataset(data, label=settings.label, encoding=settings.encoding)
    keys = dataset.feature_keys()
    folds = make_folds(dataset.labels, feature_keys=keys, seed=settings.seed)
    observer(DataReady(dataset, notes, warnings, describe_folds(folds, feature_keys=keys)))
    with contextlib.ExitStack() as stack:
        ledger = Ledger(settings.output, _identity(dataset, settings))
        stack.callback(ledger.close)
        budget = _resume(ledger, budget, observer)
        earlier = [entry.result for entry in ledger.entries()]
        done = remembered(ledger, earlier)
        if done is not None and _asks_no_more(settings, ledger.setting("finished")):
            observer(Stage("this search is finished; a larger --time-budget or --max-trials continues it"))
            return _report(settings, dataset, done, earlier, warnings, budget, 0)
        verifier = stack.enter_context(_early_verifier(budget))
        experiment = Experiment(dataset, folds, settings.metric, settings.seed)
        pool = stack.enter_context(_workers(ledger, settings, experiment, observer))
        interruption = stack.enter_context(graceful_interruption())
        study = _study(pool, ledger, budget, settings, experiment, observer, interruption)
        study.run()
        if interruption.requested():
            observer(Stage("interrupted: exporting the best model so far"))
        refit = not interruption.requested()
        model = Finisher(study, pool, verifier, experiment, settings.source, observer, refit).finish()
        remember(ledger, model, len(ledger.entries()))
        if not interruption.requested():
            ledger.remember("finished", {"seconds": settings.seconds, "max_trials": settings.max_trials})
        write_durably(ledger.folder / "leaderboard.csv", to_csv(leaderboard(study.results, settings.metric)))
    return _report(settings, dataset, model, study.results, warnings, budget, interruption.signal_number)


def _asks_no_more(settings: RunSettings, finished: dict[str, Any] | None) -> bool:
    """Tells whether a finished search had at least the time and the trials that are asked for now."""
    if finished is None:
        return False
    trials = [math.inf if limit is None else limit for limit in (settings.max_trials, finished["max_trials"])]
    return settings.seconds <= finished["seconds"] and trials[0] <= trials[1]


def _report(
    settings: RunSettings,
    dataset: Dataset,
    model: FinishedModel,
    results: list[TrialResult],
    warnings: tuple[str, ...],
    budget: Budget,
    signal_number: int,
) -> RunReport:
    return RunReport(
        folder=settings.output,
        model=model,
        schema=dataset.schema,
        rows=leaderboard(results, settings.metric),
        metric=settings.metric,
        warnings=warnings,
        seconds=budget.elapsed(),
        signal_number=signal_number,
    )


def _study(
    pool: RayPool,
    ledger: Ledger,
    budget: Budget,
    settings: RunSettings,
    experiment: Experiment,
    observer: Observer,
    interruption: Interruption,
) -> Study:
    profile = experiment.dataset.profile()
    sampler = Sampler(profile, settings.seed)
    study = Study(
        pool=pool,
        sampler=sampler,
        ledger=ledger,
        budget=budget,
        costs=FinishCosts(FINISH_SECONDS, experiment.refit_factor),
        metric=settings.metric,
        seed=settings.seed,
        max_trials=settings.max_trials,
        recipes=recipes(profile),
        observer=observer,
        should_stop=interruption.requested,
    )
    study.restore()
    return study


@contextlib.contextmanager
def _early_verifier(budget: Budget) -> Iterator[Verifier]:
    """Yields a verifier that starts by itself shortly before it is needed: its imports take seconds."""
    with contextlib.ExitStack() as stack:
        verifier = Verifier()
        stack.callback(verifier.close)
        lead = budget.remaining() - FINISH_SECONDS - _VERIFIER_LEAD_SECONDS
        if lead < threading.TIMEOUT_MAX:
            timer = threading.Timer(max(0.1, lead), verifier.start)
            timer.daemon = True
            timer.start()
            stack.callback(timer.cancel)
        yield verifier


@contextlib.contextmanager
def _workers(
    ledger: Ledger, settings: RunSettings, experiment: Experiment, observer: Observer
) -> Iterator[RayPool]:
    observer(Stage("starting the workers"))
    importing = threading.Thread(target=_import_keras_tuner)
    importing.start()
    cores = os.cpu_count() or 1
    here = settings.ray_address is None
    num_workers = settings.workers or (cores if here else 1)
    num_threads = max(1, cores // num_workers) if here else 1
    try:
        cluster = start_ray(num_workers * num_threads, settings.ray_address)
    except MachineError:
        importing.join()
        raise
    try:
        ledger.remember("processes", cluster.processes)
        if not here and settings.workers is None:
            num_workers = cluster.cores
        cache_name = f"{experiment.dataset.fingerprint[:12]}-{os.getpid()}"
        pool = RayPool(num_workers, num_threads, settings.component_files, cache_name)
        try:
            pool.begin(experiment)
            importing.join()
            yield pool
        finally:
            pool.close()
    finally:
        importing.join()
        stop_ray(cluster)
        ledger.remember("processes", [])


def _import_keras_tuner() -> None:
    """Imports what drawing and exporting need while Ray starts."""
    import_tensorflow()
    import keras_tuner  # noqa: F401


def _check_cores(settings: RunSettings) -> None:
    cores = os.cpu_count() or 1
    if settings.workers is not None and settings.workers < 1:
        raise UsageError(f"--workers must be 1 or more, got {settings.workers}")
    if settings.ray_address is None and (settings.workers or 1) > cores:
        raise MachineError(
            f"--workers {settings.workers} asks for more cores than this machine has; "
            f"ask for {cores} or fewer"
        )


def default_output(source: str) -> Path:
    """Returns the run folder of a table: `<name>-autoflow` in the working folder."""
    name = Path(source).name
    for suffix in (".gz", ".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".txt"):
        name = name.removesuffix(suffix)
    return Path(f"{name or 'data'}-autoflow")


def _identity(dataset: Dataset, settings: RunSettings) -> dict[str, Any]:
    sources = "".join(file.source for file in settings.component_files)
    return {
        "data": dataset.fingerprint,
        "label": dataset.schema.label,
        "metric": settings.metric,
        "seed": settings.seed,
        "components": hashlib.sha256(sources.encode()).hexdigest()[:16],
    }


def _resume(ledger: Ledger, budget: Budget, observer: Observer) -> Budget:
    """Returns the budget less what earlier sessions used; a run without a model always gets time for one."""
    sweep(ledger.setting("processes") or [])
    entries = ledger.entries()
    if not entries:
        return budget
    used = max(entry.elapsed for entry in entries)
    observer(Resumed(len(entries), used))
    seconds = budget.seconds
    if ledger.setting("model") is None:
        seconds = max(seconds, used + budget.elapsed() + FINISH_SECONDS + _LEAST_SEARCH_SECONDS)
    return Budget(seconds, budget.started - used)
