"""The run folder: the truth on disk about one search, with one writer, the driver.

    <run>/run.lock            held by the living writer; its text says who
    <run>/ledger.sqlite       settings and trials; a trial in it is finished for good
    <run>/trials/00007.npy    held-out probabilities    } written, synced and renamed
    <run>/trials/00007.fit    fitted pipelines          } before the trial enters the ledger
    <run>/model/<version>/    exported models

`.fit` files are pickles of the run's own trials, read only by `fit` when it goes on with a run; predicting
and serving never touch them.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autoflow.durable import write_durably
from autoflow.errors import MachineError, UsageError
from autoflow.pipeline.spec import PipelineSpec
from autoflow.search.run_lock import take_lock
from autoflow.search.sampler import Proposal
from autoflow.search.sealed import DamagedError, SealedRows
from autoflow.search.trial import Outcome, TrialResult

FORMAT = 8

_TABLES = {
    "settings": "key TEXT PRIMARY KEY, value TEXT NOT NULL",
    "trials": """
        number INTEGER PRIMARY KEY, outcome TEXT NOT NULL, spec TEXT NOT NULL, "values" TEXT NOT NULL,
        distributions TEXT NOT NULL, origin TEXT NOT NULL, score REAL, log_loss REAL, seconds REAL NOT NULL,
        iterations INTEGER, message TEXT NOT NULL, elapsed REAL NOT NULL, sha256 TEXT NOT NULL,
        share REAL NOT NULL
    """,
}
_SHA256 = 12
"""Position of the hashes of a trial's files in its row."""

_DIFFERENCES = {
    "format": "it was written by another version of AutoFlow",
    "data": "its data was another table, or this one has changed since",
    "ignored": "other columns were left out of it (--ignore)",
    "components": "its component files (--components) were others, or have changed since",
    "embeddings": "its models of --embedding were others",
    "image_weights": "its pretrained networks (--image-weights) were others",
    "text_embeddings": "its pretrained texts (--text-embeddings) were others",
}
"""In words what two runs differ in, where the values themselves tell a person nothing."""


class DamagedTrialError(MachineError):
    """A recorded trial's file is gone or not what was written; the other trials are sound."""


@dataclass(frozen=True)
class LedgerEntry:
    """A trial as the ledger holds it.

    Args:
        proposal: what was tried.
        result: how it ended; without arrays, which `Ledger.probabilities` and `Ledger.artifact` read.
        elapsed: budget used when it ended, in seconds, earlier sessions included.
    """

    proposal: Proposal
    result: TrialResult
    elapsed: float


class Ledger:
    """Opens or creates a run folder and holds its lock until `close`.

    Args:
        folder: the run folder.
        settings: what makes it this run (data fingerprint, label, metric, seed ...), JSON values.

    Raises:
        RunFolderInUseError: a living process holds the folder.
        UsageError: the folder belongs to another run, or is no run folder.
        MachineError: it cannot be written.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder = folder
        try:
            if folder.exists() and not folder.is_dir():
                raise UsageError(f"{folder} is a file; name a folder with --output")
            known = folder.exists() and (folder / "ledger.sqlite").exists()
            if folder.exists() and not known and any(folder.iterdir()) and not (folder / "run.lock").exists():
                raise UsageError(
                    f"{folder} holds other files and is no run folder; name a new one with --output"
                )
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
            # the first file of all: what a killed start leaves behind without it would be a stranger's folder
            lock = take_lock(folder / "run.lock")
        except OSError as error:
            raise MachineError(f"run folder {folder} cannot be written: {error.strerror or error}") from error
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, lock)
            self._rows = self._opened(stack)
            self._claim(settings)
            self._held = stack.pop_all()

    def close(self) -> None:
        """Closes the database and gives the lock back."""
        self._held.close()

    def record(self, entry: LedgerEntry) -> None:
        """Makes a trial finished for good: its files first, then one transaction.

        Raises:
            MachineError: the disk is full or the folder gone; what was recorded before is intact.
        """
        proposal, result = entry.proposal, entry.result
        try:
            digests = {}
            if result.probabilities is not None:
                buffer = io.BytesIO()
                np.save(buffer, result.probabilities)
                digests["npy"] = self._write(result.number, "npy", buffer.getvalue())
            if result.artifact is not None:
                digests["fit"] = self._write(result.number, "fit", result.artifact)
            self._rows.put(
                "trials",
                (
                    result.number,
                    result.outcome.name,
                    json.dumps(result.spec.to_json(), ensure_ascii=False),
                    json.dumps(dict(proposal.values), ensure_ascii=False),
                    json.dumps(dict(proposal.distributions), ensure_ascii=False),
                    proposal.origin,
                    result.score if result.finished else None,
                    result.log_loss if result.finished else None,
                    result.seconds,
                    result.iterations,
                    result.message.encode(errors="backslashreplace").decode(),  # lone surrogates
                    entry.elapsed,
                    json.dumps(digests),
                    result.share,
                ),
            )
        except (OSError, sqlite3.DatabaseError) as error:
            raise MachineError(
                f"trial {result.number} cannot be written to {self.folder}: {error}; "
                "make room or access, then repeat the command to go on"
            ) from error

    def entries(self) -> list[LedgerEntry]:
        """Returns all recorded trials in the order of their numbers.

        Raises:
            UsageError: a recorded component is not registered any more.
        """
        with self._reading():
            rows = self._rows.rows("trials")
        entries = []
        for (
            number,
            outcome,
            spec,
            values,
            distributions,
            origin,
            score,
            log_loss,
            seconds,
            rounds,
            text,
            at,
            _,
            share,
        ) in rows:
            pipeline = PipelineSpec.from_json(json.loads(spec))
            result = TrialResult(
                number,
                pipeline,
                Outcome[outcome],
                float("nan") if score is None else score,
                float("nan") if log_loss is None else log_loss,
                seconds,
                rounds,
                text,
                share=share,
            )
            proposal = Proposal(pipeline, json.loads(values), json.loads(distributions), origin, share)
            entries.append(LedgerEntry(proposal, result, at))
        return entries

    def artifact(self, number: int) -> bytes:
        """Returns the pickled fitted pipelines of a finished trial, or raises DamagedTrialError."""
        return self._read(number, "fit")

    def artifact_bytes(self, number: int) -> int:
        """Returns the size of what `artifact` returns; 0 where the trial left none."""
        path = self._path(number, "fit")
        return path.stat().st_size if path.exists() else 0

    def probabilities(self, number: int) -> np.ndarray:
        """Returns the held-out probabilities of a finished trial, or raises DamagedTrialError."""
        return np.load(io.BytesIO(self._read(number, "npy")))

    def setting(self, key: str) -> Any:
        """Returns a value stored with `remember`, or None."""
        with self._reading():
            row = self._rows.row("settings", key)
        return None if row is None else json.loads(row[1])

    def remember(self, key: str, value: Any) -> None:
        """Stores a JSON value beside the settings; raises MachineError where the disk refuses."""
        try:
            self._rows.put("settings", (key, json.dumps(value)))
        except sqlite3.DatabaseError as error:
            raise MachineError(
                f"run folder {self.folder} cannot be written: {error}; make room or access, then repeat the "
                "command"
            ) from error

    def _opened(self, stack: contextlib.ExitStack) -> SealedRows:
        try:
            (self.folder / "trials").mkdir(mode=0o700, exist_ok=True)
            with self._reading():
                rows = SealedRows(self.folder / "ledger.sqlite", _TABLES)
                stack.callback(rows.close)
                if rows.is_empty and any((self.folder / "trials").glob("[0-9]*")):
                    raise DamagedError("it is empty, but there are trials")
        except OSError as error:
            raise MachineError(
                f"run folder {self.folder} cannot be written: {error.strerror or error}"
            ) from error
        return rows

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """Says in one line what SQLite finds."""
        path = self.folder / "ledger.sqlite"
        try:
            yield
        except sqlite3.OperationalError as error:  # the disk, and not what is written there
            raise MachineError(
                f"{path} cannot be used: {error}; make room or access, then repeat the command, or name "
                "another folder with --output"
            ) from error
        except (sqlite3.DatabaseError, DamagedError) as error:
            what = " ".join(str(error).split())  # SQLite quotes lines of its schema
            raise MachineError(
                f"{path} is damaged: {what}; bring it back from a copy, or name another folder with --output"
            ) from error

    def _claim(self, settings: Mapping[str, Any]) -> None:
        wanted = {"format": FORMAT} | dict(settings)
        with self._reading():
            if self._rows.is_sealed or not self._is_older():
                self._rows.check()
        stored = self.setting("run")
        if stored is None:
            self.remember("run", wanted)
            return
        differing = [key for key, value in wanted.items() if stored.get(key) != value]
        if "data" in differing and {"label", "ignored"} & {*differing}:
            differing.remove("data")  # what names the content of a table knows its label and columns
        if differing:
            words = "; ".join(
                _DIFFERENCES.get(key)
                or f"its {key} was {_shown(stored.get(key))}, this one has {_shown(wanted[key])}"
                for key in differing
            )
            raise UsageError(
                f"{self.folder} belongs to another run: {words}. Name another folder with --output."
            )

    def _is_older(self) -> bool:
        """Tells whether an AutoFlow wrote the ledger that sealed nothing yet."""
        row = self._rows.row("settings", "run")
        try:
            return row is not None and json.loads(row[1])["format"] < FORMAT
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedError("its settings are not what was written") from error

    def _write(self, number: int, suffix: str, content: bytes) -> str:
        path = self._path(number, suffix)
        write_durably(path, content)
        return hashlib.sha256(content).hexdigest()

    def _read(self, number: int, suffix: str) -> bytes:
        path = self._path(number, suffix)
        with self._reading():
            row = self._rows.row("trials", number)
        assert row is not None
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DamagedTrialError(f"{path} cannot be read: {error.strerror}") from error
        if hashlib.sha256(content).hexdigest() != json.loads(row[_SHA256]).get(suffix):
            raise DamagedTrialError(f"{path} is damaged: its content is not what the ledger recorded")
        return content

    def _path(self, number: int, suffix: str) -> Path:
        return self.folder / "trials" / f"{number:05d}.{suffix}"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
