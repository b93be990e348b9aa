"""One session of a run: workers, search, finish. What a session leaves behind is in its ledger."""

from __future__ import annotations

import contextlib
import math
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace

from autoflow.budget import Budget
from autoflow.data.dataset import Dataset
from autoflow.data.schema import ColumnKind, DataProfile
from autoflow.durable import write_durably
from autoflow.errors import MachineError, NoModelError, RunInterrupted
from autoflow.export.verify import Verifier
from autoflow.finish import Finisher
from autoflow.finished import FinishedModel, remember
from autoflow.front import measured_front
from autoflow.machine import available_bytes, available_cores
from autoflow.report.leaderboard import leaderboard, to_csv
from autoflow.search.costs import FinishCosts, most_members
from autoflow.search.evaluate import Experiment
from autoflow.search.events import Notice, Observer, Stage, Warned
from autoflow.search.fidelity import rungs_of
from autoflow.search.interrupt import Interruption, graceful_interruption
from autoflow.search.ledger import Ledger
from autoflow.search.leftovers import Watcher, scratch_folder
from autoflow.search.members import MemberChooser
from autoflow.search.portfolio import recipes
from autoflow.search.ray_cluster import start_ray, stop_ray
from autoflow.search.ray_pool import RayPool
from autoflow.search.sampler import Sampler
from autoflow.search.study import Study
from autoflow.search.trial import TrialResult
from autoflow.serving.quiet import import_tensorflow
from autoflow.settings import RunSettings

FINISH_SECONDS = 4.0
"""Exporting one small model, verifying, reporting and ending Ray: 2.7 s; the rest is for busy cores."""
ENDING_SECONDS = 1.5
"""Of these, what comes after the export: reporting and ending Ray."""
MEMBER_SECONDS = 0.6
"""More for each further member of an ensemble: its graph is traced, saved and verified."""
_FOLDS_SHARE = 0.05
"""Of the time, for exporting the folds of a second network in place of its fit on all rows."""
_PICTURE_SECONDS, _PICTURE_MEMBER_SECONDS = 2.0, 1.5
"""Decoding makes large graphs: 10 s for five pipelines."""
MEGABYTE_SECONDS = 0.1
"""More for each million bytes of what was fitted, such as word vectors and forests."""
COLUMN_SECONDS = 0.005
"""More for each column: its input is parsed in both signatures."""
_MANY_COLUMNS = 10_000
"""Columns at which loading the inputs takes twice that: it grows with their square (37 s for 5,000)."""
_LEAST_SEARCH_SECONDS = 10.0
_EXPORT_SECONDS, _FURTHER_EXPORTS = 2.5, 3
"""Limits are measured on the exported graph, and the first one may be too slow or too large."""
_WORKER_BYTES = 1.5e9
_USABLE_SHARE = 0.85
"""Of the memory that is free when the search starts."""


@dataclass(frozen=True)
class Session:
    """One session of a run: workers, search, finish.

    Args:
        settings: what the user asks.
        experiment: the data and its folds.
        profile: its shape, and what the user brings beside it.
        ledger: of the run folder.
        observer: is told what happens.
        budget: of the whole run, less what earlier sessions used.
    """

    settings: RunSettings
    experiment: Experiment
    profile: DataProfile
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
            finisher = Finisher(
                study,
                verifier,
                self.experiment,
                self.settings.source,
                self.observer,
                interruption.requested,
                earlier,
                self.settings.limits,
            )
            study.run()
            try:
                model = self._finish(finisher, interruption, earlier)
            except NoModelError as error:
                if interruption.requested():
                    raise RunInterrupted(
                        "interrupted before there was a model; repeat the same command to go on",
                        interruption.signal_number,
                    ) from error
                raise
        return model, study.results, interruption.signal_number

    def _study(self, pool: RayPool, interruption: Interruption, verifier: Verifier) -> Study:
        num_columns, dataset = len(self.profile.columns), self.experiment.dataset
        fixed = finish_seconds(self.settings, dataset)
        pictures = dataset.has_pictures
        if (
            _for_columns(num_columns) > FINISH_SECONDS
            and self.budget.remaining() - fixed < _LEAST_SEARCH_SECONDS
        ):
            wanted = 10 * math.ceil((self.budget.elapsed() + fixed + _LEAST_SEARCH_SECONDS) / 10)
            self.observer(
                Warned(
                    f"a model of {num_columns:,} columns takes about {fixed:.0f}s to export and check, which "
                    f"leaves hardly any time to search; give --time-budget {wanted}s or more"
                )
            )
        study = Study(
            pool=pool,
            sampler=Sampler(self.profile, self.settings.seed),
            ledger=self.ledger,
            chooser=self._chooser(),
            budget=self.budget,
            costs=FinishCosts(
                fixed,
                (_PICTURE_MEMBER_SECONDS if pictures else MEMBER_SECONDS) + _for_further_members(num_columns),
                self.experiment.refit_factor,
                len(self.experiment.folds),
                ENDING_SECONDS,
                MEGABYTE_SECONDS,
                # models of early rows never saw the latest; towers of convolutions a fold are slow to serve
                folds_may_serve=len(self.experiment.folds) > 1 and dataset.moments is None and not pictures,
                most_members=most_members(self.settings.seconds if self._gains_by_many() else 0.0),
                most_folds_seconds=_FOLDS_SHARE * self.settings.seconds,
            ),
            metric=self.settings.metric,
            seed=self.settings.seed,
            max_trials=self.settings.max_trials,
            recipes=recipes(self.profile),
            rungs=rungs_of(len(self.experiment.folds[0].train)),
            observer=self.observer,
            should_stop=interruption.requested,
            nearly_over=verifier.start,
            folds_are_alike=dataset.groups is None and dataset.moments is None,
        )
        study.restore()
        return study

    def _gains_by_many(self) -> bool:
        """Tells whether more members than those of a short search are worth what they cost to serve.

        Not where each is slow or large, with towers of pictures or vectors of words, nor on tables that are
        not cross-validated: eight in place of five were better by 0.06 % there (mean of five searches of
        300 s, judged by rows that did not choose; 0.4 % on a small table) and 5 to 60 % slower, by an
        estimate from their trees.
        """
        kinds = {column.kind for column in self.experiment.dataset.schema.columns}
        return len(self.experiment.folds) > 1 and not kinds & {ColumnKind.IMAGE, ColumnKind.TEXT}

    def _chooser(self) -> MemberChooser:
        experiment = self.experiment
        return MemberChooser(
            self.ledger,
            experiment.dataset.labels[experiment.validation_rows],
            len(experiment.dataset.schema.classes),
            self.settings.metric,
            self.settings.seed,
            experiment.ties,
        )

    def _finish(
        self, finisher: Finisher, interruption: Interruption, earlier: FinishedModel | None
    ) -> FinishedModel:
        """Exports and notes the model; an earlier one stays where this session found nothing to add."""
        study = finisher.study
        if interruption.requested():
            self.observer(Notice("interrupted: finishing with the best so far (Ctrl-C again stops at once)"))
        asked = (self.ledger.setting("model") or {}).get("asked")
        nothing_new = study.num_new == 0 and earlier is not None and earlier.verification.ok
        nothing_new = nothing_new and self.settings.has_limits_of(asked)
        stays = nothing_new and earlier is not None and (interruption.requested() or earlier.refitted)
        if earlier is not None and stays:
            model = earlier
        else:
            model = finisher.finish()
            if model is not earlier:
                front = measured_front(
                    model, study, self.experiment, finisher.verifier, interruption.requested, self.observer
                )
                model = replace(model, front=front)
        if model is earlier:
            self.observer(
                Notice(
                    f"nothing changed: the best is what {model.folder} holds already, so no new version is "
                    "exported"
                )
            )
        rows = leaderboard(study.results, self.settings.metric)
        try:
            write_durably(self.ledger.folder / "leaderboard.csv", to_csv(rows))
        except OSError as error:
            self.observer(Warned(f"leaderboard.csv cannot be written: {error.strerror}"))
        finished_before = asked if nothing_new else None
        remember(self.ledger, model, finished_before if interruption.requested() else self.settings.asked)
        return model


def finish_seconds(settings: RunSettings, dataset: Dataset) -> float:
    """Returns what exporting, verifying and reporting a single small model of a table will take."""
    seconds = FINISH_SECONDS + _for_columns(len(dataset.schema.columns))
    if settings.limits.are_set:
        seconds += _FURTHER_EXPORTS * _EXPORT_SECONDS
    if dataset.has_pictures:
        seconds += _PICTURE_SECONDS
    return seconds


def _for_columns(num_columns: int) -> float:
    return COLUMN_SECONDS * num_columns * (1 + num_columns / _MANY_COLUMNS)


def _for_further_members(num_columns: int) -> float:
    """Returns the seconds more that each of them takes: 0.1 for 500 columns, 12.5 for 5,000."""
    return COLUMN_SECONDS * num_columns * num_columns / _MANY_COLUMNS


def resumed(budget: Budget, used: float, earlier: FinishedModel | None, to_finish: float) -> Budget:
    """Returns the budget less what earlier sessions used; a run without a whole model gets time for one.

    Args:
        budget: of this session.
        used: seconds that earlier sessions used.
        earlier: the model that they published; None where there is none.
        to_finish: seconds that one takes, as from `finish_seconds`.
    """
    seconds = budget.seconds
    if used and (earlier is None or not earlier.refitted):
        seconds = max(seconds, used + budget.elapsed() + to_finish + _LEAST_SEARCH_SECONDS)
    return Budget(seconds, budget.started - used)


@contextlib.contextmanager
def _workers(session: Session, interruption: Interruption) -> Iterator[RayPool]:
    settings, ledger = session.settings, session.ledger
    session.observer(Stage("starting the workers"))
    importing = threading.Thread(target=_import_keras_tuner)
    importing.start()
    here = settings.ray_address is None
    num_workers, num_threads = settings.workers or 1, 1
    if here:
        num_workers, num_threads = workers_and_threads(settings.workers, available_cores(), available_bytes())
    name = secrets.token_hex(4)
    with contextlib.ExitStack() as stack:
        stack.callback(importing.join)
        ledger.remember("session", name)
        stack.callback(_watcher(name).close)
        cluster = start_ray(num_workers * num_threads, settings.ray_address, name)
        stack.callback(stop_ray, cluster)
        interruption.listen()  # Ray installs a handler of its own
        worker_bytes = float("inf")
        if here:
            available = available_bytes()
            worker_bytes = max(_WORKER_BYTES, _USABLE_SHARE * available / num_workers)
        elif settings.workers is None:
            num_workers = cluster.cores
        pool = RayPool(num_workers, num_threads, settings.component_files, name, worker_bytes)
        stack.callback(pool.close)
        pool.begin(session.experiment, interruption.requested)
        importing.join()
        yield pool
    # only after all of it has ended: until then a killed run must find what to clear
    ledger.remember("session", "")


def _watcher(name: str) -> Watcher:
    folder = scratch_folder(name)
    try:
        folder.mkdir(mode=0o700)
        return Watcher(name)
    except OSError as error:
        raise MachineError(
            f"{folder} for temporary files cannot be used: {error.strerror or error}; make room, or name "
            "another place in the variable TMPDIR"
        ) from error


def workers_and_threads(asked: int | None, cores: int, free_bytes: int) -> tuple[int, int]:
    """Returns how many workers share this machine, and how many threads each of them may use.

    Together they are no more than the cores, unless the user asks for more workers than these.

    Args:
        asked: workers that the user wants; None for as many as cores and memory allow.
        cores: of the machine, 1 or more.
        free_bytes: of its memory.

    >>> workers_and_threads(None, 8, 6 * 10**9), workers_and_threads(3, 8, 6 * 10**9)
    ((4, 2), (3, 2))
    >>> workers_and_threads(None, 16, 14 * 10**9)  # nine with a thread each would leave seven cores idle
    (8, 2)
    >>> workers_and_threads(None, 7, 10 * 10**9)
    (6, 1)
    """
    most = max(1, min(cores, int(free_bytes // _WORKER_BYTES)))
    numbers = range(most // 2 + 1, most + 1)
    num_workers = asked or max(numbers, key=lambda number: (number * (cores // number), number))
    return num_workers, max(1, cores // num_workers)


def _import_keras_tuner() -> None:
    """Imports what drawing and exporting need while Ray starts."""
    import_tensorflow()
    import keras_tuner  # noqa: F401
