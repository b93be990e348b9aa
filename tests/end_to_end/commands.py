"""The `autoflow` command in its own process, as a person runs it, or in this one, where that is as good."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from typer.testing import CliRunner

from autoflow.cli import app

EXAMPLES = Path(__file__).parents[2] / "examples"
PENGUINS = EXAMPLES / "penguins.csv"
NEW_PENGUINS = EXAMPLES / "penguins_new.csv"
PENGUIN_OPTIONS = ("--max-trials", 4, "--workers", 1, "--seed", 7)
"""Of the run that several tests look at; the last of so many trials is the first of a network."""


WITHOUT_NETWORK = """
import fcntl, os, socket, struct, sys
control, get_flags, set_flags, up = socket.socket(), 0x8913, 0x8914, 1
flags = struct.unpack("16sh", fcntl.ioctl(control, get_flags, struct.pack("16sh", b"lo", 0)))[1]
fcntl.ioctl(control, set_flags, struct.pack("16sh", b"lo", flags | up))
assert [name for _, name in socket.if_nameindex()] == ["lo"], socket.if_nameindex()
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Runs a command in a namespace of its own in which the loopback interface is the only one."""


def without_network() -> list[str]:
    """Returns what to put before a command so that it has no network; empty where this machine forbids it."""
    prefix = ["unshare", "--user", "--map-root-user", "--net", sys.executable, "-c", WITHOUT_NETWORK]
    try:
        done = subprocess.run([*prefix, sys.executable, "-c", ""], capture_output=True, check=False)
    except OSError:  # no unshare
        return []
    return [] if done.returncode else prefix


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "autoflow.cli", *(str(argument) for argument in arguments)]


def environment(**variables: str) -> dict[str, str]:
    return os.environ | {"COLUMNS": "200", "NO_COLOR": "1"} | variables


def autoflow(
    *arguments: object, folder: Path | None = None, prefix: Sequence[str] = (), **variables: str
) -> subprocess.CompletedProcess[str]:
    """Runs the command to its end, with more variables in its environment; output and errors are text."""
    return subprocess.run(
        [*prefix, *command(*arguments)],
        cwd=folder,
        env=environment(**variables),
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )


def autoflow_here(*arguments: object, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs a command that searches nothing in this process, which has TensorFlow imported already."""
    runner = CliRunner(env=environment())
    with contextlib.chdir(folder or Path.cwd()):
        done = runner.invoke(app, [str(argument) for argument in arguments])
    return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)


def assert_plain(done: subprocess.CompletedProcess[str], code: int) -> None:
    """Checks the exit code, and that an error is one or two lines without a traceback."""
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    if code:
        assert 1 <= len(done.stderr.strip().splitlines()) <= 2, done.stderr
