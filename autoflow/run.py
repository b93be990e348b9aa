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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from autoflow.budget import Budget, format_duration
from autoflow.components.discovery import ComponentFile, discover
from autoflow.data.dataset import Dataset, features_for, load_dataset
from autoflow.data.labels import labels_of
from autoflow.data.reading import read_table
from autoflow.data.schema import ModelPart, Schema
from autoflow.errors import MachineError, NoModelError, RunInterrupted, UsageError
from autoflow.export.verify import Verifier
from autoflow.metrics import check_metric
from autoflow.parts import model_part
from autoflow.report.leaderboard import LeaderboardRow, leaderboard, to_csv
from autoflow.search.evaluate import Experiment
from autoflow.search.events import DataReady, Notice, Observer, Resumed, Stage, Warned
from autoflow.search.interrupt import Interruption, graceful_interruption
from autoflow.search.ledger import Ledger, write_durably
from autoflow.search.members import MemberChooser
from autoflow.search.portfolio import recipes
from autoflow.search.ray_pool import RayPool, available_cores, start_ray, stop_ray, sweep
from autoflow.search.sampler import Sampler
from autoflow.search.study import FinishCosts, Study
from autoflow.search.trial import TrialResult
from autoflow.serving.quiet import import_tensorflow

if TYPE_CHECKING:
    import pandas as pd

    from autoflow.finish import FinishedModel

FINISH_SECONDS = 7.0
"""Exporting one model (1.1 to 1.7 s), verifying, reporting and ending Ray (2.5 s), measured on two cores."""
MEMBER_SECONDS = 0.7
"""More for each further member of an ensemble: its graph is traced, saved and verified."""
COLUMN_SECONDS = 0.005
"""More for each column: its input is parsed in both signatures."""
LEAST_SECONDS = 12.0
_LEAST_SEARCH_SECONDS = 10.0
_WORKER_BYTES = 1.5e9


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
        image_folder: where the paths of pictures start; None for the folder of the table.
        source: name of the table for messages and manifest.
        test: labelled table that the model will be scored on, checked before the search; None for none.
        embeddings: version folders of exported models whose embeddings are features of every trial.
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


@dataclass(frozen=True)
class RunReport:
    """What came out of a run.

    Args:
        folder: the run folder.
        model: the exported model.
        schema: columns, label and classes.
        rows: the leaderboard.
        metric: of the search.
        warnings: about the data.
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
    from autoflow.finish import remembered

    _check(settings)
    discover(settings.component_files)
    dataset, notes, warnings = load_dataset(
        data, label=settings.label, encoding=settings.encoding, image_folder=settings.image_folder
    )
    folds, how_scored = dataset.folds(settings.seed)
    observer(DataReady(dataset, notes, warnings, how_scored))
    if settings.test is not None:  # a wrong table should not wait for the end of the search
        table = read_table(settings.test, encoding=settings.encoding, image_folder=settings.image_folder)
        features_for(dataset.schema.columns, table)
        labels_of(table, dataset.schema)
    if settings.embeddings:
        import_tensorflow()  # quietly, before somebody else does
    parts = tuple(model_part(folder, dataset.schema, dataset.name) for folder in settings.embeddings)
    experiment = Experiment(dataset, folds, settings.metric, settings.seed)
    used = 0.0
    with contextlib.ExitStack() as stack:
        ledger = Ledger(settings.output, _identity(dataset, settings, parts))
        stack.callback(ledger.close)
        sweep(ledger.setting("processes") or [], ledger.setting("cache") or "")
        results = [entry.result for entry in ledger.entries()]
        earlier = remembered(ledger, results)
        signal_number = 0
        if results:
            used = max(entry.elapsed for entry in ledger.entries())
            rows = leaderboard(results, settings.metric)
            best = next(
                (result for result in results if rows[0].rank and result.number == rows[0].trial), None
            )
            num_finished = sum(result.finished for result in results)
            observer(Resumed(num_finished, len(results) - num_finished, used, best))
        if earlier is not None and _asks_no_more(settings, (ledger.setting("model") or {}).get("asked")):
            observer(Notice("this search is finished; a larger --time-budget or --max-trials continues it"))
            model = earlier
        else:
            session = _Session(settings, experiment, parts, ledger, observer, _resumed(budget, used, earlier))
            model, results, signal_number = session.run(earlier)
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


@dataclass(frozen=True)
class _Session:
    """One session of a run: workers, search, finish."""

    settings: RunSettings
    experiment: Experiment
    parts: tuple[ModelPart, ...]
    ledger: Ledger
    observer: Observer
    budget: Budget

    def run(self, earlier: FinishedModel | None) -> tuple[FinishedModel, list[TrialResult], int]:
        """Returns the model, all trials, and the signal that ended the search early or 0."""
        with contextlib.ExitStack() as stack:
            verifier = Verifier()
            stack.callback(verifier.close)
            interruption = stack.enter_context(graceful_interruption())
            pool = stack.enter_context(_workers(self, interruption))
            study = self._study(pool, interruption, verifier)
            study.run()
            try:
                model = self._finish(study, pool, verifier, interruption, earlier)
            except NoModelError as error:
                if interruption.requested():
                    raise RunInterrupted(
                        "interrupted before there was a model; repeat the same command to go on",
                        interruption.signal_number,
                    ) from error
                raise
        return model, study.results, interruption.signal_number

    def _study(self, pool: RayPool, interruption: Interruption, verifier: Verifier) -> Study:
        profile = replace(self.experiment.dataset.profile(), parts=self.parts)
        fixed = FINISH_SECONDS + COLUMN_SECONDS * len(profile.columns)
        study = Study(
            pool=pool,
            sampler=Sampler(profile, self.settings.seed),
            ledger=self.ledger,
            chooser=self._chooser(),
            budget=self.budget,
            costs=FinishCosts(
                fixed, MEMBER_SECONDS, self.experiment.refit_factor, len(self.experiment.folds)
            ),
            metric=self.settings.metric,
            seed=self.settings.seed,
            max_trials=self.settings.max_trials,
            recipes=recipes(profile),
            observer=self.observer,
            should_stop=interruption.requested,
            nearly_over=verifier.start,
        )
        study.restore()
        return study

    def _chooser(self) -> MemberChooser:
        experiment = self.experiment
        return MemberChooser(
            self.ledger,
            experiment.dataset.labels[experiment.validation_rows],
            len(experiment.dataset.schema.classes),
            self.settings.metric,
            self.settings.seed,
        )

    def _finish(
        self,
        study: Study,
        pool: RayPool,
        verifier: Verifier,
        interruption: Interruption,
        earlier: FinishedModel | None,
    ) -> FinishedModel:
        """Exports and notes the model; an earlier one stays where this session found nothing to add."""
        from autoflow.finish import Finisher, remember

        if interruption.requested():
            self.observer(Notice("interrupted: finishing with the best so far (Ctrl-C again stops at once)"))
        stays = earlier is not None and (
            interruption.requested() or (study.num_new == 0 and earlier.refitted)
        )
        if earlier is not None and stays:
            model = earlier
        else:
            finisher = Finisher(
                study,
                pool,
                verifier,
                self.experiment,
                self.settings.source,
                self.observer,
                interruption.requested,
            )
            model = finisher.finish()
        rows = leaderboard(study.results, self.settings.metric)
        try:
            write_durably(self.ledger.folder / "leaderboard.csv", to_csv(rows))
        except OSError as error:
            self.observer(Warned(f"leaderboard.csv cannot be written: {error.strerror}"))
        asked = {"seconds": self.settings.seconds, "max_trials": self.settings.max_trials}
        remember(self.ledger, model, None if interruption.requested() else asked)
        return model


def _asks_no_more(settings: RunSettings, asked: dict[str, Any] | None) -> bool:
    """Tells whether a finished search had at least the time and the trials that are asked for now."""
    if asked is None:
        return False
    now, then = (math.inf if limit is None else limit for limit in (settings.max_trials, asked["max_trials"]))
    return settings.seconds <= asked["seconds"] and now <= then


def _resumed(budget: Budget, used: float, earlier: FinishedModel | None) -> Budget:
    """Returns the budget less what earlier sessions used; a run without a whole model gets time for one."""
    seconds = budget.seconds
    if used and (earlier is None or not earlier.refitted):
        seconds = max(seconds, used + budget.elapsed() + FINISH_SECONDS + _LEAST_SEARCH_SECONDS)
    return Budget(seconds, budget.started - used)


@contextlib.contextmanager
def _workers(session: _Session, interruption: Interruption) -> Iterator[RayPool]:
    settings, ledger = session.settings, session.ledger
    session.observer(Stage("starting the workers"))
    importing = threading.Thread(target=_import_keras_tuner)
    importing.start()
    here = settings.ray_address is None
    cores = available_cores()
    num_workers = settings.workers or (_affordable_workers(cores) if here else 1)
    num_threads = max(1, cores // num_workers) if here else 1
    cache_name = f"{session.experiment.dataset.fingerprint[:12]}-{os.getpid()}"
    with contextlib.ExitStack() as stack:
        stack.callback(importing.join)
        cluster = start_ray(num_workers * num_threads, settings.ray_address)
        stack.callback(stop_ray, cluster)
        interruption.listen()  # Ray installs a handler of its own
        ledger.remember("processes", cluster.processes)
        ledger.remember("cache", cache_name)
        if not here and settings.workers is None:
            num_workers = cluster.cores
        pool = RayPool(num_workers, num_threads, settings.component_files, cache_name)
        stack.callback(pool.close)
        pool.begin(session.experiment)
        importing.join()
        yield pool
    # only after all of it has ended: until then a killed run must find what to sweep
    ledger.remember("processes", [])


def _affordable_workers(cores: int) -> int:
    return max(1, min(cores, int(psutil.virtual_memory().available // _WORKER_BYTES)))


def _import_keras_tuner() -> None:
    """Imports what drawing and exporting need while Ray starts."""
    import_tensorflow()
    import keras_tuner  # noqa: F401


def _check(settings: RunSettings) -> None:
    check_metric(settings.metric)
    if settings.seconds < LEAST_SECONDS:
        raise UsageError(
            f"a time budget of {format_duration(settings.seconds)} is too short: importing the libraries and "
            f"exporting take about {LEAST_SECONDS:.0f}s; give --time-budget 20s or more"
        )
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


def _identity(dataset: Dataset, settings: RunSettings, parts: tuple[ModelPart, ...]) -> dict[str, Any]:
    sources = "".join(file.source for file in settings.component_files)
    return {
        "data": dataset.fingerprint,
        "label": dataset.schema.label,
        "metric": settings.metric,
        "seed": settings.seed,
        "components": hashlib.sha256(sources.encode()).hexdigest()[:16],
        "embeddings": [part.fingerprint[:16] for part in parts],
    }
