"""Things to do soon, but each no more often than once in a while. Pure: time is an argument."""

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Throttle(Generic[K]):
    """Whoever wants a thing done that was done less than ``every_s`` ago waits for it."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._wanted: dict[K, float] = {}
        self._done: dict[K, float] = {}

    def want(self, key: K, *, now: float) -> None:
        """Have it done: at once, or when its time has come again."""
        self._wanted.setdefault(key, max(now, self._done.get(key, now - self._every_s) + self._every_s))

    def due(self, *, now: float) -> list[K]:
        """What to do now; it counts as done."""
        due = [key for key, at in self._wanted.items() if now >= at]
        for key in due:
            del self._wanted[key]
        self._done = {key: at for key, at in self._done.items() if now < at + self._every_s} | dict.fromkeys(due, now)
        return due
