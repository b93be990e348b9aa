"""What the benchmark scripts share: the data folder's manifest, and one timed `autoflow fit` process."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil


@dataclass(frozen=True)
class Table:
    """One data set of the folder: name, label, files and manifest entry."""

    name: str
    label: str
    train: Path
    test: Path
    entry: dict[str, Any]

    @property
    def kinds(self) -> set[str]:
        return set(self.entry["columns"])


@dataclass(frozen=True)
class FitRun:
    """One run of the command: exit code, wall seconds, version folder or None, what it printed, memory."""

    code: int
    seconds: float
    model: Path | None
    output: str
    peak_gib: float


class Memory(threading.Thread):
    """Watches a process and all that it starts; `peak_gib` is the most that they held together.

    Read once a second; it is the proportional set size, in which pages shared between processes count once.
    """

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid = pid
        self.peak_gib = 0.0

    def run(self) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            root = psutil.Process(self._pid)
            while root.is_running() and root.status() != psutil.STATUS_ZOMBIE:
                total = 0
                for process in [root, *root.children(recursive=True)]:
                    with contextlib.suppress(psutil.Error):
                        total += process.memory_full_info().pss
                self.peak_gib = max(self.peak_gib, total / 2**30)
                time.sleep(1)


def tables(folder: Path, names: list[str] | None = None) -> list[Table]:
    """Returns the classification sets of a data folder, all of them or those with the given names."""
    found = []
    for entry in json.loads((folder / "datasets.json").read_text(encoding="utf-8")):
        if entry["task"] == "regression" or (names and entry["name"] not in names):
            continue
        files = entry["files"]
        found.append(
            Table(entry["name"], entry["label"], folder / files["train"], folder / files["test"], entry)
        )
    return found


def fit(table: Table, seconds: float, output: Path, *options: str) -> FitRun:
    """Runs `autoflow fit` on the training file and times the process from start to end."""
    command = [sys.executable, "-m", "autoflow.cli", "fit", str(table.train), "--label", table.label]
    command += ["--time-budget", f"{seconds}s", "--output", str(output), *options]
    started = time.perf_counter()
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=subprocess.STDOUT, text=True) as process:
        memory = Memory(process.pid)
        memory.start()
        printed, _ = process.communicate()
    elapsed = time.perf_counter() - started
    versions = sorted((output / "model").glob("[0-9]*")) if (output / "model").is_dir() else []
    model = versions[-1] if versions else None
    return FitRun(process.returncode, elapsed, model, printed, memory.peak_gib)


def evaluate(model: Path, table: Table, *options: str) -> dict[str, Any]:
    """Scores an exported model on the test file through `autoflow evaluate`, in its own process."""
    command = [sys.executable, "-m", "autoflow.cli", "evaluate", str(model), str(table.test), "--json"]
    command += options
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def noted_model(folder: Path) -> dict[str, Any]:
    """Returns what a run folder notes about its model: members, size, time of a row, number of trials."""
    with sqlite3.connect(folder / "ledger.sqlite") as database:
        row = database.execute("SELECT value FROM settings WHERE key = 'model'").fetchone()
    return json.loads(row[0])


def busyness(folder: Path, seconds: float) -> dict[str, float]:
    """Returns how busy a search kept the machine.

    `share` of the core-seconds of its budget within trials, `share_with_refits` within these and fits on all
    rows, `first_s` until the first model, `last_s` until the last trial, and `trials_a_minute`.

    Args:
        folder: run folder.
        seconds: the budget.
    """
    with contextlib.closing(sqlite3.connect(folder / "ledger.sqlite")) as database:
        trials = database.execute("SELECT outcome, seconds, elapsed FROM trials ORDER BY elapsed").fetchall()
    last = trials[-1][2]
    whole = (os.cpu_count() or 1) * seconds
    fitting = sum(took for _, took, _ in trials)
    return {
        "share": fitting / whole,
        "share_with_refits": (fitting + noted_model(folder)["refit_seconds"]) / whole,
        "first_s": next(at for outcome, _, at in trials if outcome == "FINISHED"),
        "last_s": last,
        "trials_a_minute": len(trials) / last * 60,
    }


def machine() -> str:
    """Returns one line that names the machine."""
    model = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores of {model}, {gigabytes:.0f} GiB, Python {platform.python_version()}"


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """Returns a table in Markdown."""
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])
