"""Buffers the records of one Kafka partition that are not in the store yet.

A PartitionLog buffers records and reports when they are due. It uses no Kafka, SQL, Ray or clock:
the worker passes it records and the time, and takes batches. An offset is always that of the *next*
record to read, as in Kafka itself. So batches tile: each starts where the one before ended, even
where Kafka skips offsets.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Offsets = npt.NDArray[np.int64]
#: The headers of one record, in order.
Headers = list[tuple[str, bytes | None]]


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """One partition of a topic."""

    topic: str
    index: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.index}]"


@dataclass(frozen=True, slots=True, eq=False)
class Records:
    """A run of records of one partition as columns of the same length, by ascending offset.

    ``appended_ms`` is the broker's time of receipt of each, in ms since the Unix epoch. It is 0
    where the broker does not report it.
    """

    values: list[bytes | None] = field(repr=False)
    keys: list[bytes | None] = field(repr=False)
    offsets: Offsets
    appended_ms: Offsets = field(default_factory=lambda: np.zeros(0, dtype=np.int64), repr=False)

    def __post_init__(self) -> None:
        if not len(self.appended_ms):
            object.__setattr__(self, "appended_ms", np.zeros(len(self.offsets), dtype=np.int64))
        if not len(self.values) == len(self.keys) == len(self.offsets):
            raise ValueError(
                f"records: {len(self.values)} values, {len(self.keys)} keys and {len(self.offsets)}"
                " offsets are not as many"
            )

    def __len__(self) -> int:
        return len(self.values)

    def split(self, count: int) -> "tuple[Records, Records]":
        """Return the first ``count`` records, and the others."""
        return self._slice(0, count), self._slice(count)

    def _slice(self, start: int, end: int | None = None) -> "Records":
        part = slice(start, end)
        return Records(
            self.values[part], self.keys[part], self.offsets[part], self.appended_ms[part]
        )

    def _chosen(self, mask: npt.NDArray[np.bool_]) -> "Records":
        places = np.flatnonzero(mask).tolist()
        return Records(
            [self.values[i] for i in places],
            [self.keys[i] for i in places],
            self.offsets[mask],
            self.appended_ms[mask],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """The records of ``[start, end)``. A partition's batches leave no hole."""

    partition: Partition
    start: int
    end: int
    records: Records = field(repr=False)

    def __str__(self) -> str:
        return f"{self.partition} [{self.start}, {self.end}) with {len(self.records)} records"


class PartitionLog:
    """The records between the stored and the read offset, in order: ``stored <= taken <=
    position``.

    A batch is due when ``max_records`` wait or the oldest has waited ``max_age_s``. It never holds
    more than ``max_records``. One batch may be out at a time.
    """

    def __init__(
        self, partition: Partition, position: int, *, max_records: int, max_age_s: float
    ) -> None:
        if max_records < 1:
            raise ValueError(f"max_records must be at least 1, not {max_records}")
        self.partition = partition
        self._stored = self._taken = self._position = position
        self._max_records = max_records
        self._max_age_s = max_age_s
        self._runs: deque[tuple[float, Records]] = deque()
        self._waiting = 0

    @property
    def stored(self) -> int:
        """Return the offset where the next batch to be stored starts."""
        return self._stored

    @property
    def taken(self) -> int:
        """Return the offset where the next batch to be taken starts."""
        return self._taken

    @property
    def position(self) -> int:
        """Return the offset of the next record to read."""
        return self._position

    @property
    def waiting(self) -> int:
        """Return how many records wait to be taken."""
        return self._waiting

    def append(self, records: Records, *, now: float) -> int:
        """Buffer records and return how many of them were new.

        Repeats are dropped and skipped offsets are accepted. Both are normal. A restarted consumer
        reads again from the last stored offset; transactions, compaction and retention leave holes.
        """
        new = _unseen(records, self._position)
        if len(new):
            self._runs.append((now, new))
            self._waiting += len(new)
            self._position = int(new.offsets[-1]) + 1
        return len(new)

    def due(self, *, now: float) -> bool:
        """Return whether a batch should be taken now. Never while one is out."""
        if not self._runs or self._taken != self._stored:
            return False
        oldest, _ = self._runs[0]
        return self._waiting >= self._max_records or now - oldest >= self._max_age_s

    @property
    def due_at(self) -> float:
        """Return when the oldest record that waits will have waited long enough; inf if none
        does.
        """
        return self._runs[0][0] + self._max_age_s if self._runs else math.inf

    def take(self) -> Batch:
        """Return the next batch, due or not.

        Raises ValueError while another is out, and when no record waits.
        """
        if self._taken != self._stored:
            raise ValueError(
                f"{self.partition}: the batch [{self._stored}, {self._taken}) is not stored yet"
            )
        if not self._runs:
            raise ValueError(f"{self.partition}: no record waits at {self._position}")
        records = joined(self._runs_for_batch())
        self._waiting -= len(records)
        batch = Batch(self.partition, self._taken, int(records.offsets[-1]) + 1, records)
        self._taken = batch.end
        return batch

    def mark_stored(self, batch: Batch) -> None:
        """Mark the batch that is out as stored. Raises ValueError for any other batch."""
        if (batch.start, batch.end) != (self._stored, self._taken) or batch.start == batch.end:
            raise ValueError(
                f"{self.partition}: expected the batch [{self._stored}, {self._taken}),"
                f" got [{batch.start}, {batch.end})"
            )
        self._stored = batch.end

    def _runs_for_batch(self) -> list[Records]:
        room, runs = self._max_records, []
        while self._runs and room:
            since, run = self._runs.popleft()
            if len(run) > room:
                run, rest = run.split(room)
                self._runs.appendleft((since, rest))
            runs.append(run)
            room -= len(run)
        return runs


def _unseen(records: Records, position: int) -> Records:
    """Return the records at ``position`` or after, each offset once."""
    offsets = records.offsets
    if not len(offsets) or (offsets[0] >= position and (np.diff(offsets) > 0).all()):
        return records
    before = np.maximum.accumulate(np.concatenate(([position - 1], offsets[:-1])))
    return records._chosen(offsets > before)


def joined(runs: Sequence[Records]) -> Records:
    """Return runs of records as one."""
    if len(runs) == 1:
        return runs[0]
    return Records(
        [value for run in runs for value in run.values],
        [key for run in runs for key in run.keys],
        np.concatenate([run.offsets for run in runs]),
        np.concatenate([run.appended_ms for run in runs]),
    )
