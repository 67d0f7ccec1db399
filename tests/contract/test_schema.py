"""The schema: made once by whoever comes first, and brought up to date under frames that are
there.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import psycopg
from psycopg import sql

from ingest.store.schema.migrations import migrate
from tests.contract.deadlocks import goes_on_after_a_deadlock, waiting_for_locks
from tests.contract.test_store import FreezesInCopy
from tests.service.owner import Owner, drove, rows
from tests.waiting import WITHIN_S, wait_until

SEQUENCES = "SELECT sequence FROM telemetry ORDER BY sequence"


def test_migrating_again_changes_nothing(database, owner):
    owner.write(*drove("a", 1))
    before = shape(database.url)
    with psycopg.connect(database.url, autocommit=True) as conn:
        migrate(conn)

    assert shape(database.url) == before
    owner.write(*drove("a", 2))


def test_two_may_migrate_at_once(database):
    """Two machines of a cluster that start together."""
    before = shape(database.url)
    with psycopg.connect(database.url, autocommit=True) as conn:
        conn.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    start = threading.Barrier(2)

    def bring_up_to_date(_: int) -> None:
        with psycopg.connect(database.url, autocommit=True) as conn:
            start.wait(WITHIN_S)
            migrate(conn)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(bring_up_to_date, range(2)))

    assert shape(database.url) == before


def test_a_batch_that_is_under_way_is_waited_for(database):
    """It has written its frames and not yet its sessions: who upgrades must not take those in
    between.
    """
    with Owner(database.url, made=FreezesInCopy) as owner, ThreadPoolExecutor(2) as pool:
        writing = pool.submit(owner.write, *drove("a", 1))
        assert owner.store.froze.wait(WITHIN_S)
        upgrading = pool.submit(upgrade, database.url)
        wait_until(lambda: waiting_for_locks(database.url) == 1)
        owner.store.woken.set()
        writing.result(WITHIN_S)
        upgrading.result(WITHIN_S)

    assert rows(database.url, SEQUENCES) == [(1,)]


def test_an_upgrade_that_the_server_ends_for_others_is_tried_again(database):
    """Somebody reads laps, and then their sessions."""
    upgrading = partial(upgrade, database.url)
    reading = {"first": "SELECT FROM laps", "then": "SELECT FROM sessions"}
    wait_until(lambda: goes_on_after_a_deadlock(database.url, upgrading, **reading))


def upgrade(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        migrate(conn)


def test_new_channel_is_empty_in_the_frames_that_are_there(database, owner):
    """What they had is not known, and is no 0."""
    owner.write(*drove("a", 1, 2))
    add_channel(database.url, "rpm")
    with Owner(database.url) as later:
        later.write(*drove("b", 3))

    assert rows(database.url, "SELECT sequence, rpm FROM telemetry ORDER BY 1") == [
        (1, None),
        (2, None),
        (3, 7000),
    ]


def test_upgrade_lets_channels_be_unknown(database, owner):
    """Until 622aa62 a frame had to have these, and a store that was made then still says so."""
    with psycopg.connect(database.url, autocommit=True) as conn:
        for column in ("lap_number", "speed_kmh", "gear"):
            conn.execute(f"ALTER TABLE telemetry ALTER COLUMN {column} SET NOT NULL")
        migrate(conn)
        conn.execute("INSERT INTO telemetry (time, session_id, rpm) VALUES (now(), 1, 7000)")

    assert rows(database.url, "SELECT lap_number, speed_kmh, gear, rpm FROM telemetry") == [
        (None, None, None, 7000)
    ]


def test_upgrade_renames_what_older_stores_called_otherwise(database, owner):
    """Rows keep their values, and the session goes on where the store had it."""
    owner.write(*drove("a", 1, 2, 5))
    with psycopg.connect(database.url, autocommit=True) as conn:
        conn.execute("UPDATE sessions SET reported_at = '2026-01-02'")
        conn.execute("ALTER TABLE sessions RENAME COLUMN reported_at TO told_at")
        conn.execute("ALTER TABLE gaps RENAME COLUMN resolved_at TO healed_at")
        conn.execute("ALTER INDEX gaps_open_seen_at RENAME TO gaps_asked_for")
        conn.execute("ALTER TABLE partition_offsets RENAME TO positions")
        conn.execute("ALTER INDEX partition_offsets_pkey RENAME TO positions_pkey")
        before = conn.execute("SELECT next_offset, fence FROM positions").fetchall()
        migrate(conn)

    assert rows(database.url, "SELECT next_offset, fence FROM partition_offsets") == before
    assert rows(database.url, "SELECT reported_at::date::text FROM sessions") == [("2026-01-02",)]
    with Owner(database.url) as later:
        later.write(*drove("a", 3, 4))
    assert rows(database.url, SEQUENCES) == [(n,) for n in range(1, 6)]
    assert rows(
        database.url, "SELECT from_sequence, to_sequence, resolved_at IS NULL FROM gaps"
    ) == [(3, 4, False)]
    indexes = "SELECT indexname FROM pg_indexes WHERE tablename = 'partition_offsets'"
    assert rows(database.url, indexes) == [("partition_offsets_pkey",)]


def test_session_goes_on_after_a_new_channel_came(database, owner):
    """Its first frames know nothing of the channel."""
    owner.write(*drove("a", 1, 2))
    add_channel(database.url, "rpm")
    with Owner(database.url) as later:
        later.write(*drove("a", 3))

    assert rows(database.url, SEQUENCES) == [(1,), (2,), (3,)]


def add_channel(url: str, name: str) -> None:
    """As if this version were the first one to have it."""
    with psycopg.connect(url, autocommit=True) as conn:
        # With the summaries of it, which come back too.
        conn.execute(
            sql.SQL("ALTER TABLE telemetry DROP COLUMN {} CASCADE").format(sql.Identifier(name))
        )
        migrate(conn)


def shape(url: str) -> list[tuple]:
    return rows(
        url,
        "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns"
        " WHERE table_schema = 'public' ORDER BY table_name, ordinal_position",
    )
