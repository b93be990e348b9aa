"""Ends what a session started on this machine and deletes its scratch folder, however the driver went.

Every process of a session carries its name in the environment, which children inherit, so none is missed
that changed its parent; Ray's agents write their titles over it, but hold files of the session. As a script
this file is the watcher, which waits until the driver is gone; it needs nothing but the standard library, as
it starts beside everything else.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MARK = "AUTOFLOW_SESSION"
"""Variable of the environment that holds the name of the session."""

_LONGEST_BASE = 14
_CLEAR_SECONDS = 8.0


def scratch_folder(name: str) -> Path:
    """Returns this machine's folder for the temporary files of a session, Ray's included.

    The paths of sockets have 107 characters at most, and Ray takes 70 of them.
    """
    base, own = Path(tempfile.gettempdir()), f"autoflow-{os.getuid()}-{name}"
    if base.name == own:  # a process of the session, for which it is the folder of all temporary files
        return base
    return (base if len(str(base)) <= _LONGEST_BASE else Path("/tmp")) / own


def clear(name: str) -> None:
    """Kills the processes of a session, and deletes its scratch folder."""
    if Path(name).name != name:  # a ledger may be anybody's
        return
    end, found_none = time.monotonic() + _CLEAR_SECONDS, 0
    while found_none < 2 and time.monotonic() < end:  # one that was being started shows in the second look
        processes = marked(name)
        for process in processes:
            with contextlib.suppress(OSError):  # it went by itself
                os.kill(process, signal.SIGKILL)
        found_none = 0 if processes else found_none + 1
        time.sleep(0.05)
    shutil.rmtree(scratch_folder(name), ignore_errors=True)


def marked(name: str) -> list[int]:
    """Returns the ids of the living processes of a session."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):  # gone, or somebody else's
                environment = Path("/proc", entry, "environ").read_bytes()
                overwritten = environment.startswith(b"\0")
                if f"{MARK}={name}".encode() in environment.split(b"\0") or (
                    overwritten and _holds_files(entry, scratch_folder(name))
                ):
                    found.append(int(entry))
    return found


def _holds_files(process: str, folder: Path) -> bool:
    """Tells whether a process has a file in a folder open; one that was deleted counts, too."""
    for descriptor in Path("/proc", process, "fd").iterdir():
        with contextlib.suppress(OSError):  # closed since
            if os.readlink(descriptor).startswith(f"{folder}/"):
                return True
    return False


class Watcher:
    """A process that clears up after a session when this one closes it or dies.

    Args:
        name: of the session.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, name: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # what ends the driver's whole group or terminal must not end it
        )

    def close(self) -> None:
        """Waits until everything is cleared."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=2 * _CLEAR_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _watch(name: str) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()  # ends when the last writer, the driver, is gone
    clear(name)


if __name__ == "__main__":
    _watch(sys.argv[1])
