"""Carries one partition from Kafka to the store: read, decode, time the laps, store, go on.

A worker never reads on while a batch waits for the store: Kafka is the queue. After any error it forgets everything, asks
the store where the partition stands, and goes on from there; it never stores a batch again from memory. When another worker
has taken the partition over it ends.
"""

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from ingest.chunk import Chunk, OpenSession, TimedLap, make_chunk
from ingest.decode import decode, reject_absurd_times
from ingest.errors import (
    BrokerUnavailable,
    OffsetsLost,
    PartitionTaken,
    SessionsChanged,
    StoreRefused,
    StoreUnavailable,
)
from ingest.partition import Batch, Partition, PartitionLog
from ingest.settings import DatabaseSettings, IngestSettings, KafkaSettings
from ingest.source import Source
from ingest.store import Ownership, Store

log = structlog.get_logger()

_READ_S = 0.05  # how long a read may wait: short, so that a batch closes on time and a stop is heard
_HEARTBEAT_S = 2.0
_BACKOFF_S = (0.1, 5.0)

LapsListener = Callable[[Sequence[TimedLap]], None]


@dataclass(slots=True)
class Progress:
    """What a worker has done, for people to read. Counts are since it started."""

    state: str = "starting"
    next_offset: int = 0
    end_offset: int = 0
    batches: int = 0
    frames: int = 0
    laps: int = 0
    resent: int = 0
    dead_letters: int = 0
    errors: int = 0
    last_error: str = ""


class PartitionWorker:
    """The owner of one partition. ``run`` ends when it is told to stop or when somebody else takes over."""

    def __init__(
        self,
        partition: Partition,
        *,
        kafka: KafkaSettings,
        database: DatabaseSettings,
        ingest: IngestSettings,
        owner: str,
        on_laps: LapsListener,
    ) -> None:
        self.partition = partition
        self.progress = Progress()
        self._kafka = kafka
        self._database = database
        self._ingest = ingest
        self._owner = owner
        self._on_laps = on_laps
        self._fence: int | None = None
        self._log = log.bind(partition=str(partition), owner=owner)

    def run(self, stop: threading.Event) -> None:
        """Own the partition until ``stop`` is set or it is taken over; outlive brokers and databases."""
        delay_s = _BACKOFF_S[0]
        while not stop.is_set():
            batches_before = self.progress.batches
            try:
                self._own(stop)
            except PartitionTaken as taken:
                self.progress.state = "taken over"
                self._log.warning("partition taken over", reason=str(taken))
                return
            except (StoreUnavailable, StoreRefused, SessionsChanged, BrokerUnavailable, OffsetsLost) as error:
                delay_s = _BACKOFF_S[0] if self.progress.batches > batches_before else min(delay_s * 2, _BACKOFF_S[1])
                self._note(error, delay_s)
                # Workers of one database that failed together should not come back together.
                stop.wait(delay_s * random.uniform(0.5, 1.0))
        self.progress.state = "stopped"

    def _note(self, error: Exception, delay_s: float) -> None:
        self.progress.state = "waiting"
        self.progress.errors += 1
        if str(error) != self.progress.last_error:
            self._log.warning("will try again", error=str(error), delay_s=round(delay_s, 2))
        self.progress.last_error = str(error)

    def _own(self, stop: threading.Event) -> None:
        with Source(self._kafka, self.partition) as source, Store(self._database, self.partition) as store:
            first, end = source.offsets()
            ownership = self._claim(store, first)
            if ownership.next_offset < first:
                lost = OffsetsLost(self.partition, ownership.next_offset, first)
                self._log.error("records were lost to retention", error=str(lost))
                store.skip_lost(ownership.fence, ownership.next_offset, first)
                ownership = Ownership(ownership.fence, first)
            self.progress.end_offset = end
            self.progress.last_error = ""
            self._log.info("reading", offset=ownership.next_offset, fence=ownership.fence)
            source.read_from(ownership.next_offset)
            _Turn(self, source, store, ownership).carry_on(stop)

    def _claim(self, store: Store, first_offset: int) -> Ownership:
        # Only the first claim may push somebody aside: one that wakes from a freeze must find out that it was replaced.
        if self._fence is None:
            ownership = store.take_over(self._owner, first_offset=first_offset)
            self._fence = ownership.fence
            return ownership
        return store.resume(self._fence)


class _Turn:
    """What a worker remembers between two errors: the sessions, and the records that wait to be stored."""

    def __init__(self, worker: PartitionWorker, source: Source, store: Store, ownership: Ownership) -> None:
        self._worker = worker
        self._source = source
        self._store = store
        self._fence = ownership.fence
        self._sessions: dict[str, OpenSession] = {}
        self._log = PartitionLog(
            worker.partition,
            ownership.next_offset,
            max_records=worker._ingest.batch_max_rows,
            max_age_s=worker._ingest.batch_max_age_ms / 1000,
        )
        self._beat_at = time.monotonic()

    def carry_on(self, stop: threading.Event) -> None:
        progress = self._worker.progress
        progress.state = "reading"
        progress.next_offset = self._log.stored
        while not stop.is_set():
            records = self._source.read(self._worker._ingest.batch_max_rows, _READ_S)
            now = time.monotonic()
            self._log.append(records, now=now)
            if self._log.due(now=now):
                self._keep(self._log.take())
                self._beat_at = now + _HEARTBEAT_S
            elif now >= self._beat_at:
                self._store.beat(self._fence)
                self._beat_at = now + _HEARTBEAT_S

    def _keep(self, batch: Batch) -> None:
        decoded = decode(batch.records.values, batch.records.keys)
        self._open_sessions(decoded.sessions)
        starts = {key: s.started_at_ms for key, s in self._sessions.items() if s.started_at_ms is not None}
        decoded = reject_absurd_times(decoded, starts, now_ms=time.time_ns() // 1_000_000)
        chunk = make_chunk(batch, decoded, self._sessions)
        self._store.write(chunk, self._fence)
        self._log.mark_stored(batch)
        self._source.commit(batch.end)
        if chunk.laps:
            self._worker._on_laps(chunk.laps)
        self._count(chunk)

    def _open_sessions(self, keys: Sequence[str]) -> None:
        new = [key for key in keys if key not in self._sessions]
        if new:
            self._sessions |= self._store.open_sessions(new, self._source.users)

    def _count(self, chunk: Chunk) -> None:
        progress = self._worker.progress
        progress.batches += 1
        progress.next_offset = chunk.end
        progress.frames += chunk.frames.num_rows
        progress.laps += len(chunk.laps)
        progress.resent += chunk.resent
        if chunk.dead_letters:
            first = chunk.dead_letters[0]
            self._worker._log.warning(
                "dead letters", count=len(chunk.dead_letters), offset=first.offset, reason=first.reason
            )
        progress.dead_letters += len(chunk.dead_letters)
