"""Watches the partitions in which nothing happens, so that they need no worker.

A worker costs a thread, a consumer and a connection to the database. A thousand users have a
thousand topics, and fifty of them drive. So a worker ends when its user's topic is idle. One query
a second for the ends of all idle partitions shows which need a worker again.

Correctness does not depend on it: a worker that starts again takes its partition over as always,
and each partition gets a worker at least once an hour.
"""

import random
import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

import psycopg
import structlog

from ingest.batching.partition_log import Partition
from ingest.kafka.log_offsets import log_offsets
from ingest.settings import DatabaseSettings, KafkaSettings
from ingest.store.quiet_partitions import stored_partitions

log = structlog.get_logger()

_LONGEST_S = 3600.0
_ANSWER_WITHIN_S = 5.0
_LOOK_AGAIN_AFTER_S = 15.0  # after a timeout: a query without brokers takes a whole CPU


@dataclass(frozen=True, slots=True)
class IdlePartition:
    """The offset that an idle partition ends at, and the time to give it a worker all the same.

    A ``position`` of None is unknown: the store has it, or a worker must look.
    """

    position: int | None
    wake_at: float


class IdlePartitions:
    """The idle partitions of one process. Times are in seconds of a steady clock."""

    def __init__(self, kafka: KafkaSettings, database: DatabaseSettings) -> None:
        self._offsets, self._database = log_offsets(kafka), database
        self._look_at = 0.0
        self._lock = threading.Lock()
        self._idle: dict[Partition, IdlePartition] = {}
        self._failure = ""

    def add(self, partition: Partition, position: int | None = None, *, now: float) -> None:
        """Watch a partition that ended at ``position``."""
        # Not all at the same time.
        wake_at = now + random.uniform(0.5, 1.0) * _LONGEST_S
        with self._lock:
            self._idle[partition] = IdlePartition(position, wake_at)

    def keep(self, wanted: Iterable[Partition]) -> None:
        """Forget the partitions that are not among ``wanted``."""
        wanted = set(wanted)
        with self._lock:
            self._idle = {p: idle for p, idle in self._idle.items() if p in wanted}

    def positions(self) -> dict[Partition, int]:
        """Return the idle partitions and their positions; 0 is unknown."""
        with self._lock:
            return {partition: idle.position or 0 for partition, idle in self._idle.items()}

    def take_busy(self, *, now: float) -> list[Partition]:
        """Return the partitions that need a worker now, and watch them no longer."""
        if now < self._look_at:
            return []
        with self._lock:
            seen = dict(self._idle)
        located = self._located(seen)
        ends = self._ends(located)
        if located and not ends:
            self._look_at = now + _LOOK_AGAIN_AFTER_S
        busy = to_wake(located, ends, now=now)
        with self._lock:
            for partition, idle in located.items():
                if self._idle.get(partition) is seen[partition]:
                    self._idle[partition] = idle
            return [p for p in sorted(busy) if self._idle.pop(p, None) is not None]

    def _located(self, seen: Mapping[Partition, IdlePartition]) -> dict[Partition, IdlePartition]:
        """Fill in the positions from the store. A partition that nobody has read is at 0."""
        unknown = {partition.topic for partition, idle in seen.items() if idle.position is None}
        if not unknown:
            return dict(seen)
        try:
            stored = stored_partitions(self._database, unknown)
        except psycopg.Error as failure:
            self._note(str(failure).partition("\n")[0])
            return {p: idle for p, idle in seen.items() if idle.position is not None}
        return {
            partition: _with_position(idle, stored.get(partition, 0))
            for partition, idle in seen.items()
        }

    def _ends(self, places: Collection[Partition]) -> dict[Partition, int]:
        """Return the ends of the logs that answer."""
        ends, failure = self._offsets.ends(places, within_s=_ANSWER_WITHIN_S)
        if failure:
            self._note(failure)
        return ends

    def _note(self, failure: str) -> None:
        if failure != self._failure:
            log.warning("cannot look at idle partitions, will try again", reason=failure)
        self._failure = failure


def to_wake(
    idle: Mapping[Partition, IdlePartition],
    ends: Mapping[Partition, int],
    *,
    now: float,
) -> set[Partition]:
    """Return the partitions whose log does not end where they were idle, or whose time has come.

    A log may also have become shorter. One that does not answer waits.
    """
    moved = {p for p, end in ends.items() if end != idle[p].position}
    return moved | {p for p, one in idle.items() if now >= one.wake_at}


def _with_position(idle: IdlePartition, position: int | None) -> IdlePartition:
    if idle.position is not None:
        return idle
    return IdlePartition(None, 0.0) if position is None else replace(idle, position=position)
