"""Defines the interface of a spool, where a session's records wait for the broker, and the spool in
memory.

The producer takes each record in order, and acknowledges it when the broker has it, the oldest
first. In between, a record is in flight. A new producer takes those in flight again. A restarted
collector takes the unacknowledged records. The rule to remember: a spool never gives up an
unacknowledged record.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import structlog

from ingest.collectors.delivery.records import Encoding, OutgoingRecord

log = structlog.get_logger()

#: A quarter of an hour at 60 Hz, in some 15 MB.
CAPACITY_RECORDS = 50_000


@dataclass(frozen=True, slots=True)
class SpooledSession:
    """The key, user and encoding that all records of a session share."""

    key: str
    user_id: str
    encoding: Encoding


class Spool(Protocol):
    """Interface of a spool with the records of one session. One thread uses it."""

    @property
    def session(self) -> SpooledSession:
        """Return the session of the records."""

    @property
    def partition(self) -> int | None:
        """Return the partition to produce to, once the choice is saved."""
        ...

    @property
    def has_room(self) -> bool:
        """Return whether to append now.

        A caller that cannot wait appends all the same where the spool gives room by other means.
        """
        ...

    @property
    def waiting(self) -> int:
        """Return the number of appended frames that are neither acknowledged nor dropped."""
        ...

    @property
    def dropped(self) -> int:
        """Return the number of frames for which there was no room."""
        ...

    @property
    def in_flight(self) -> int:
        """Return the number of records taken and not acknowledged."""
        ...

    @property
    def drained(self) -> bool:
        """Return whether everything appended is acknowledged.

        For a session that is over, this is known once `take` has returned None.
        """
        ...

    def append(self, record: OutgoingRecord) -> None:
        """Keep a record; sequences ascend, and are 0 for facts."""
        ...

    def take(self) -> OutgoingRecord | None:
        """Return the oldest record that was not taken yet; None if there is none now."""
        ...

    def acknowledge(self) -> OutgoingRecord:
        """Remove and return the oldest record in flight: the broker has it."""
        ...

    def rewind(self, records: int | None = None) -> int:
        """Put the newest ``records`` in flight back, to be taken again; None: all of them.

        Returns their number.
        """
        ...

    def choose(self, partition: int) -> None:
        """Save the partition of the session; `partition` returns it once it is saved."""
        ...

    def tend(self, *, now: float) -> None:
        """Do the work that is due at the time ``now``, in seconds of any monotonic clock."""
        ...

    def close(self) -> None:
        """Close the spool; the caller must not append, take or acknowledge after it."""
        ...


OpenSpool = Callable[[SpooledSession], Spool]
_T = TypeVar("_T")


def rewind(taken: deque[_T], untaken: deque[_T], records: int | None) -> int:
    """Move the newest ``records`` of ``taken`` to the front of ``untaken``; None: all of them.

    Returns their number.
    """
    moved = len(taken) if records is None else records
    for _ in range(moved):
        untaken.appendleft(taken.pop())
    return moved


class MemorySpool:
    """Spool of at most ``capacity`` records in memory, for a car that can be driven again.

    The caller checks `has_room` before it appends. ``for_game``: the game cannot wait, so there is
    always room. In a full spool the newest frame replaces the one before. The first frame after the
    loss shows the store the gap before it.
    """

    def __init__(
        self, session: SpooledSession, capacity: int = CAPACITY_RECORDS, *, for_game: bool = False
    ) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, not {capacity}")
        self.session = session
        self.partition: int | None = None
        self.waiting = self.dropped = 0
        self._capacity, self._for_game = capacity, for_game
        self._untaken: deque[OutgoingRecord] = deque()
        self._taken: deque[OutgoingRecord] = deque()

    @property
    def has_room(self) -> bool:
        """Return whether the game may add a record."""
        return self._for_game or not self._full

    @property
    def in_flight(self) -> int:
        """Return the number of records taken and not acknowledged."""
        return len(self._taken)

    @property
    def drained(self) -> bool:
        """Return whether no record is left."""
        return not self._untaken and not self._taken

    @property
    def _full(self) -> bool:
        return len(self._untaken) + len(self._taken) >= self._capacity

    def append(self, record: OutgoingRecord) -> None:
        """Add a record at the end."""
        if self._for_game and self._full and self._untaken and self._untaken[-1].sequence:
            if not self.dropped:
                log.error("no room in memory, frames are lost", session=self.session.key)
            self._untaken.pop()
            self.dropped += 1
            self.waiting -= 1
        self._untaken.append(record)
        self.waiting += record.sequence > 0

    def take(self) -> OutgoingRecord | None:
        """Return the next record that was not taken; None if there is none."""
        if not self._untaken:
            return None
        self._taken.append(self._untaken.popleft())
        return self._taken[-1]

    def acknowledge(self) -> OutgoingRecord:
        """Remove and return the oldest taken record."""
        record = self._taken.popleft()
        self.waiting -= record.sequence > 0
        return record

    def rewind(self, records: int | None = None) -> int:
        """Put the newest taken records back, all by default; return their number."""
        return rewind(self._taken, self._untaken, records)

    def choose(self, partition: int) -> None:
        """Remember the partition of the session."""
        self.partition = partition

    def tend(self, *, now: float) -> None:
        """Do nothing: memory needs no upkeep."""

    def close(self) -> None:
        """Do nothing: memory holds nothing open."""
