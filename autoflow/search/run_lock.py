"""The lock of a run folder: the kernel gives it back when its process dies, however it dies."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

import psutil

from autoflow.errors import RunFolderInUseError

_NAME_SECONDS = 1.0


def take_lock(path: Path) -> int:
    """Returns the descriptor that holds the lock until it is closed.

    Raises:
        RunFolderInUseError: a living process holds it; the message says which.
        OSError: the file cannot be written.
    """
    me = psutil.Process()
    text = f"process {me.pid} ({me.name()}, user {me.username()})"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode(), 0)
    except BlockingIOError:
        holder = _holder(descriptor)
        os.close(descriptor)
        raise RunFolderInUseError(
            f"run folder {path.parent} is in use by {holder}; "
            "wait for it, or name another folder with --output"
        ) from None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _holder(descriptor: int) -> str:
    """Returns who holds the lock; one that has just taken it may not have written its name yet."""
    end = time.monotonic() + _NAME_SECONDS
    while time.monotonic() < end:
        holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
        if holder:
            return holder
        time.sleep(0.02)
    return "another process"
