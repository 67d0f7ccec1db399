"""Handles Ctrl-C and SIGTERM in a process that starts and stops others.

Rule: the first signal interrupts a start, and no signal interrupts a stop.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class ShutdownSignal:
    """Records that the process has to stop. Create it in the main thread."""

    def __init__(self) -> None:
        # Plain values, no lock: the handler runs in the main thread, and could not take a lock that
        # this thread holds.
        self._received = self._interrupts = False

    def install(self) -> None:
        """Handle Ctrl-C and SIGTERM from now on."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._receive)

    def is_set(self) -> bool:
        """Return whether a signal was received."""
        return self._received

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """Let the first signal raise KeyboardInterrupt in this block, or before it if the signal
        came earlier.
        """
        self._interrupts = True
        try:
            if self._received:
                raise KeyboardInterrupt
            yield
        finally:
            self._interrupts = False

    def _receive(self, _: int, __: FrameType | None) -> None:
        first, self._received = not self._received, True
        if first and self._interrupts:
            raise KeyboardInterrupt
