"""Killed, or out of disk, at every single operation on the files of a run folder: nothing told is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

LIFE = Path(__file__).with_name("life.py")


def test_no_operation_loses_repeats_or_halves_anything(shim: Path, quick_disk: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(LIFE), str(shim), str(quick_disk)],
        env=os.environ | {"LD_PRELOAD": str(shim), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["wrong"] == []
    # otherwise the shim saw nothing of SQLite's writes, or nothing of Python's
    assert report["operations"].count("w") > 40
    assert len(report["operations"]) > 100
    assert report["plans"] > 2 * len(report["operations"])
