"""Where a session's records wait, in order, until the broker has them: what every spool does, and the one in memory.

A record is taken to be produced, and acknowledged when the broker has it, the oldest first. Who starts again takes what was
not acknowledged. The rule to remember: what was appended and not acknowledged is never given up.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from ingest.collectors.delivery.in_flight import OutgoingRecord
from ingest.collectors.delivery.records import Encoding

log = structlog.get_logger()

#: A quarter of an hour at 60 Hz, in some 15 MB.
CAPACITY_RECORDS = 50_000


@dataclass(frozen=True, slots=True)
class SpooledSession:
    """What every record of a session has in common."""

    key: str
    user_id: str
    encoding: Encoding


class Spool(Protocol):
    """The records of one session. One thread uses it."""

    @property
    def session(self) -> SpooledSession: ...

    @property
    def partition(self) -> int | None:
        """The partition to produce to, once it has been chosen and that is written down."""
        ...

    @property
    def has_room(self) -> bool:
        """Whether to append; who cannot wait appends all the same where a spool gives room by other means."""
        ...

    @property
    def waiting(self) -> int:
        """Frames that were appended and are neither acknowledged nor dropped."""
        ...

    @property
    def dropped(self) -> int:
        """Frames for which there was no room."""
        ...

    @property
    def drained(self) -> bool:
        """Everything that was appended is acknowledged; of a session that is over this is known once `take` gave None."""
        ...

    def append(self, record: OutgoingRecord) -> None:
        """Keep a record; sequences ascend, and are 0 for facts."""
        ...

    def take(self) -> OutgoingRecord | None:
        """The oldest record that was not taken yet; None: there is none at the moment."""
        ...

    def acknowledge(self) -> None:
        """The broker has the oldest record that was taken."""
        ...

    def choose(self, partition: int) -> None:
        """Write down which partition the session is on; `partition` says so when that is done."""
        ...

    def tend(self, *, now: float) -> None:
        """Do what is due at the time ``now``, in seconds of any monotonic clock."""
        ...

    def close(self) -> None:
        """Nothing is appended, taken or acknowledged after it."""
        ...


OpenSpool = Callable[[SpooledSession], Spool]


class MemorySpool:
    """For a car that can be driven again: at most ``capacity`` records; who appends asks `has_room` first.

    ``for_game``: nobody can wait. There is always room; when it is full the newest frame takes the place of the one before, so
    that the first frame after the loss tells the store what is missing before it.
    """

    def __init__(self, session: SpooledSession, capacity: int = CAPACITY_RECORDS, *, for_game: bool = False) -> None:
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
        return self._for_game or not self._full

    @property
    def drained(self) -> bool:
        return not self._untaken and not self._taken

    @property
    def _full(self) -> bool:
        return len(self._untaken) + len(self._taken) >= self._capacity

    def append(self, record: OutgoingRecord) -> None:
        if self._for_game and self._full and self._untaken and self._untaken[-1].sequence:
            if not self.dropped:
                log.error("no room in memory, frames are lost", session=self.session.key)
            self._untaken.pop()
            self.dropped += 1
            self.waiting -= 1
        self._untaken.append(record)
        self.waiting += record.sequence > 0

    def take(self) -> OutgoingRecord | None:
        if not self._untaken:
            return None
        self._taken.append(self._untaken.popleft())
        return self._taken[-1]

    def acknowledge(self) -> None:
        self.waiting -= self._taken.popleft().sequence > 0

    def choose(self, partition: int) -> None:
        self.partition = partition

    def tend(self, *, now: float) -> None:
        pass

    def close(self) -> None:
        pass
