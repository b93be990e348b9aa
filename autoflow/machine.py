"""What this process may use of the machine: the limits of its container, and not what the host has."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import psutil

_CGROUP = Path("/sys/fs/cgroup")


def available_cores() -> int:
    """Returns the cores that this process may use: affinity and the container's quota, not the machine's."""
    cores = len(os.sched_getaffinity(0))
    with contextlib.suppress(OSError, ValueError):  # no quota
        quota, period = (_CGROUP / "cpu.max").read_text().split()
        cores = min(cores, max(1, int(quota) // int(period)))
    return cores


def available_bytes() -> int:
    """Returns the memory that this process may still take: what is free, within the container's limit."""
    free = int(psutil.virtual_memory().available)
    with contextlib.suppress(OSError, ValueError, KeyError):  # no limit
        limit = int((_CGROUP / "memory.max").read_text())
        used = int((_CGROUP / "memory.current").read_text())
        parts = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
        # files that were read and may be forgotten count as used, too
        free = min(free, max(0, limit - used + int(parts["inactive_file"])))
    return free
