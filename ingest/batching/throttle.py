"""Throttles repeated work: each key runs soon, but no more often than once per interval.

Pure: time is an argument.
"""

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Throttle(Generic[K]):
    """A throttle: a key that ran less than ``every_s`` ago waits."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._wanted: dict[K, float] = {}
        self._done: dict[K, float] = {}

    def __len__(self) -> int:
        return len(self._wanted)

    def want(self, key: K, *, now: float) -> None:
        """Request a run of this key: at once, or when its interval is over."""
        self._wanted.setdefault(
            key, max(now, self._done.get(key, now - self._every_s) + self._every_s)
        )

    def due(self, *, now: float) -> list[K]:
        """Return the keys to run now; they count as done."""
        due = [key for key, at in self._wanted.items() if now >= at]
        for key in due:
            del self._wanted[key]
        self._done = {
            key: at for key, at in self._done.items() if now < at + self._every_s
        } | dict.fromkeys(due, now)
        return due
