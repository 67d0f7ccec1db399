"""Holds the records of one partition that were read and not taken yet.

One thread reads for many partitions, and others store. An inbox that is full shows that its
partition is to be paused, so that neither memory nor another partition suffers.
"""

import threading
from collections import deque
from collections.abc import Sequence

from ingest.batching.partition_log import Records

#: A run of records, and when it came, in seconds of a steady clock.
Arrived = tuple[float, Records]


class Inbox:
    """A queue of records between two threads.

    It is full from ``full`` records or ``full_bytes`` on, and has room again once no more than
    ``room`` and half the bytes are left.
    """

    def __init__(self, *, full: int, room: int, full_bytes: int) -> None:
        self._full, self._room, self._full_bytes = full, room, full_bytes
        self._filled = threading.Condition()
        self._runs: deque[tuple[float, Records, int]] = deque()
        self._records = self._bytes = 0
        self._failure: Exception | None = None

    def __len__(self) -> int:
        return self._records

    @property
    def is_full(self) -> bool:
        """Return whether no more should be read for now."""
        return self._records >= self._full or self._bytes >= self._full_bytes

    @property
    def has_room(self) -> bool:
        """Return whether reading may go on after it was full."""
        return self._records <= self._room and self._bytes <= self._full_bytes // 2

    def put(self, records: Records, *, now: float) -> None:
        """Add records that came ``now``."""
        size = sum(map(len, filter(None, records.values)))
        with self._filled:
            self._runs.append((now, records, size))
            self._records += len(records)
            self._bytes += size
            self._filled.notify()

    def fail(self, failure: Exception) -> None:
        """Raise this failure from the next `take`, instead of what was read before it."""
        with self._filled:
            self._failure = failure
            self._filled.notify()

    def clear(self) -> None:
        """Forget records and failure."""
        with self._filled:
            self._runs.clear()
            self._records = self._bytes = 0
            self._failure = None

    def take(self, most: int, *, within_s: float = 0.0) -> Sequence[Arrived]:
        """Return up to ``most`` records in order, and wait for the first.

        There may be none. Raises what `fail` was given.
        """
        with self._filled:
            if within_s > 0:
                self._filled.wait_for(lambda: self._runs or self._failure, within_s)
            if self._failure is not None:
                raise self._failure
            return self._taken(most)

    def _taken(self, most: int) -> list[Arrived]:
        taken: list[Arrived] = []
        while self._runs and most > 0:
            came_at, records, size = self._runs.popleft()
            if len(records) > most:
                records, rest = records.split(most)
                rest_size = size * len(rest) // (len(records) + len(rest))
                self._runs.appendleft((came_at, rest, rest_size))
                size -= rest_size
            self._records -= len(records)
            self._bytes -= size
            most -= len(records)
            taken.append((came_at, records))
        return taken
