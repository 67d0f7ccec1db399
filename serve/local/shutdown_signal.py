"""Handles Ctrl-C and SIGTERM in a process that starts and stops others.

Rule: the first signal interrupts a start, and no signal interrupts a stop.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_AGAIN_S = 0.02


class ShutdownSignal:
    """Records that the process has to stop. Create it in the main thread."""

    def __init__(self) -> None:
        # Plain values, no lock: the handler runs in the main thread, and could not take a lock that
        # this thread holds.
        self._received = self._interrupts = self._raised = False

    def install(self) -> None:
        """Handle Ctrl-C and SIGTERM from now on, and SIGALRM for an interrupt that has to wait."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
            signal.signal(number, self._receive)

    def is_set(self) -> bool:
        """Return whether a signal was received."""
        return self._received

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """Let the first signal raise KeyboardInterrupt in this block, or before it if the signal
        came earlier.

        What fails because of the signal raises KeyboardInterrupt, too.
        """
        self._interrupts = True
        try:
            if self._received:
                raise KeyboardInterrupt
            yield
        except Exception as failure:
            if self._received:
                raise KeyboardInterrupt from failure
            raise
        finally:
            self._interrupts = False
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _receive(self, _: int, frame: FrameType | None) -> None:
        self._received = True
        if not self._interrupts or self._raised:
            return
        if _imports(frame):
            # A compiled module swallows the exception, or has Python end by the signal later.
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)
            return
        self._raised = True
        raise KeyboardInterrupt


def _imports(frame: FrameType | None) -> bool:
    """Return whether an import is under way in this frame or one that called it."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
