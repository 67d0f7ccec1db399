"""The owner of a partition without a broker: records go in by hand, at the offsets that the store
expects.
"""

from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import psycopg

from ingest.batching.clock_corrections import place_in_time
from ingest.batching.partition_log import Batch, Partition, Records
from ingest.batching.write_batch import OpenSession, WriteBatch, make_chunk
from ingest.codec.decode import decode
from ingest.settings import DatabaseSettings
from ingest.store.partition_writer import PartitionWriter
from ingest.telemetry_pb2 import Session, TelemetryFrame, TelemetryMessage

STARTED_AT_MS = 1_767_268_800_000
PARTITION = Partition("telemetry", 3)

Record = tuple[bytes | None, bytes | None]


class Owner(AbstractContextManager["Owner"]):
    """A Store, and what a worker would remember beside it."""

    def __init__(
        self,
        database_url: str,
        partition: Partition = PARTITION,
        *,
        fence: int | None = None,
        made: type[PartitionWriter] = PartitionWriter,
    ) -> None:
        self.store = made(DatabaseSettings(url=database_url), partition)
        self.partition = partition
        ownership = (
            self.store.take_over("test", first_offset=0)
            if fence is None
            else self.store.resume(fence)
        )
        self.fence, self.position = ownership.fence, ownership.next_offset
        self.sessions: dict[str, OpenSession] = {}
        self.shared: frozenset[int] = frozenset()

    def __exit__(self, *_: object) -> None:
        self.store.__exit__()

    def chunk(self, *records: Record, appended_ms: int | None = None) -> WriteBatch:
        """What these records, read next, become; their times are judged where the broker got them
        ``appended_ms``.
        """
        keys, values = [key for key, _ in records], [value for _, value in records]
        end = self.position + len(records)
        batch = Batch(
            self.partition, self.position, end, Records(values, keys, np.arange(self.position, end))
        )
        decoded = decode(values, keys)
        new = [key for key in decoded.sessions if key not in self.sessions]
        self.sessions |= self.store.open_sessions(new, {})
        if appended_ms is None:
            return make_chunk(batch, decoded, self.sessions)
        placed, corrections = place_in_time(
            decoded, self.sessions, np.full(len(records), appended_ms)
        )
        return make_chunk(batch, placed, self.sessions, corrections)

    def write(self, *records: Record, appended_ms: int | None = None) -> WriteBatch:
        """Store these records; forget the sessions that another owner writes to, as a worker
        does.
        """
        chunk = self.chunk(*records, appended_ms=appended_ms)
        self.shared = self.store.write(chunk, self.fence)
        self.sessions = {
            key: session for key, session in self.sessions.items() if session.id not in self.shared
        }
        self.position = chunk.end
        return chunk


def drove(key: str, *sequences: int, started_at_ms: int = STARTED_AT_MS) -> list[Record]:
    """Records of a car's frames, 16 ms apart."""
    return [
        (
            key.encode(),
            TelemetryFrame(
                timestamp=started_at_ms + 16 * n,
                sequence=n,
                lap_number=1,
                speed=200,
                rpm=7000,
                lap_time=16 * n,
            ).SerializeToString(),
        )
        for n in sequences
    ]


def told(key: str, **facts: Any) -> Record:
    """A record with the facts of a session."""
    return key.encode(), TelemetryMessage(
        session=Session(id=key, **facts), session_id=key
    ).SerializeToString()


def rows(database_url: str, query: str, values: list[Any] | None = None) -> list[tuple[Any, ...]]:
    """Asked over a connection of its own."""
    with psycopg.connect(database_url) as conn:
        return conn.execute(query, values).fetchall()
