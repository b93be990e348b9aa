"""The exceptions that AutoFlow shows to people, each with the exit code of the command line.

Messages say where, what was expected, what came and what to do, in one or two lines. Nothing that needs
a heavy library may enter this file.

    AutoFlowError               70  a bug of ours, unless a subclass says otherwise
    ├── UsageError               2  a wrong option, argument or component file
    ├── DataError                3  the table cannot be used as it is
    ├── NoModelError             4  the search ended without a usable model
    ├── MachineError             5  disk, memory or cluster
    ├── RunFolderInUseError      6  another process writes into the run folder
    └── RunInterrupted         130  a signal ended the run before there was a model
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import ClassVar


class AutoFlowError(Exception):
    """Base of all errors whose message is written for the user."""

    exit_code: ClassVar[int] = 70


class UsageError(AutoFlowError):
    """A wrong option, argument, component or recipe; nothing was started."""

    exit_code = 2


class DataError(AutoFlowError):
    """The table cannot be used as it is; the message names file, row and column where it can."""

    exit_code = 3


class NoModelError(AutoFlowError):
    """The search or the given folder holds no usable model."""

    exit_code = 4


class MachineError(AutoFlowError):
    """The machine or the cluster cannot do what was asked: disk, memory, cores, processes."""

    exit_code = 5


class RunFolderInUseError(AutoFlowError):
    """Another living process writes into the same run folder."""

    exit_code = 6


class RunInterrupted(AutoFlowError):
    """A signal ended the run before there was a model; the same command goes on.

    Args:
        message: for the user.
        signal_number: of the signal; the exit code is 128 more, as shells have it.
    """

    exit_code = 130

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number


def shortened(text: str, length: int = 40) -> str:
    """Returns a text of at most so many characters, with an ellipsis where it was cut.

    >>> shortened("a" * 300, 5)
    'aaaa…'
    """
    return text if len(text) <= length else text[: length - 1] + "…"


def near_names(name: str, known: list[str] | tuple[str, ...]) -> str:
    """Returns a half-sentence that helps with an unknown name.

    >>> near_names("Prize", ["price", "colour"])
    "did you mean 'price'?"
    >>> near_names("x", ["price", "colour"])
    'known: price, colour'
    """
    spellings: dict[str, list[str]] = {}
    for each in known:
        spellings.setdefault(each.casefold(), []).append(each)
    near = get_close_matches(name.casefold(), spellings, n=3, cutoff=0.5)
    close = [spelling for match in near for spelling in spellings[match]]
    if close:
        return "did you mean " + " or ".join(repr(match) for match in close) + "?"
    shown = ", ".join(list(known)[:20])
    return f"known: {shown}" + (f" and {len(known) - 20} more" if len(known) > 20 else "")
