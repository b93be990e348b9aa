"""One real run on the penguins that several tests look at."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import PENGUIN_OPTIONS, PENGUINS, assert_plain, autoflow, without_network


@pytest.fixture(scope="session")
def temporary_files() -> Iterator[Path]:
    """The folder for temporary files of that run; Ray's sockets need a short path."""
    with tempfile.TemporaryDirectory(prefix="", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def penguin_run(tmp_path_factory: pytest.TempPathFactory, temporary_files: Path) -> tuple[Path, str]:
    """The folder of a run, without a network if it can be, and what the command printed."""
    folder = tmp_path_factory.mktemp("penguins") / "run"
    arguments = ("fit", PENGUINS, *PENGUIN_OPTIONS, "--output", folder)
    done = autoflow(*arguments, prefix=without_network(), TMPDIR=str(temporary_files))
    assert_plain(done, 0)
    return folder, done.stdout
