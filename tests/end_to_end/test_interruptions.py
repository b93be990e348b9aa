"""Kills, Ctrl-C and repeated commands: nothing finished is lost or repeated."""

import json
import os
import signal
import sqlite3
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import psutil
import pytest
from commands import PENGUINS, assert_plain, autoflow, command, environment

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


def test_a_finished_trial_survives_kill_9_and_is_not_repeated(table, tmp_path):
    folder = tmp_path / "run"
    process = start(table, folder, "--max-trials", 9)
    shown = read_trials(process, 3)
    os.kill(next(pid for pid in marked(session_of(folder)) if "RayWorker" in name_of(pid)), signal.SIGKILL)
    shown += read_trials(process, 3)
    listening = addresses_listened_on(process.pid)
    session = session_of(folder)
    assert len(marked(session)) > 3
    assert scratch_folder(session).stat().st_mode & 0o077 == 0
    process.kill()
    process.wait()
    process.stdout.close()
    assert left_of(session) == ([], [])
    assert listening
    assert all(address.removeprefix("::ffff:") in ("127.0.0.1", "::1") for address in listening)
    before = ledger_rows(folder)
    assert len(before) >= len(shown)

    done = autoflow("fit", table, "--label", "kind", "--output", folder, "--max-trials", 9)
    assert_plain(done, 0)
    assert f"{len(before)} trials are done" in done.stdout
    after = ledger_rows(folder)
    assert {number: after[number] for number in before} == before
    assert len(set(after.values())) == len(after)
    assert (folder / "model/1/saved_model.pb").exists()


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


def test_two_runs_never_share_a_folder(table, tmp_path):
    folder = tmp_path / "run"
    process = start(table, folder, "--time-budget", "5m")
    read_trials(process, 1)
    done = autoflow("fit", table, "--label", "kind", "--output", folder)
    process.kill()
    process.wait()
    process.stdout.close()
    assert_plain(done, 6)
    assert f"process {process.pid}" in done.stderr


def test_the_same_seed_gives_the_same_leaderboard(tmp_path):
    def board(name):
        options = ("--max-trials", 4, "--workers", 1, "--seed", 7, "--output", tmp_path / name)
        assert_plain(autoflow("fit", PENGUINS, *options), 0)
        return pd.read_csv(tmp_path / name / "leaderboard.csv").drop(columns="seconds")

    with ThreadPoolExecutor(2) as both:  # one worker each
        boards = list(both.map(board, ("first", "second")))
    pd.testing.assert_frame_equal(boards[0], boards[1])
