"""Owners who fight over one partition while their connections are cut, and what the store holds
afterwards.

The log is endless and known: the frame at an offset has that offset as its lap clock, and no
sequence, so that nothing but the fence and the transaction keeps it from being stored twice. Each
frame must be there once, up to the store's position.
"""

import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import psycopg
import pyarrow as pa

from analytics.model.channels import CHANNELS, FRAMES
from ingest.batching.partition_log import Partition
from ingest.batching.write_batch import SessionProgress, WriteBatch
from ingest.errors import PartitionTaken, SessionsChanged, StoreUnavailable
from ingest.settings import DatabaseSettings
from ingest.store.partition_writer import Ownership, PartitionWriter
from tests.waiting import WITHIN_S

PARTITION = Partition("rivals", 0)
_STARTED_AT_US = 1_767_268_800_000_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the store holds of the offsets before its position."""

    position: int
    lost: int
    twice: int
    invented: int
    books_agree: bool
    cuts: int
    takeovers: int

    @property
    def exactly_once(self) -> bool:
        """Each frame, once, and the session knows how many."""
        return (self.lost, self.twice, self.invented, self.books_agree) == (0, 0, 0, True)


def fight(
    database_url: str, stores: Sequence[type[PartitionWriter]], *, duration_s: float, seed: int
) -> Verdict:
    """Let an owner of each kind of store write the log against the others: for so long, and until
    enough was tried.
    """
    over = threading.Event()
    rivals = [
        _Rival(store, database_url, random.Random(seed + n), over) for n, store in enumerate(stores)
    ]
    threads = [threading.Thread(target=rival.run) for rival in rivals]
    for thread in threads:
        thread.start()
    cuts, until_s = 0, time.monotonic() + duration_s
    try:
        # A busy machine may have done next to nothing by then.
        while (
            time.monotonic() < until_s
            or min(cuts, _takeovers(rivals)) <= 10
            or _stored(database_url) <= 100
        ):
            assert time.monotonic() < until_s + WITHIN_S, "the rivals hardly write"
            cuts += _cut_connections(database_url, random.Random(seed + cuts), duration_s / 4)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    return _judge(database_url, cuts, _takeovers(rivals))


class _Rival:
    """Claims the partition, writes, loses it, claims it again: a worker without a broker."""

    def __init__(
        self,
        store: type[PartitionWriter],
        database_url: str,
        chance: random.Random,
        over: threading.Event,
    ) -> None:
        self._store = store
        self._settings = DatabaseSettings(url=database_url)
        self._chance = chance
        self._over = over
        self._fence: int | None = None
        self.takeovers = 0

    def run(self) -> None:
        while not self._over.is_set():
            try:
                with self._store(self._settings, PARTITION) as store:
                    self._write(store, self._claim(store))
            except PartitionTaken:
                self._fence = None
                self._over.wait(self._chance.uniform(0, 0.05))
            except (StoreUnavailable, SessionsChanged):
                continue

    def _claim(self, store: PartitionWriter) -> Ownership:
        if self._fence is not None:
            return store.resume(self._fence)
        self.takeovers += 1
        ownership = store.take_over("rival", first_offset=0)
        self._fence = ownership.fence
        return ownership

    def _write(self, store: PartitionWriter, ownership: Ownership) -> None:
        session = store.open_sessions(["endless"], {})["endless"]
        position = ownership.next_offset
        while not self._over.is_set():
            end = position + self._chance.randint(1, 50)
            store.write(chunk(session.id, position, end), ownership.fence)
            position = end


def chunk(session_id: int, start: int, end: int) -> WriteBatch:
    """The frames of ``[start, end)``."""
    offsets = np.arange(start, end)
    times_us = _STARTED_AT_US + 16_000 * offsets
    columns: dict[str, pa.Array] = {
        "time": pa.array(times_us, pa.timestamp("us", tz="UTC")),
        "sequence": pa.nulls(len(offsets), pa.int64()),
        "session_id": pa.array(np.full(len(offsets), session_id), pa.int32()),
        **{c.name: pa.array(np.zeros(len(offsets)), pa.float64()).cast(c.arrow) for c in CHANNELS},
        "lap_clock_ms": pa.array(offsets, pa.int32()),
    }
    progress = SessionProgress(
        session_id,
        "{}",
        len(offsets),
        int(times_us[0]),
        int(times_us[-1]),
        start,
        int(times_us[0]),
        "rivals",
    )
    frames = pa.table([columns[name] for name in FRAMES.names], schema=FRAMES)
    return WriteBatch(start, end, frames, progress=(progress,))


def _cut_connections(database_url: str, chance: random.Random, duration_s: float) -> int:
    """End a rival's connection every few milliseconds, whatever it is doing."""
    cuts, deadline = 0, time.monotonic() + duration_s
    with psycopg.connect(database_url, autocommit=True) as conn:
        while time.monotonic() < deadline:
            time.sleep(chance.uniform(0.01, 0.08))
            cuts += conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname ="
                " current_database() AND pid <> pg_backend_pid() AND application_name LIKE"
                " 'purple-sector %' ORDER BY random() LIMIT 1"
            ).rowcount
    return cuts


def _takeovers(rivals: Sequence[_Rival]) -> int:
    return sum(rival.takeovers for rival in rivals)


def _stored(database_url: str) -> int:
    with psycopg.connect(database_url) as conn:
        (frames,) = conn.execute("SELECT count(*) FROM telemetry").fetchone() or (0,)
    return int(frames)


def _judge(database_url: str, cuts: int, takeovers: int) -> Verdict:
    with psycopg.connect(database_url) as conn:
        (position,) = conn.execute("SELECT next_offset FROM partition_offsets").fetchone() or (0,)
        stored = [offset for (offset,) in conn.execute("SELECT lap_clock_ms FROM telemetry")]
        (frames,) = conn.execute("SELECT frames FROM sessions").fetchone() or (0,)
    distinct = set(stored)
    return Verdict(
        position=position,
        lost=position - sum(offset < position for offset in distinct),
        twice=len(stored) - len(distinct),
        invented=sum(offset >= position for offset in distinct),
        books_agree=frames == len(stored),
        cuts=cuts,
        takeovers=takeovers,
    )


class NoGrip(PartitionWriter):
    """Takes over without ending its predecessor's connection, as through a pooler: the fence alone
    must do.
    """

    def take_over(self, owner: str, *, first_offset: int) -> Ownership:
        with self._reachable():
            # The row names a connection that is nobody's.
            self._conn.execute("UPDATE partition_offsets SET backend_start = 'epoch'")
        return super().take_over(owner, first_offset=first_offset)


class RowsFirst(NoGrip):
    """A mistake: the rows are committed, and then the position is."""

    def _advance_and_commit(self, chunk: WriteBatch, fence: int) -> None:
        self._conn.execute("COMMIT")
        self._conn.execute("BEGIN")
        super()._advance_and_commit(chunk, fence)


class PositionFirst(NoGrip):
    """A mistake: the position is committed, and then the rows are."""

    def write(self, chunk: WriteBatch, fence: int) -> None:
        with self._reachable():
            self._conn.execute("BEGIN")
            self._advance_and_commit(chunk, fence)
            self._conn.execute("BEGIN")
            self._copy_frames(chunk.frames)
            self._conn.execute("COMMIT")
