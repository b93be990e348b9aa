"""Ctrl-C and termination as a wish that the search reads, so that nothing is torn in the middle."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruption:
    """Remembers the first signal; the second one raises KeyboardInterrupt.

    Attributes:
        signal_number: of the first signal; 0 while there was none.
    """

    def __init__(self) -> None:
        self.signal_number = 0

    def requested(self) -> bool:
        """Tells whether the run should end now with what it has."""
        return self.signal_number != 0

    def listen(self) -> None:
        """Takes over the signals, again where a library installed handlers of its own.

        Signals that the process was told to ignore (`nohup`, background jobs) stay ignored. Elsewhere than
        on the main thread nothing happens, for Python handles signals there only.
        """
        if threading.current_thread() is not threading.main_thread():
            return
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._receive)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.signal_number:
            raise KeyboardInterrupt
        self.signal_number = number


@contextmanager
def graceful_interruption() -> Iterator[Interruption]:
    """Turns SIGINT, SIGTERM and SIGHUP into a wish while the block runs."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    interruption = Interruption()
    interruption.listen()
    try:
        yield interruption
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)
