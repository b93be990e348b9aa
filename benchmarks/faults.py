"""Repeats faults and counts what was lost: kills, signals, bad trials, two commands at once, a stop.

    python benchmarks/faults.py [--kills 100] [--workers 100] [--signals 20] [--pairs 50] [--stops 1]
        [--trials raise exit segfault hang print fork allocate nan infinity] [--budget 40] [--data TABLE]
        [--results FILE.jsonl] [--seed 0]

Each run is the real command in a folder of its own. "Good" counts the runs after which nothing told was lost
or repeated, the exit code and the message were right, and ten seconds later no process, and so no port, no
lock and no temporary file of the run was left. Kills and signals come at random moments. A slow machine needs
a larger --budget: it has to start Ray twice in that time.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import math
import os
import random
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
from rich.console import Console
from rich.table import Table
from runs import machine

from autoflow.manifest import damage, read_manifest, versions_in
from autoflow.search.leftovers import marked, scratch_folder

ROOT = Path(__file__).parents[1]
COMPONENT = Path(__file__).with_name("faulty_component.py")
LEFT_SECONDS = 10.0
SIGNAL_SECONDS = 30.0
HARMLESS = ("print", "fork")
SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


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
                env=os.environ | {"AUTOFLOW_FAULT": self.fault, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            )
        return self.process

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
            left += [f"process {pid} {_name(pid)}" for pid in marked(session)]
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
        wrong += ["a traceback"] * ("Traceback" in run.log())
        self.good += not (wrong or lost or repeated)
        self.notes += wrong
        for each in left:  # so that the next run is not blamed for it
            if each.startswith("process "):
                with contextlib.suppress(OSError):
                    os.kill(int(each.split()[1]), signal.SIGKILL)


class Faults:
    """The faults, each a method that takes how often and yields a count.

    Args:
        data: the table.
        budget: seconds of a whole search.
        seed: of the random moments.
    """

    def __init__(self, data: Path, budget: float, seed: int) -> None:
        self.data, self.budget = data, budget
        self.random = random.Random(seed)

    @contextlib.contextmanager
    def run(self, *options: str, fault: str = "") -> Iterator[Run]:
        """Gives a new run folder; whatever happens its command is ended."""
        with tempfile.TemporaryDirectory(prefix="faults-") as scratch:
            run = Run(self.data, Path(scratch, "run"), [*options], fault)
            try:
                yield run
            finally:
                if run.process is not None and run.process.poll() is None:
                    run.process.kill()
                    run.process.wait()

    def kills(self, times: int) -> Count:
        """Kills the driver again and again over runs that are resumed until each has its model."""
        count = Count("kill -9 of the driver, resumed", measured="kills")
        while sum(count.figures) < times:
            with self.run("--time-budget", f"{10 * self.budget}s", "--max-trials", "8") as run:
                kills, lost, left, best = 0, 0, [], math.inf
                while True:
                    before, told = run.trials(), run.told()
                    run.start()
                    # the last command of a run is left alone, as is one that ended before its moment
                    moment = self.random.uniform(1, self.budget)
                    if sum(count.figures) + kills < times and run_for(run, moment):
                        kills += 1
                        left += run.left()
                        after = run.trials()
                        lost += len(run.told() - after.keys())
                        lost += sum(after.get(number) != row for number, row in before.items())
                        best = min(best, run.best_loss(), run.model_loss())
                        continue
                    code = run.wait(20 * self.budget)
                    break
                repeated = len(re.findall(r"\] trial ", run.log())) - len(run.told())
                wrong = _ended(run, code) + [f"left: {each}" for each in left]
                wrong += [f"a worse model: {run.model_loss()}, {best} before"] * (run.model_loss() > best)
                wrong += ["a told trial is gone"] * bool(told - run.trials().keys())
                count.figures.append(kills)
                count.add(run, wrong, lost=lost, repeated=repeated)
        return count

    def workers(self, times: int) -> Count:
        """Kills workers of running searches, four a search, from the moment that the first one is there."""
        count = Count("kill -9 of a worker", measured="kills")
        while sum(count.figures) < times:
            with self.run(*_EIGHT_TRIALS) as run:
                process, kills = run.start(), 0
                while kills < 4 and process.poll() is None:
                    session = run.note_session()
                    workers = [pid for pid in marked(session) if "RayWorker" in _name(pid)] if session else []
                    if workers:
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(self.random.choice(workers), signal.SIGKILL)
                            kills += 1
                    time.sleep(self.random.uniform(1, 4) if workers else 0.2)
                code = run.wait(_LONGEST_SECONDS)
                wrong = [f"{len(run.trials())} trials"] * (len(run.trials()) != _NUM_TRIALS)
                count.figures.append(kills)
                count.add(run, _ended(run, code) + wrong)
        return count

    def trial(self, fault: str) -> Count:
        """Runs a search with a component that misbehaves, one worker beside the other."""
        count = Count(f"a trial: {fault}", measured="bad trials")
        # a trial that hangs is ended by the clock, the others are few enough to end by themselves
        length = ("--time-budget", f"{3 * self.budget}s") if fault == "hang" else _EIGHT_TRIALS
        with self.run(*length, "--components", str(COMPONENT), fault=fault) as run:
            run.start()
            code = run.wait(_LONGEST_SECONDS)
            rows = run.query("SELECT outcome, message FROM trials WHERE spec LIKE '%misbehaving%'")
            wrong = _ended(run, code)
            if fault in HARMLESS:
                wrong += [f"{outcome}: {text}" for outcome, text in rows if outcome not in _DONE]
            else:
                wrong += [f"{outcome} without a sentence" for outcome, text in rows if not text]
                wrong += ["a bad trial has a score" for outcome, _ in rows if outcome == "FINISHED"]
            if not rows and "misbehaving" not in run.log():
                wrong.append("it was never tried")
            count.figures.append(len(rows))
            count.add(run, wrong)
            count.notes += [f"said: {text[:90]}" for text in sorted({text for _, text in rows if text})[:1]]
        return count

    def signals(self, number: signal.Signals, times: int) -> Count:
        """Sends a signal at a random moment after the first trial."""
        count = Count(number.name, measured="seconds to the end")
        for _ in range(times):
            with self.run("--time-budget", f"{20 * self.budget}s") as run:
                process = run.start()
                wait_for(run, lambda run=run: run.told(), 4 * self.budget)
                run_for(run, self.random.uniform(0, self.budget / 4), kill=False)
                started = time.monotonic()
                if number == signal.SIGINT:
                    os.killpg(process.pid, number)
                else:
                    process.send_signal(number)
                code = run.wait(3 * SIGNAL_SECONDS)
                took = time.monotonic() - started
                count.figures.append(took)
                wrong = [f"exit code {code}"] * (code != SIGNALS[number])
                wrong += [f"it took {took:.0f} s"] * (took > SIGNAL_SECONDS)
                wrong += ["no model"] * (not versions_in(run.folder / "model"))
                wrong += ["no hint how to go on"] * ("repeat the same command" not in run.log())
                count.add(run, wrong)
        return count

    def pairs(self, times: int) -> Count:
        """Starts two commands within 100 ms on one folder."""
        count = Count("two commands at once")
        for _ in range(times):
            with self.run("--time-budget", f"{self.budget}s", "--max-trials", "1") as run:
                other = Run(run.data, run.folder, run.options)
                run.start()
                time.sleep(self.random.uniform(0, 0.1))
                other.start()
                codes = sorted((run.wait(6 * self.budget), other.wait(6 * self.budget)))
                wrong = [f"exit codes {codes}"] * (codes != [0, 6])
                wrong += ["it is not said who holds it"] * (
                    not re.search(r"in use by process \d+", run.log())
                )
                other.sessions = set()
                count.add(run, wrong + [f"left: {each}" for each in other.left()])
        return count

    def stops(self, times: int, seconds: float) -> Count:
        """Stops the whole process group for a while: that time is part of the budget."""
        count = Count(f"SIGSTOP for {seconds:g} s", measured="wall / budget")
        for _ in range(times):
            with self.run("--time-budget", f"{self.budget + seconds}s") as run:
                process, started = run.start(), time.monotonic()
                wait_for(run, lambda run=run: run.told(), 2 * self.budget)
                os.killpg(process.pid, signal.SIGSTOP)
                time.sleep(seconds)
                os.killpg(process.pid, signal.SIGCONT)
                code = run.wait(4 * (self.budget + seconds))
                count.figures.append((time.monotonic() - started) / (self.budget + seconds))
                count.add(run, _ended(run, code))
        return count


_NUM_TRIALS = 8
_EIGHT_TRIALS = ("--max-trials", str(_NUM_TRIALS), "--time-budget", "30m")
_LONGEST_SECONDS = 900.0
_DONE = ("FINISHED", "HOPELESS", "OUT_OF_TIME")


def _ended(run: Run, code: int) -> list[str]:
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


def _name(pid: int) -> str:
    try:
        return " ".join(psutil.Process(pid).cmdline())[:60]
    except psutil.Error:
        return ""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("kills", "workers", "signals", "pairs", "stops"):
        parser.add_argument(f"--{name}", type=int, default=0)
    parser.add_argument("--trials", nargs="*", default=[])
    parser.add_argument("--stop-seconds", type=float, default=60)
    parser.add_argument("--budget", type=float, default=40)
    parser.add_argument("--data", type=Path, default=ROOT / "examples/penguins.csv")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, help="append one JSON line a fault")
    given = parser.parse_args()
    faults = Faults(given.data, given.budget, given.seed)
    steps: list[tuple[int, Callable[[], Count]]] = [
        (given.kills, lambda: faults.kills(given.kills)),
        (given.workers, lambda: faults.workers(given.workers)),
        *((1, lambda fault=fault: faults.trial(fault)) for fault in given.trials),
        *((given.signals, lambda number=number: faults.signals(number, given.signals)) for number in SIGNALS),
        (given.pairs, lambda: faults.pairs(given.pairs)),
        (given.stops, lambda: faults.stops(given.stops, given.stop_seconds)),
    ]
    console = Console(width=160)
    table = Table("fault", "runs", "good", "lost", "repeated", "left behind", "measured", "notes")
    for times, step in steps:
        if not times:
            continue
        count = step()
        figures = [f"{figure:.3g}" for figure in count.figures]
        counts = [count.runs, count.good, count.lost, count.repeated, count.left]
        measured = f"{count.measured}: {' '.join(figures)}" if count.measured else ""
        row = [count.fault, *map(str, counts), measured, "; ".join(dict.fromkeys(count.notes))]
        table.add_row(*row)
        console.print(*row, sep=" | ", soft_wrap=True)
        if given.results:
            with given.results.open("a") as file:
                file.write(json.dumps(vars(count) | {"budget_s": given.budget, "seed": given.seed}) + "\n")
    console.print(table)
    console.print(machine())


if __name__ == "__main__":
    main()
