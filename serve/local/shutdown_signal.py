"""Ctrl-C and SIGTERM for a process that starts and stops others.

The rule: the first one interrupts what is being started, and nothing interrupts what is being stopped.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class ShutdownSignal:
    """Whether the process is to stop. Made in the main thread."""

    def __init__(self) -> None:
        # Plain values: a lock that the main thread holds would not be had by the handler, which runs in it.
        self._received = self._interrupts = False

    def install(self) -> None:
        """Take Ctrl-C and SIGTERM from now on."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._receive)

    def is_set(self) -> bool:
        """Whether one was received."""
        return self._received

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """Let the first one raise KeyboardInterrupt in this block, or before it where it has come already."""
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
