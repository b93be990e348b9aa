"""Repeats faults and counts what was lost.

    python benchmarks/faults.py [--kills 100] [--workers 100] [--signals 20] [--signal-names SIGHUP]
        [--starts 20] [--pairs 50] [--stops 1]
        [--trials raise exit segfault hang print fork allocate nan infinity]
        [--losses 20] [--shrinks 1] [--asks 1] [--clocks 1] [--disks 10] [--sizes 10] [--vanishings 10]
        [--fits 200] [--budget 40] [--data TABLE] [--results FILE.jsonl] [--seed 0]

Kills of the driver and of workers, bad trials, signals, two commands at once, a stop; nodes that a cluster
loses, a cluster that has no room left or never had it; the wall clock set back, a disk that fills, a limit on
the size of files, a run folder that vanishes; many fits in one process.

Each run is the real command in a folder of its own. "Good" counts the runs after which nothing told was lost
or repeated, the exit code and the message were right, and ten seconds later no process, and so no port, no
lock and no temporary file of the run was left. Kills and signals come at random moments. A slow machine needs
a larger --budget: it has to start Ray twice in that time. Filling a disk needs root.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import random
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

from fault_cluster import ClusterFaults
from fault_fits import fits
from fault_machine import MachineFaults
from fault_runs import (
    EIGHT_TRIALS,
    LONGEST_SECONDS,
    NUM_TRIALS,
    ROOT,
    Count,
    Run,
    ended,
    name_of,
    new_run,
    run_for,
    wait_for,
)
from rich.console import Console
from rich.table import Table
from runs import machine

from autoflow.manifest import versions_in
from autoflow.search.leftovers import marked

COMPONENT = Path(__file__).with_name("faulty_component.py")
SIGNAL_SECONDS = 30.0
KILLS_A_SEARCH = 5
HARMLESS = ("print", "fork")
SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
DONE = ("FINISHED", "HOPELESS", "OUT_OF_TIME")


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

    def run(self, *options: str, fault: str = "") -> contextlib.AbstractContextManager[Run]:
        """Gives a new run folder."""
        return new_run(self.data, *options, fault=fault)

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
                wrong = ended(run, code) + [f"left: {each}" for each in left]
                wrong += [f"a worse model: {run.model_loss()}, {best} before"] * (run.model_loss() > best)
                wrong += ["a told trial is gone"] * bool(told - run.trials().keys())
                count.figures.append(kills)
                count.add(run, wrong, lost=lost, repeated=repeated)
        return count

    def workers(self, times: int) -> Count:
        """Kills workers of running searches: one while they start, others each after another trial."""
        count = Count("kill -9 of a worker", measured="kills")
        while sum(count.figures) < times:
            with self.run(*EIGHT_TRIALS) as run:
                run.start()
                wait_for(run, lambda run=run: _workers(run), LONGEST_SECONDS)
                kills = self._kill_worker(run)
                for num_told in range(1, KILLS_A_SEARCH):
                    wait_for(run, lambda run=run, least=num_told: len(run.told()) >= least, LONGEST_SECONDS)
                    kills += self._kill_worker(run)
                code = run.wait(LONGEST_SECONDS)
                wrong = [f"{len(run.trials())} trials"] * (len(run.trials()) != NUM_TRIALS)
                count.figures.append(kills)
                count.add(run, ended(run, code) + wrong)
        return count

    def _kill_worker(self, run: Run) -> int:
        """Kills one of the workers at a moment soon; returns how many there were to kill, 1 at most."""
        run_for(run, self.random.uniform(0, 2), kill=False)
        workers = _workers(run)
        if not workers:
            return 0
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.random.choice(workers), signal.SIGKILL)
        return 1

    def trial(self, fault: str) -> Count:
        """Runs a search with a component that misbehaves, one worker beside the other."""
        count = Count(f"a trial: {fault}", measured="bad trials")
        # a trial that hangs is ended by the clock, the others are few enough to end by themselves
        length = ("--time-budget", f"{3 * self.budget}s") if fault == "hang" else EIGHT_TRIALS
        with self.run(*length, "--components", str(COMPONENT), fault=fault) as run:
            run.start()
            code = run.wait(LONGEST_SECONDS)
            rows = run.query("SELECT outcome, message FROM trials WHERE spec LIKE '%misbehaving%'")
            wrong = ended(run, code)
            if fault in HARMLESS:
                wrong += [f"{outcome}: {text}" for outcome, text in rows if outcome not in DONE]
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
                wait_for(run, run.told, LONGEST_SECONDS)
                run_for(run, self.random.uniform(0, self.budget / 4), kill=False)
                started = time.monotonic()
                os.killpg(process.pid, number)  # as a terminal and `timeout` send it
                code = run.wait(3 * SIGNAL_SECONDS)
                took = time.monotonic() - started
                count.figures.append(took)
                wrong = [f"exit code {code}"] * (code != SIGNALS[number])
                wrong += [f"it took {took:.0f} s"] * (took > SIGNAL_SECONDS)
                wrong += ["no model"] * (not versions_in(run.folder / "model"))
                wrong += ["no hint how to go on"] * ("repeat the same command" not in run.log())
                count.add(run, wrong)
        return count

    def starts(self, times: int) -> Count:
        """Sends SIGTERM to the whole group, as `timeout` does, or to the command while Ray starts."""
        count = Count("SIGTERM while Ray starts", measured="seconds to the end")
        for number in range(times):
            with self.run("--time-budget", f"{20 * self.budget}s") as run:
                process = run.start()
                wait_for(run, lambda run=run: "starting the workers" in run.log(), LONGEST_SECONDS)
                run_for(run, self.random.uniform(0, self.budget / 4), kill=False)
                started = time.monotonic()
                if number % 2:
                    process.send_signal(signal.SIGTERM)
                else:
                    os.killpg(process.pid, signal.SIGTERM)
                code = run.wait(3 * SIGNAL_SECONDS)
                took = time.monotonic() - started
                count.figures.append(took)
                wrong = [f"exit code {code}: {run.log().strip().splitlines()[-1:]}"] * (code != 143)
                wrong += [f"it took {took:.0f} s"] * (took > SIGNAL_SECONDS)
                wrong += ["no hint how to go on"] * ("repeat the same command" not in run.log())
                count.add(run, wrong)
        return count

    def pairs(self, times: int) -> Count:
        """Starts two commands within 100 ms on one folder."""
        count = Count("two commands at once")
        for _ in range(times):
            with self.run("--time-budget", "30m", "--max-trials", "1") as run:
                other = Run(run.data, run.folder, run.options)
                run.start()
                time.sleep(self.random.uniform(0, 0.1))
                other.start()
                codes = sorted((run.wait(LONGEST_SECONDS), other.wait(LONGEST_SECONDS)))
                wrong = [f"exit codes {codes}"] * (codes != [0, 6])
                wrong += ["it is not said who holds it"] * (
                    not re.search(r"in use by process \d+", run.log())
                )
                other.sessions = set()
                count.add(run, wrong + [f"left: {each}" for each in other.left()])
        return count

    def stops(self, times: int, seconds: float) -> Count:
        """Stops all processes of a search for a while: that time is part of the budget."""
        count = Count(f"SIGSTOP for {seconds:g} s", measured="wall / budget")
        for _ in range(times):
            with self.run("--time-budget", f"{self.budget + seconds}s") as run:
                process, started = run.start(), time.monotonic()
                wait_for(run, lambda run=run: run.told(), 2 * self.budget)
                # Ray's processes lead groups of their own
                everything = {process.pid, *marked(run.note_session())}
                for number, pause in ((signal.SIGSTOP, seconds), (signal.SIGCONT, 0.0)):
                    for pid in everything:
                        os.kill(pid, number)
                    time.sleep(pause)
                code = run.wait(4 * (self.budget + seconds))
                count.figures.append((time.monotonic() - started) / (self.budget + seconds))
                count.add(run, ended(run, code))
        return count


def _workers(run: Run) -> list[int]:
    session = run.note_session()
    return [pid for pid in marked(session) if "RayWorker" in name_of(pid)] if session else []


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in (
        *("kills", "workers", "signals", "starts", "pairs", "stops", "losses", "shrinks", "asks"),
        *("clocks", "disks", "sizes", "vanishings", "fits"),
    ):
        parser.add_argument(f"--{name}", type=int, default=0)
    parser.add_argument("--trials", nargs="*", default=[])
    parser.add_argument("--signal-names", nargs="+", default=[number.name for number in SIGNALS])
    parser.add_argument("--stop-seconds", type=float, default=60)
    parser.add_argument("--loss-seconds", type=float, default=20)
    parser.add_argument("--budget", type=float, default=40)
    parser.add_argument("--data", type=Path, default=ROOT / "examples/penguins.csv")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, help="append one JSON line a fault")
    given = parser.parse_args()
    faults = Faults(given.data, given.budget, given.seed)
    cluster = ClusterFaults(given.data, given.budget, given.seed)
    machine_faults = MachineFaults(given.data, given.budget, given.seed)
    steps: list[tuple[int, Callable[[], Count]]] = [
        (given.kills, lambda: faults.kills(given.kills)),
        (given.workers, lambda: faults.workers(given.workers)),
        *((1, lambda fault=fault: faults.trial(fault)) for fault in given.trials),
        *(
            (given.signals, lambda number=number: faults.signals(number, given.signals))
            for number in map(signal.Signals.__getitem__, given.signal_names)
        ),
        (given.starts, lambda: faults.starts(given.starts)),
        (given.pairs, lambda: faults.pairs(given.pairs)),
        (given.stops, lambda: faults.stops(given.stops, given.stop_seconds)),
        (given.losses, lambda: cluster.losses(given.losses, given.loss_seconds)),
        (given.shrinks, lambda: cluster.shrinks(given.shrinks)),
        (given.asks, lambda: cluster.asks(given.asks)),
        (given.clocks, lambda: machine_faults.clocks(given.clocks)),
        (given.disks, lambda: machine_faults.disks(given.disks)),
        (given.sizes, lambda: machine_faults.sizes(given.sizes)),
        (given.vanishings, lambda: machine_faults.vanishings(given.vanishings)),
        (given.fits, lambda: fits(given.fits)),
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
