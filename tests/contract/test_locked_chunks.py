"""A chunk that is being compressed lets nobody write: late frames for it wait, and live ones do not
wait for them.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from ingest.batching.partition_log import Partition
from ingest.errors import PartitionTaken, StoreBusy
from ingest.store.locked_chunks import LockedChunk
from ingest.store.partition_writer import PartitionWriter
from ingest.store.removal.deletions import Erased, delete_session, erase_deleted
from ingest.store.schema.edition import read_edition
from tests.conftest import Database
from tests.service.owner import PARTITION, Owner, drove, rows

NOW_MS = time.time_ns() // 1_000_000
STORED = (
    "SELECT key, sequence FROM telemetry t JOIN sessions s ON s.id = t.session_id ORDER BY 1, 2"
)
PENDING = (
    "SELECT key, sequence FROM telemetry_pending t JOIN sessions s ON s.id = t.session_id ORDER BY"
    " 1, 2"
)
NOTHING: list[tuple[str, int]] = []


@pytest.fixture(scope="session")
def database_server(request: pytest.FixtureRequest) -> str:
    """The server that DATABASE_URL names, else one with TimescaleDB: only that has chunks."""
    return os.environ.get("DATABASE_URL") or str(request.getfixturevalue("timescaledb_server"))


@pytest.fixture
def database(database: Database) -> Database:
    with psycopg.connect(database.url) as conn:
        if not read_edition(conn).hypertable:
            pytest.skip("the server that DATABASE_URL names has no TimescaleDB")
    return database


@contextmanager
def locked(url: str, session: str) -> Iterator[None]:
    """The chunk with a session's frames, locked as the columnstore job does."""
    with psycopg.connect(url, application_name="Columnstore Policy [1000]") as conn:
        (chunk,) = conn.execute(
            "SELECT DISTINCT t.tableoid::regclass::text FROM telemetry t JOIN sessions s ON s.id ="
            " session_id WHERE key = %s",
            [session],
        ).fetchone() or ("",)
        conn.execute(f"LOCK TABLE {chunk} IN EXCLUSIVE MODE".encode())
        yield


def of(key: str, *sequences: int) -> list[tuple[str, int]]:
    return [(key, sequence) for sequence in sequences]


def test_live_frames_go_on_and_late_ones_wait(database, owner: Owner) -> None:
    owner.write(*drove("late", 1, 2))
    with locked(database.url, "late"):
        owner.write(*drove("late", 3, 4), *drove("live", 1, 2, started_at_ms=NOW_MS))
        owner.write(*drove("live", 3, started_at_ms=NOW_MS))

        assert rows(database.url, STORED) == of("late", 1, 2) + of("live", 1, 2, 3)
        assert rows(database.url, PENDING) == of("late", 3, 4)
        assert rows(database.url, "SELECT received::text FROM sessions WHERE key = 'late'") == [
            ("{[1,5)}",)
        ]
        assert owner.store.move_pending() == 0

    assert owner.store.move_pending() == 2
    assert rows(database.url, STORED) == of("late", 1, 2, 3, 4) + of("live", 1, 2, 3)
    assert rows(database.url, PENDING) == NOTHING
    assert [late.session_key for late in owner.store.late_sessions()] == ["late"]
    assert owner.store.move_pending() == 0


def test_chunk_that_is_locked_after_a_look_is_waited_for_once(database, owner: Owner) -> None:
    """Frames of today are stored without a look, and then one is taken before every batch until it
    is free.
    """
    owner.store._conn.execute("SET lock_timeout = '100ms'")
    owner.write(*drove("a", 1, started_at_ms=NOW_MS))
    with locked(database.url, "a"):
        owner.write(*drove("a", 2, started_at_ms=NOW_MS))
        owner.write(*drove("a", 3, started_at_ms=NOW_MS))
        assert rows(database.url, PENDING) == of("a", 2, 3)
    owner.write(*drove("a", 4, started_at_ms=NOW_MS))

    assert owner.store.move_pending() == 2
    assert rows(database.url, STORED) == of("a", 1, 2, 3, 4)


class LooksTooEarly(PartitionWriter):
    """A writer whose first look at the locks was just before the chunk was locked."""

    looks = 0

    def _locked_chunks(self) -> list[LockedChunk]:
        self.looks += 1
        return super()._locked_chunks() if self.looks > 1 else []


def test_late_frames_wait_briefly_for_a_chunk_that_is_locked_after_a_look(database) -> None:
    """Live frames of their batch wait with them: however long others are waited for."""
    with Owner(database.url) as first:
        first.write(*drove("late", 1))
    with Owner(database.url, made=LooksTooEarly) as owner, locked(database.url, "late"):
        owner.store._conn.execute("SET lock_timeout = 0")
        owner.store._conn.execute("SET statement_timeout = '20s'")
        owner.write(*drove("late", 2), *drove("live", 1, started_at_ms=NOW_MS))

        assert rows(database.url, STORED) == of("late", 1) + of("live", 1)
        assert rows(database.url, PENDING) == of("late", 2)


def test_who_was_replaced_puts_nothing_aside(database, owner: Owner) -> None:
    owner.write(*drove("late", 1, 2))
    chunk = owner.chunk(*drove("late", 3))
    with locked(database.url, "late"), Owner(database.url) as successor:
        successor.write(*drove("late", 3))
        assert rows(database.url, PENDING) == of("late", 3)
        with Owner(database.url, fence=successor.fence) as again, pytest.raises(PartitionTaken):
            again.store.write(chunk, owner.fence)
        assert rows(database.url, PENDING) == of("late", 3)

    with Owner(database.url) as last:
        assert last.store.move_pending() == 1
    assert rows(database.url, STORED) == of("late", 1, 2, 3)


RENAMED = Partition("renamed", 0)
WHO_HAS_IT = "SELECT topic, partition FROM sessions WHERE key = 'late'"
LONG_AGO = "UPDATE partition_offsets SET heartbeat = now() - interval '1 hour' WHERE topic = %s"


def leave_waiting(url: str, owner: Owner) -> None:
    """Frames 3 and 4 wait for the chunk of session "late"."""
    owner.write(*drove("late", 1, 2))
    with locked(url, "late"):
        owner.write(*drove("late", 3, 4))


def age_heartbeat(url: str, partition: Partition) -> None:
    with psycopg.connect(url) as conn:
        conn.execute(LONG_AGO, [partition.topic])


def test_frames_that_wait_outlive_the_name_of_their_topic(database) -> None:
    with Owner(database.url) as before:
        leave_waiting(database.url, before)
    age_heartbeat(database.url, PARTITION)

    with (
        Owner(database.url, RENAMED) as after,
        Owner(database.url, Partition("renamed", 1)) as other,
    ):
        assert after.store.adopt_orphans() == ["late"]
        assert other.store.adopt_orphans() == []
        assert after.store.move_pending() == 2
        assert other.store.move_pending() == 0
        assert [late.session_key for late in after.store.late_sessions()] == ["late"]
    assert rows(database.url, STORED) == of("late", 1, 2, 3, 4)
    assert rows(database.url, PENDING) == NOTHING


def test_sessions_of_a_worker_that_runs_stay_with_it(database, owner: Owner) -> None:
    leave_waiting(database.url, owner)

    with Owner(database.url, RENAMED) as other:
        assert other.store.adopt_orphans() == []
    assert rows(database.url, WHO_HAS_IT) == [(PARTITION.topic, PARTITION.index)]
    assert owner.store.move_pending() == 2


def test_who_was_only_frozen_reads_sessions_again_that_were_taken_from_it(
    database, owner: Owner
) -> None:
    """What it remembers lacks the frames that another worker has moved."""
    leave_waiting(database.url, owner)
    age_heartbeat(database.url, PARTITION)
    with Owner(database.url, RENAMED) as other:
        assert other.store.adopt_orphans() == ["late"]
        assert other.store.move_pending() == 2

    with pytest.raises(PartitionTaken):
        owner.write(*drove("late", 5))
    with Owner(database.url) as again:
        again.write(*drove("late", 5))
    assert rows(database.url, STORED) == of("late", 1, 2, 3, 4, 5)


def test_other_lock_is_named(database, owner: Owner) -> None:
    """The database does answer."""
    owner.store._conn.execute("SET lock_timeout = '100ms'")
    owner.write(*drove("a", 1))
    with psycopg.connect(database.url) as conn:
        conn.execute("LOCK TABLE sessions IN EXCLUSIVE MODE")
        with pytest.raises(
            StoreBusy, match=r"is locked: table sessions is locked \(ExclusiveLock\) by process \d+"
        ):
            owner.store.write(owner.chunk(*drove("a", 2)), owner.fence)
    owner.sessions.clear()
    owner.write(*drove("a", 2))

    assert rows(database.url, STORED) == of("a", 1, 2)


def test_deleted_session_in_a_locked_chunk_is_erased_later_and_keeps_nobody_waiting(
    database, owner: Owner
) -> None:
    owner.write(*drove("late", 1, 2), *drove("live", 1, started_at_ms=NOW_MS))
    with psycopg.connect(database.url, autocommit=True) as conn:
        with locked(database.url, "late"):
            assert delete_session(conn, "late", "")
            assert delete_session(conn, "live", "")
            # A DELETE locks every chunk while it is planned, also those that its times rule out.
            assert erase_deleted(conn) == Erased(0, 2)
            owner.sessions.clear()
            owner.write(*drove("goes on", 1, 2, started_at_ms=NOW_MS))
        assert erase_deleted(conn) == Erased(2, 0)
        assert erase_deleted(conn) == Erased(0, 0)

    assert rows(database.url, STORED) == of("goes on", 1, 2)
    assert rows(database.url, "SELECT count(*) FROM telemetry") == [(2,)]
