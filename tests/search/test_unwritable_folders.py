"""Folders that cannot be written, or vanish, end in one line that names them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_ledger import SETTINGS, entry

from autoflow.errors import MachineError
from autoflow.search.ledger import Ledger

SCRIPT = """
import sys
from pathlib import Path
from autoflow.errors import MachineError
from autoflow.search.ledger import Ledger
try:
    Ledger(Path(sys.argv[1]), {})
except MachineError as error:
    print(error)
"""


def _in_own_mounts(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs a shell script that may mount what nobody else sees; root is not stopped by permissions."""
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec", script, "sh"]
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60
    )


def test_a_read_only_disk_is_named(tmp_path: Path) -> None:
    if _in_own_mounts("true").returncode != 0:
        pytest.skip("this machine lets nobody mount in a namespace of their own")
    script = 'mount -t tmpfs -o ro none "$1"; exec "$2" -c "$3" "$1/run"'
    done = _in_own_mounts(script, tmp_path, sys.executable, SCRIPT)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"run folder {tmp_path / 'run'} cannot be written: Read-only file system\n"


def test_a_run_goes_on_read_only_no_more_than_it_begins(tmp_path: Path) -> None:
    if _in_own_mounts("true").returncode != 0:
        pytest.skip("this machine lets nobody mount in a namespace of their own")
    Ledger(tmp_path / "run", {}).close()
    script = 'mount --bind "$1" "$1"; mount -o remount,ro,bind "$1"; exec "$2" -c "$3" "$1/run"'
    done = _in_own_mounts(script, tmp_path, sys.executable, SCRIPT)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"run folder {tmp_path / 'run'} cannot be written: Read-only file system\n"


def test_a_folder_that_vanishes_during_the_search_is_named(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "run", SETTINGS)
    ledger.record(entry(0))
    shutil.move(tmp_path / "run", tmp_path / "moved")
    with pytest.raises(MachineError, match=rf"trial 1 cannot be written to {tmp_path / 'run'}: .*No such"):
        ledger.record(entry(1))
    with pytest.raises(MachineError, match=rf"{tmp_path / 'run'} cannot be written"):
        ledger.remember("model", {})
    ledger.close()
    moved = Ledger(tmp_path / "moved", SETTINGS)
    assert [each.result.number for each in moved.entries()] == [0]
    moved.record(entry(1))
    moved.close()
