"""The `autoflow` command in its own process, as a person runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"
PENGUINS = EXAMPLES / "penguins.csv"
NEW_PENGUINS = EXAMPLES / "penguins_new.csv"


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "autoflow.cli", *(str(argument) for argument in arguments)]


def environment(**variables: str) -> dict[str, str]:
    return os.environ | {"COLUMNS": "200", "NO_COLOR": "1"} | variables


def autoflow(
    *arguments: object, folder: Path | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Runs the command to its end, with more variables in its environment; output and errors are text."""
    return subprocess.run(
        command(*arguments),
        cwd=folder,
        env=environment(**variables),
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )


def assert_plain(done: subprocess.CompletedProcess[str], code: int) -> None:
    """Checks the exit code, and that an error is one or two lines without a traceback."""
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    if code:
        assert 1 <= len(done.stderr.strip().splitlines()) <= 2, done.stderr
