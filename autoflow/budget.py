"""Time budgets: reading and printing durations, and one deadline that covers a whole run."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path

from autoflow.errors import UsageError

_UNIT_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)")


def parse_duration(text: str | float) -> float:
    """Returns seconds for texts such as `90`, `90s`, `5m`, `1.5h` and `1h30m`.

    Raises:
        UsageError: the text is no duration, or not positive.

    >>> parse_duration("1h30m")
    5400.0
    """
    if isinstance(text, int | float):
        seconds = float(text)
    else:
        parts = _PART.findall(text.strip().lower())
        whole = "".join(number + unit for number, unit in parts)
        if not parts or whole != re.sub(r"\s+", "", text.lower()):
            raise UsageError(f"'{text}' is no duration; write for example 90s, 5m or 1h30m")
        seconds = sum(float(number) * _UNIT_SECONDS[unit or "s"] for number, unit in parts)
    if not 0 < seconds < float("inf"):
        raise UsageError(f"a time budget must be positive, got '{text}'")
    return seconds


def format_duration(seconds: float) -> str:
    """Returns a short text such as `8.3s`, `45s`, `5m 02s` or `1h 30m`."""
    if seconds < 10:
        return f"{max(seconds, 0):.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"


def _process_age() -> float:
    """Returns the seconds since this process was started.

    Both from the clock that began with the machine: psutil's time of day is up to a second off, as Linux
    tells in whole seconds when the machine began.
    """
    fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK"))


@dataclass(frozen=True)
class Budget:
    """A span of time that began at `started`, read from the monotonic clock of this machine.

    Args:
        seconds: the whole span; inf for no limit.
        started: monotonic time at which it began.
    """

    seconds: float
    started: float = field(default_factory=time.monotonic)

    @classmethod
    def since_process_start(cls, seconds: float) -> Budget:
        """Returns a budget that began when this process did, so that imports count."""
        age = _process_age()
        # a process older than a minute is a notebook or a service: its life is not part of the budget
        return cls(seconds, time.monotonic() - (age if age < 60 else 0.0))

    def elapsed(self) -> float:
        """Returns the seconds since the start."""
        return time.monotonic() - self.started

    def remaining(self) -> float:
        """Returns the seconds that are left; negative when they are over."""
        return self.seconds - self.elapsed()
