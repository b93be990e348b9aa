"""Kills, Ctrl-C and repeated commands: nothing finished is lost or repeated."""

import json
import os
import signal
import sqlite3
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from commands import (
    PENGUIN_OPTIONS,
    PENGUINS,
    assert_plain,
    autoflow,
    autoflow_here,
    command,
    environment,
)

from autoflow.search.leftovers import marked, scratch_folder


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Rows enough that a search is still busy when it is disturbed."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(1200, 6))
    frame = pd.DataFrame(x, columns=[f"x{i}" for i in range(6)])
    frame["town"] = generator.choice(list("abcdef"), len(frame))
    frame["kind"] = np.where(x[:, 0] * x[:, 1] + generator.normal(size=len(x)) > 0, "good", "bad")
    path = tmp_path_factory.mktemp("table") / "rows.csv"
    frame.to_csv(path, index=False)
    return path


def start(table, folder, *options):
    arguments = command("fit", table, "--label", "kind", "--output", folder, *options)
    return subprocess.Popen(
        arguments,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # a background job of a shell ignores Ctrl-C, and so would what it starts; a terminal does not
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def read_trials(process, number):
    """Reads lines until so many trials were shown as done; returns their lines. Ray must say nothing."""
    lines = []
    for line in process.stdout:
        assert "raylet" not in line
        if "] trial " in line:
            lines.append(line.strip())
        if len(lines) >= number:
            return lines
    pytest.fail(f"the search ended early: {lines}")


def ledger_rows(folder):
    with sqlite3.connect(folder / "ledger.sqlite") as database:
        return dict(database.execute("SELECT number, spec FROM trials").fetchall())


def session_of(folder):
    with sqlite3.connect(folder / "ledger.sqlite") as database:
        row = database.execute("SELECT value FROM settings WHERE key = 'session'").fetchone()
    return json.loads(row[0])


def left_of(session):
    """Returns processes and temporary files of a session, after the ten seconds that it may take."""
    end = time.monotonic() + 10
    while (marked(session) or scratch_folder(session).exists()) and time.monotonic() < end:
        time.sleep(0.2)
    return marked(session), list(scratch_folder(session).parent.glob(scratch_folder(session).name))


def name_of(pid):
    return " ".join(psutil.Process(pid).cmdline())


def addresses_listened_on(pid):
    """Returns where a process and all that it started wait for connections."""
    root = psutil.Process(pid)
    return [
        connection.laddr.ip
        for process in [root, *root.children(recursive=True)]
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]


@dataclass(frozen=True)
class Disturbed:
    """A search that lost a worker, met a second command, was killed, and was repeated.

    Args:
        folder: of the run.
        process: the number of its first process.
        num_shown: trials shown as done before the end of that process.
        num_processes: how many it had.
        mode: of the folder for its temporary files.
        listening: where it waited for connections.
        second: what came of a second command at the same time.
        left: processes and temporary files that it left.
        before: the trials in the ledger after its end.
        again: what came of the repeated command.
    """

    folder: Path
    process: int
    num_shown: int
    num_processes: int
    mode: int
    listening: list[str]
    second: subprocess.CompletedProcess[str]
    left: tuple[list[int], list[Path]]
    before: dict[int, str]
    again: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def disturbed(table, tmp_path_factory):
    folder = tmp_path_factory.mktemp("disturbed") / "run"
    process = start(table, folder, "--time-budget", "5m")
    shown = read_trials(process, 2)
    session = session_of(folder)
    os.kill(next(pid for pid in marked(session) if "RayWorker" in name_of(pid)), signal.SIGKILL)
    shown += read_trials(process, 2)
    listening = addresses_listened_on(process.pid)
    num_processes, mode = len(marked(session)), scratch_folder(session).stat().st_mode
    options = ("--label", "kind", "--output", folder)
    second = autoflow_here("fit", table, *options)
    process.kill()
    process.wait()
    process.stdout.close()
    left = left_of(session)
    before = ledger_rows(folder)
    again = autoflow("fit", table, *options, "--max-trials", len(before) + 1)
    return Disturbed(
        folder, process.pid, len(shown), num_processes, mode, listening, second, left, before, again
    )


def test_a_finished_trial_survives_kill_9_and_is_not_repeated(disturbed):
    before, after = disturbed.before, ledger_rows(disturbed.folder)
    assert len(before) >= disturbed.num_shown
    assert_plain(disturbed.again, 0)
    assert f"{len(before)} trials are done" in disturbed.again.stdout
    assert {number: after[number] for number in before} == before
    assert len(set(after.values())) == len(after) == len(before) + 1
    assert (disturbed.folder / "model/1/saved_model.pb").exists()


def test_nothing_is_left_after_kill_9(disturbed):
    assert disturbed.num_processes > 3
    assert disturbed.left == ([], [])


def test_nobody_else_can_reach_a_search(disturbed):
    assert disturbed.mode & 0o077 == 0
    assert disturbed.listening
    assert all(address.removeprefix("::ffff:") in ("127.0.0.1", "::1") for address in disturbed.listening)


def test_two_runs_never_share_a_folder(disturbed):
    assert_plain(disturbed.second, 6)
    assert f"process {disturbed.process}" in disturbed.second.stderr


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_exports_the_best_so_far_and_leaves_nothing_running(table, tmp_path, number, code):
    folder = tmp_path / "run"
    process = start(table, folder, "--time-budget", "5m")
    read_trials(process, 3)
    session = session_of(folder)
    started = time.monotonic()
    # a terminal and `timeout` send it to the whole group, which must not end Ray before the search
    assert all(os.getpgid(pid) != process.pid for pid in marked(session) if pid != process.pid)
    os.killpg(process.pid, number)
    text = process.stdout.read()
    assert process.wait(timeout=60) == code, text
    assert time.monotonic() - started < 30
    assert "repeat the same command" in text
    assert "Traceback" not in text
    assert (folder / "model/1/saved_model.pb").exists()
    process.stdout.close()
    left = [p for p in psutil.process_iter() if os.getsid(p.pid) == process.pid and p.status() != "zombie"]
    assert left == []
    assert left_of(session) == ([], [])


@pytest.mark.parametrize("seconds", [0.5, 2.5])
def test_a_signal_while_ray_starts_ends_the_run_at_once(table, tmp_path, seconds):
    folder = tmp_path / "run"
    process = start(table, folder, "--time-budget", "5m")
    for line in process.stdout:
        if "starting the workers" in line:
            break
    time.sleep(seconds)
    started = time.monotonic()
    os.killpg(process.pid, signal.SIGTERM)
    text = process.stdout.read()
    assert process.wait(timeout=60) == 143, text
    assert time.monotonic() - started < 60  # that Ray takes to give up when it is ended in between
    said = [line for line in text.splitlines() if not line.startswith("interrupted: ")]
    assert said == ["error: interrupted before there was a model; repeat the same command to go on"]
    process.stdout.close()
    assert left_of(session_of(folder)) == ([], [])


def test_the_same_seed_gives_the_same_leaderboard(penguin_run, tmp_path):
    assert_plain(autoflow("fit", PENGUINS, *PENGUIN_OPTIONS, "--output", tmp_path / "run"), 0)
    first, second = (
        pd.read_csv(folder / "leaderboard.csv").drop(columns="seconds")
        for folder in (penguin_run[0], tmp_path / "run")
    )
    pd.testing.assert_frame_equal(first, second)
