"""What the fault scripts share: a run folder with the commands on it, and the count of what came out."""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from autoflow.manifest import damage, read_manifest, versions_in
from autoflow.search.leftovers import marked, scratch_folder

ROOT = Path(__file__).parents[1]
LEFT_SECONDS = 10.0
LONGEST_SECONDS = 900.0
NUM_TRIALS = 8
EIGHT_TRIALS = ("--max-trials", str(NUM_TRIALS), "--time-budget", "30m")


@dataclass
class Run:
    """A run folder and the commands on it.

    Args:
        data: the table.
        folder: run folder.
        options: of the command, as often as it is repeated.
        fault: what the component from outside does.
    """

    data: Path
    folder: Path
    options: list[str]
    fault: str = ""
    output: str = ""
    sessions: set[str] = field(default_factory=set)
    process: subprocess.Popen[str] | None = None
    environment: dict[str, str] = field(default_factory=dict)

    def start(self) -> subprocess.Popen[str]:
        """Starts the command in a session of its own, as a terminal does."""
        command = [sys.executable, "-m", "autoflow.cli", "fit", str(self.data), "--output", str(self.folder)]
        with open(self.folder.with_suffix(".log"), "a") as log:
            self.process = subprocess.Popen(
                command + self.options,
                stdout=log,
                stderr=log,
                text=True,
                start_new_session=True,
                env=os.environ
                | {"AUTOFLOW_FAULT": self.fault, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
                | self.environment,
                preexec_fn=_listen,
            )
        return self.process

    def end(self) -> None:
        """Ends the command where it still runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def wait(self, seconds: float) -> int:
        """Returns the exit code; -9 where it had to be killed because it hung."""
        assert self.process is not None
        end = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < end:
            self.note_session()
            time.sleep(0.1)
        if self.process.poll() is None:
            self.process.kill()
        return self.process.wait()

    def note_session(self) -> str:
        """Returns and remembers the session that the ledger names; empty where there is none."""
        rows = self.query("SELECT value FROM settings WHERE key = 'session'")
        session = json.loads(rows[0][0]) if rows else ""
        if session:
            self.sessions.add(session)
        return session

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Returns rows of the ledger as it is now."""
        path = self.folder / "ledger.sqlite"
        if not path.exists():
            return []
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            try:
                return database.execute(sql).fetchall()
            except sqlite3.OperationalError:  # not there yet
                return []

    def trials(self) -> dict[int, str]:
        """Returns the recorded trials with all that is recorded."""
        return {row[0]: repr(row) for row in self.query("SELECT * FROM trials")}

    def best_loss(self) -> float:
        """Returns the log-loss of the best recorded trial; inf where there is none."""
        (loss,) = next(
            iter(self.query("SELECT min(log_loss) FROM trials WHERE outcome = 'FINISHED'")), (None,)
        )
        return math.inf if loss is None else loss

    def model_loss(self) -> float:
        """Returns the log-loss on held-out rows of the latest exported model; inf where there is none."""
        folder = self.folder / "model"
        losses = [
            read_manifest(folder / str(version)).details.metrics["validation"]["log_loss"]
            for version in sorted(versions_in(folder))
        ]
        return losses[-1] if losses else math.inf

    def log(self) -> str:
        """Returns what all commands printed."""
        path = self.folder.with_suffix(".log")
        return path.read_text(errors="replace") if path.exists() else ""

    def told(self) -> set[int]:
        """Returns the trials that were shown as done."""
        return {int(number) for number in re.findall(r"\] trial (\d+)", self.log())}

    def left(self) -> list[str]:
        """Returns what is left of the run ten seconds after it ended, in words; as soon as nothing is."""
        end = time.monotonic() + LEFT_SECONDS
        while (left := self._left_now()) and time.monotonic() < end:
            time.sleep(0.2)
        return left

    def _left_now(self) -> list[str]:
        left = []
        for session in self.sessions:
            left += [f"process {pid} {name_of(pid)}" for pid in marked(session)]
            left += [str(scratch_folder(session))] if scratch_folder(session).exists() else []
        assert self.process is not None
        for process in psutil.process_iter():
            with contextlib.suppress(OSError, psutil.Error):
                if os.getsid(process.pid) == self.process.pid and process.status() != psutil.STATUS_ZOMBIE:
                    left.append(f"process {process.pid} {process.name()}")
        lock = self.folder / "run.lock"
        if lock.exists():
            with lock.open() as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    left.append("the lock")
        return left

    def models(self) -> list[str]:
        """Returns what is wrong with the exported versions."""
        folder = self.folder / "model"
        versions = [folder / str(version) for version in versions_in(folder)]
        return [wrong for path in versions if (wrong := damage(path, read_manifest(path)))]


def _listen() -> None:
    """Takes back what a shell or `nohup` told this script to ignore, and so what it starts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@dataclass
class Count:
    """What came out of the repetitions of one fault."""

    fault: str
    runs: int = 0
    good: int = 0
    lost: int = 0
    repeated: int = 0
    left: int = 0
    notes: list[str] = field(default_factory=list)
    figures: list[float] = field(default_factory=list)
    measured: str = ""

    def add(self, run: Run, wrong: list[str], *, lost: int = 0, repeated: int = 0) -> None:
        """Counts a run with what is wrong with it besides leftovers, which are looked for here."""
        left = run.left()
        self.runs += 1
        self.lost += lost
        self.repeated += repeated
        self.left += bool(left)
        wrong = [*wrong, *run.models(), *(f"left: {each}" for each in left)]
        wrong += [f"it says {word}" for word in ("Traceback", "(raylet)") if word in run.log()]
        self.good += not (wrong or lost or repeated)
        self.notes += wrong
        for each in left:  # so that the next run is not blamed for it
            if each.startswith("process "):
                with contextlib.suppress(OSError):
                    os.kill(int(each.split()[1]), signal.SIGKILL)


@contextlib.contextmanager
def new_run(data: Path, *options: str, fault: str = "") -> Iterator[Run]:
    """Gives a new run folder; whatever happens its command is ended."""
    with tempfile.TemporaryDirectory(prefix="faults-") as scratch:
        run = Run(data, Path(scratch, "run"), [*options], fault)
        try:
            yield run
        finally:
            run.end()


def ended(run: Run, code: int) -> list[str]:
    """Returns what is wrong with a run that should have ended well."""
    wrong = [f"exit code {code}: {run.log().strip().splitlines()[-1:]}"] * (code != 0)
    wrong += ["no model"] * (not versions_in(run.folder / "model"))
    recorded = run.trials()
    return wrong + ["no trial has a score"] * (not any("FINISHED" in row for row in recorded.values()))


def run_for(run: Run, seconds: float, *, kill: bool = True) -> bool:
    """Lets a command run for a while and then kills it; False where it ended before."""
    assert run.process is not None
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if run.process.poll() is not None:
            return False
        run.note_session()
        time.sleep(0.02)
    if kill:
        run.process.kill()
        run.process.wait()
        run.note_session()
    return True


def wait_for(run: Run, condition: Callable[[], object], seconds: float) -> None:
    """Waits until something is so, or the command ended, or the time is over."""
    assert run.process is not None
    end = time.monotonic() + seconds
    while not condition() and run.process.poll() is None and time.monotonic() < end:
        run.note_session()
        time.sleep(0.05)


def name_of(pid: int) -> str:
    """Returns the beginning of a command line; empty where the process is gone."""
    try:
        return " ".join(psutil.Process(pid).cmdline())[:60]
    except psutil.Error:
        return ""
