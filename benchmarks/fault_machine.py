"""Faults of one machine: the wall clock set back, a full disk, a limit on files, a folder that vanishes."""

from __future__ import annotations

import ctypes
import os
import random
import resource
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from fault_runs import EIGHT_TRIALS, LONGEST_SECONDS, Count, Run, ended, new_run, run_for, wait_for

SHIM = Path(__file__).with_name("fault_clock.c")
HOUR = 3600
CLONE_NEWNS = 0x00020000
ROOM = "1g"


class MachineFaults:
    """The faults, each a method that takes how often and returns a count.

    Args:
        data: the table.
        budget: seconds of a whole search.
        seed: of the random moments and sizes.
    """

    def __init__(self, data: Path, budget: float, seed: int) -> None:
        self.data, self.budget = data, budget
        self.random = random.Random(seed)

    def clocks(self, times: int) -> Count:
        """Sets the wall clock back by an hour, for the processes of the run, after its first trial."""
        count = Count("the wall clock set back an hour", measured="wall / budget")
        for _ in range(times):
            with new_run(self.data, "--time-budget", f"{self.budget}s") as run:
                library, shift = run.folder.with_name("clock.so"), run.folder.with_name("shift")
                subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", library, SHIM, "-ldl"], check=True)
                run.environment = {"LD_PRELOAD": str(library), "FAULT_CLOCK": str(shift)}
                started = time.monotonic()
                run.start()
                wait_for(run, run.told, self.budget)
                shift.write_text(str(-HOUR))
                code = run.wait(LONGEST_SECONDS)
                count.figures.append((time.monotonic() - started) / self.budget)
                wrong = ["the clock was not set back in time"] * (run.log().count("] trial ") < 2)
                count.add(run, ended(run, code) + wrong)
        return count

    def disks(self, times: int) -> Count:
        """Searches on a disk of a few megabytes, which fills; with room the same command goes on."""
        count = Count("a disk that fills, then resumed", measured="kilobytes")
        _own_mounts()
        for _ in range(times):
            with new_run(self.data, *EIGHT_TRIALS) as run:
                size = round(2 ** self.random.uniform(6, 11))
                run.folder.mkdir()
                _mount(run.folder, "-t", "tmpfs", "-o", f"size={size}k", "none")
                try:
                    more = lambda run=run: _mount(run.folder, "-o", f"remount,size={ROOM}")  # noqa: E731
                    self._refused(run, count, lambda: None, more, size)
                finally:
                    subprocess.run(["umount", "-l", str(run.folder)], check=True)
        return count

    def sizes(self, times: int) -> Count:
        """Limits the size of the files that the driver may write, after its first trial."""
        count = Count("a limit on the size of files, then resumed", measured="kilobytes")
        for _ in range(times):
            with new_run(self.data, *EIGHT_TRIALS) as run:
                size = round(2 ** self.random.uniform(2, 8))

                def limit(run: Run = run, size: int = size) -> None:
                    wait_for(run, run.told, 4 * self.budget)
                    assert run.process is not None
                    limits = (size * 1024, resource.RLIM_INFINITY)
                    psutil.Process(run.process.pid).rlimit(psutil.RLIMIT_FSIZE, limits)

                self._refused(run, count, limit, lambda: None, size)
        return count

    def vanishings(self, times: int) -> Count:
        """Moves the run folder away after the first trial, and back for the next command."""
        count = Count("a run folder that vanishes, then resumed", measured="seconds after the first trial")
        for _ in range(times):
            with new_run(self.data, *EIGHT_TRIALS) as run:
                moved, moment = run.folder.with_name("moved"), self.random.uniform(0, self.budget / 10)

                def vanish(run: Run = run, moved: Path = moved, moment: float = moment) -> None:
                    wait_for(run, run.told, 4 * self.budget)
                    run_for(run, moment, kill=False)
                    run.folder.rename(moved)

                def back(run: Run = run, moved: Path = moved) -> None:
                    if run.folder.exists():  # written into it again
                        raise AssertionError(f"{run.folder} has come back: {os.listdir(run.folder)}")
                    moved.rename(run.folder)

                self._refused(run, count, vanish, back, moment)
        return count

    def _refused(
        self, run: Run, count: Count, break_it: Callable[[], None], mend: Callable[[], None], figure: float
    ) -> None:
        """Counts a run that must end in one line about the machine, or well, and go on once it is mended."""
        run.start()
        break_it()
        code = run.wait(LONGEST_SECONDS)
        wrong = [f"exit code {code}: {run.log().strip().splitlines()[-1:]}"] * (code not in (0, 5))
        errors = [line for line in run.log().splitlines() if line.startswith("error:")]
        wrong += [f"{len(errors)} lines"] * (len(errors) != (code == 5))
        mend()
        before = run.trials()
        lost = len(run.told() - before.keys()) if code == 5 else 0
        run.start()
        wrong += ended(run, run.wait(LONGEST_SECONDS))
        after = run.trials()
        count.figures.append(figure)
        count.add(run, wrong, lost=lost + sum(after.get(key) != row for key, row in before.items()))
        count.notes += [f"said: {line}" for line in errors[:1]]


def _own_mounts() -> None:
    """Moves this process where nobody else sees its mounts, which end with it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "a disk of its own can be made by root only")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)


def _mount(folder: Path, *options: str) -> None:
    subprocess.run(["mount", *options, str(folder)], check=True)
