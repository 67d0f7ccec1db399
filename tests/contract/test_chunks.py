"""Frames of many days: chunks of a hypertable where there is one, and the same answers where there
is none.
"""

import threading
from datetime import UTC, datetime

import psycopg
import pytest

from analytics.store.queries import lap_frames
from ingest.batching.partition_log import Partition
from ingest.store.schema.edition import read_edition
from tests.service.owner import PARTITION, STARTED_AT_MS, Owner, drove, rows
from tests.waiting import WITHIN_S

DAY_MS = 24 * 3_600_000
DAYS = 60


def on_day(day, key, *sequences):
    """Frames of that day, as many days after the first."""
    return drove(key, *sequences, started_at_ms=STARTED_AT_MS + day * DAY_MS)


def chunks(url):
    """How many there are; None where frames are an ordinary table."""
    with psycopg.connect(url) as conn:
        if not read_edition(conn).hypertable:
            return None
        return conn.execute("SELECT count(*) FROM show_chunks('telemetry')").fetchone()[0]


def days(url):
    query = (
        "SELECT (extract(epoch FROM time) * 1000)::bigint, sequence FROM telemetry ORDER BY time"
    )
    return [((ms - STARTED_AT_MS) // DAY_MS, sequence) for ms, sequence in rows(url, query)]


def test_every_day_has_its_frames(database, owner):
    for day in (0, 3, 6, 9):
        owner.write(*on_day(day, f"day {day}", 1, 2))

    assert days(database.url) == [(day, sequence) for day in (0, 3, 6, 9) for sequence in (1, 2)]
    assert chunks(database.url) in (4, None)


def test_late_frames_go_where_they_belong(database, owner):
    """Into a day that is long over, between the frames that it has."""
    owner.write(*on_day(0, "early", 1, 2, 5))
    owner.write(*on_day(7, "today", 1))
    owner.write(*on_day(0, "early", 4, 3))

    assert days(database.url) == [(0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (7, 1)]
    assert rows(database.url, "SELECT count(*) FROM gaps WHERE resolved_at IS NULL") == [(0,)]
    assert chunks(database.url) in (2, None)


def test_one_batch_may_span_many_days(database, owner):
    """A collector that was away for long, or one with a broken clock, within what is plausible."""
    batch = [record for day in range(DAYS) for record in on_day(day, "a", day + 1)]
    owner.write(*batch)

    assert [sequence for _, sequence in days(database.url)] == list(range(1, DAYS + 1))
    assert chunks(database.url) in (DAYS, None)


def opened_chunks(conn):
    """Those that the transaction holds a lock of."""
    query = (
        "SELECT count(DISTINCT relation) FROM pg_locks JOIN pg_class c ON c.oid = relation"
        " WHERE pid = pg_backend_pid() AND relname ~ '^_hyper_.*_chunk$'"
    )
    return conn.execute(query).fetchone()[0]


@pytest.mark.parametrize("lap_number", [1, 2])
def test_lap_is_read_from_its_day_alone(database, owner, lap_number):
    """However many days there are, before it and after: the others are ruled out before they are
    opened.
    """
    for day in range(DAYS):
        owner.write(*on_day(day, f"day {day}", *range(1, 11)))
    began_at = datetime.fromtimestamp((STARTED_AT_MS + 30 * DAY_MS) / 1000, UTC)
    with psycopg.connect(database.url, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO laps (session_id, lap_number, started_at, ended_at, lap_time_ms, frames,"
            " gaps, max_speed_kmh) SELECT id, lap, %(began)s::timestamptz + (lap - 1) * interval"
            " '88 ms', %(began)s::timestamptz + lap * interval '88 ms', 88, 5, 0, 200 FROM"
            " sessions, generate_series(1, 2) AS lap WHERE key = 'day 30'",
            {"began": began_at},
        )
    with psycopg.connect(database.url) as conn:
        frames = lap_frames(conn, "day 30", lap_number)
        opened = opened_chunks(conn)

    assert frames["sequence"].to_pylist() == [[1, 2, 3, 4, 5], [6, 7, 8, 9, 10]][lap_number - 1]
    assert opened == (1 if chunks(database.url) else 0)


def test_two_workers_make_days_at_once(database):
    """Both need every day first, and neither may wait for the other for ever."""
    failures = []

    def drive_through(partition, key):
        try:
            with Owner(database.url, partition) as owner:
                start.wait(WITHIN_S)
                for day in range(DAYS // 2):
                    owner.write(*on_day(day, key, day + 1), *on_day(day, f"{key} {day}", 1))
        except Exception as failure:
            failures.append(failure)

    start = threading.Barrier(2)
    places = {"a": PARTITION, "b": Partition("telemetry", 4)}
    threads = [
        threading.Thread(target=drive_through, args=[partition, key])
        for key, partition in places.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    # Where a worker waits for the other's new chunk for long, its frames wait in the other table
    # until they are moved.
    counts = rows(
        database.url,
        "SELECT count(*), count(DISTINCT (session_id, sequence)) FROM (SELECT session_id, sequence"
        " FROM telemetry UNION ALL SELECT session_id, sequence FROM telemetry_pending) AS f",
    )
    assert counts == [(2 * DAYS, 2 * DAYS)]
    assert rows(database.url, "SELECT sum(frames) FROM sessions") == [(2 * DAYS,)]
    assert rows(
        database.url, "SELECT partition, next_offset FROM partition_offsets ORDER BY 1"
    ) == [
        (3, DAYS),
        (4, DAYS),
    ]
    assert chunks(database.url) in (DAYS // 2, None)
