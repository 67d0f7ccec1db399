"""Holds the records of one session that the broker has not acknowledged yet, in order.

Pure: knows no Kafka. Records wait in ``unsent`` until the producer takes them, then in
``in_flight`` until the broker acknowledges them. A new producer gets both again, oldest first. The
rule to remember: only a confirmed record leaves, and always the oldest. It is a window onto the
spool, where frames wait for as long as it takes.
"""

from collections import deque
from typing import NamedTuple


class OutgoingRecord(NamedTuple):
    """A value to produce; ``sequence`` is 0 for the session's facts, which are not a frame."""

    sequence: int
    timestamp_ms: int
    value: bytes


class InFlightWindow:
    """Window of at most ``capacity`` waiting records; check `full` before adding one."""

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
        """Move the oldest unsent record to the records in flight: the producer has taken it."""
        self.in_flight.append(self.unsent.popleft())

    def confirm(self) -> OutgoingRecord:
        """Remove and return the oldest record in flight: the broker has it."""
        return self.in_flight.popleft()

    def rewind(self) -> int:
        """Move the records in flight back to the unsent ones: the producer is gone. Return their
        number.
        """
        returned = len(self.in_flight)
        self.unsent.extendleft(reversed(self.in_flight))
        self.in_flight.clear()
        return returned

    def frames(self) -> list[int]:
        """Return the sequences of the waiting frames, ascending."""
        return [
            r.sequence for waiting in (self.in_flight, self.unsent) for r in waiting if r.sequence
        ]
