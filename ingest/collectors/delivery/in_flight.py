"""The records of one session that the broker has not acknowledged yet, in order.

Pure: knows no Kafka. Records wait in ``unsent`` until the producer takes them, then in ``in_flight`` until the broker
acknowledges them; a new producer gets both again, oldest first. The rule to remember: only a confirmed record leaves,
and always the oldest. It is a window onto the spool, where frames wait for as long as it takes.
"""

from collections import deque
from typing import NamedTuple


class OutgoingRecord(NamedTuple):
    """A value to produce; ``sequence`` is 0 where it is not a frame but the session's facts."""

    sequence: int
    timestamp_ms: int
    value: bytes


class InFlightWindow:
    """What waits, at most ``capacity`` records; who adds asks `full` first."""

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, not {capacity}")
        self.capacity = capacity
        self.unsent: deque[OutgoingRecord] = deque()
        self.in_flight: deque[OutgoingRecord] = deque()

    def __len__(self) -> int:
        return len(self.unsent) + len(self.in_flight)

    @property
    def full(self) -> bool:
        return len(self.unsent) + len(self.in_flight) >= self.capacity

    def add(self, record: OutgoingRecord) -> None:
        self.unsent.append(record)

    def sent(self) -> None:
        """The producer has taken the oldest unsent record."""
        self.in_flight.append(self.unsent.popleft())

    def confirm(self) -> OutgoingRecord:
        """The broker has the oldest record in flight."""
        return self.in_flight.popleft()

    def rewind(self) -> int:
        """The producer is gone: what was in flight is unsent again. Returns how many records that are."""
        returned = len(self.in_flight)
        self.unsent.extendleft(reversed(self.in_flight))
        self.in_flight.clear()
        return returned

    def frames(self) -> list[int]:
        """The sequences that wait, ascending."""
        return [r.sequence for waiting in (self.in_flight, self.unsent) for r in waiting if r.sequence]
