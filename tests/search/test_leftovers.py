"""Whatever ends the driver, its processes and temporary files go, those of its children's children too."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from autoflow.search.leftovers import MARK, Watcher, clear, marked, scratch_folder

DRIVER = """
import os, subprocess, sys, time
from autoflow.search.leftovers import MARK, Watcher, scratch_folder
name = sys.argv[1]
scratch_folder(name).mkdir(mode=0o700)
(scratch_folder(name) / "socket").touch()
watcher = Watcher(name)
os.environ[MARK] = name
# a plain child, and one whose parent ends and which leaves the session
subprocess.Popen(["sleep", "1000"])
subprocess.run(["sh", "-c", "setsid sleep 1000 & true"])
print(watcher._process.pid, flush=True)
if sys.argv[2] == "close":
    watcher.close()
time.sleep(1000)
"""

OVERWRITING = """
import ctypes, sys, time
log = open(sys.argv[1], "w")
start, end = map(int, open("/proc/self/stat").read().rpartition(")")[2].split()[47:49])
ctypes.memset(start, 0, end - start)
print("done", flush=True)
time.sleep(1000)
"""


@pytest.fixture
def name() -> str:
    return f"test-{secrets.token_hex(4)}"


def _start(name: str, how: str = "") -> tuple[subprocess.Popen[str], int]:
    process = subprocess.Popen([sys.executable, "-c", DRIVER, name, how], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def _ignores_interruptions(process: int) -> bool:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    mask = next(int(line.split()[1], 16) for line in lines if line.startswith("SigIgn"))
    return bool(mask >> (signal.SIGHUP - 1) & 1)  # the last that it comes to


def _gone_within(name: str, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while marked(name) or scratch_folder(name).exists():
        if time.monotonic() > end:
            clear(name)
            return False
        time.sleep(0.05)
    return True


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def test_nothing_is_left_of_a_driver_that_was_killed(name: str) -> None:
    process, watcher = _start(name)
    while len(marked(name)) < 2:  # one that is being started shows none of its environment yet
        time.sleep(0.05)
    while not _ignores_interruptions(watcher):
        time.sleep(0.05)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # as a terminal that is closed sends them
        os.kill(watcher, number)
    _end(process)
    assert _gone_within(name, 10)


def test_nothing_is_left_when_the_session_is_closed(name: str) -> None:
    process, _ = _start(name, "close")
    assert _gone_within(name, 10)
    assert process.poll() is None
    _end(process)


def test_a_process_that_wrote_its_title_over_its_environment_is_found_by_its_files(
    name: str, tmp_path: Path
) -> None:
    scratch_folder(name).mkdir()
    started = [
        subprocess.Popen(
            [sys.executable, "-c", OVERWRITING, str(log)],
            stdout=subprocess.PIPE,
            env=os.environ | {MARK: name},
        )
        for log in (scratch_folder(name) / "agent.log", tmp_path / "agent.log")
    ]
    for process in started:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
    assert marked(name) == [started[0].pid]
    clear(name)
    assert started[0].wait(timeout=10) == -signal.SIGKILL
    assert started[1].poll() is None
    started[1].kill()
    started[1].wait()


def test_others_are_left_alone(name: str, tmp_path: Path) -> None:
    other = subprocess.Popen(["sleep", "1000"], env=os.environ | {MARK: name + "0"})
    scratch_folder(name).mkdir()
    watcher = Watcher(name)
    watcher.close()
    assert not scratch_folder(name).exists()
    assert other.poll() is None
    assert marked(name + "0") == [other.pid]
    other.kill()
    other.wait()


def test_the_folder_leaves_room_for_the_names_of_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    for base in ("/scratch/" + "deep/" * 20, "/tmp/123456789"):
        monkeypatch.setattr("tempfile.tempdir", base)
        longest = (
            scratch_folder("0" * 8) / "ray/session_2026-11-21_12-59-20_091621_4194304/sockets/plasma_store"
        )
        assert len(str(longest)) + len("65534") - len(str(os.getuid())) <= 107


@pytest.mark.parametrize("base", ["/tmp", "/tmp/abc", "/scratch/" + "deep/" * 20])
def test_the_processes_of_a_session_name_the_same_folder(monkeypatch: pytest.MonkeyPatch, base: str) -> None:
    monkeypatch.setattr("tempfile.tempdir", base)
    folder = scratch_folder("0" * 8)
    monkeypatch.setattr("tempfile.tempdir", str(folder))  # as the workers have it
    assert scratch_folder("0" * 8) == folder
