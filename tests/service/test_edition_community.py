"""TimescaleDB's Community edition, a real one in WebAssembly: what it is asked to do, done and
looked at.

Background workers it has none, so its jobs are run by hand.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from analytics.store import queries as store
from analytics.store import summaries
from ingest.settings import Retention
from ingest.store.schema.edition import community_only, read_edition
from ingest.store.schema.grants import BRIDGE, INGEST, grant_rights
from ingest.store.schema.migrations import migrate, migrate_to
from serve.cli.store_status import read_store_status
from tests.bench.compression import COMPRESSED
from tests.pglite import community, connect, insert_frames, make_timescaledb
from tests.service.field import Conn, answers, driven, keep, plan, stored

NEVER = Retention()
START = datetime.now(UTC) - timedelta(days=5)
JOBS = "SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = %s ORDER BY job_id"
# As version 2 of the lap engine had it.
LAP_MINUTES = """
CREATE MATERIALIZED VIEW lap_minutes WITH (timescaledb.continuous,
    timescaledb.materialized_only = false) AS
SELECT session_id, lap_number, time_bucket(interval '1 minute', time, timestamptz 'epoch')
       AS minute, count(*) AS frames,
       min(time) AS first_frame_at, max(time) AS last_frame_at, min(speed_kmh) AS min_speed_kmh,
       sum(speed_kmh::float8) AS sum_speed_kmh, max(speed_kmh) AS max_speed_kmh,
       count(*) FILTER (WHERE throttle >= 0.98) AS full_throttle_frames,
       count(*) FILTER (WHERE brake >= 0.02) AS braking_frames, max(rpm) AS max_rpm
  FROM telemetry GROUP BY session_id, lap_number, minute WITH NO DATA
"""
# Of a job that has run once, and failed.
STATISTICS = {
    "last_start": "2026-01-01T00:00:00Z", "last_finish": "2026-01-01T00:00:01Z",
    "next_start": "2026-01-01T05:00:00Z",
    "last_successful_finish": "-infinity", "last_run_success": False,
    "total_runs": 1, "total_duration": "1 s",
    "total_duration_failures": "1 s", "total_successes": 0, "total_failures": 1, "total_crashes": 0,
    "consecutive_failures": 1, "consecutive_crashes": 0, "flags": 0,
}  # fmt: skip
HOURS = """
SELECT j.proc_name, extract(hour FROM initial_start AT TIME ZONE 'UTC')::integer, schedule_interval,
       fixed_schedule, s.next_start
  FROM timescaledb_information.jobs j JOIN _timescaledb_internal.bgw_job_stat s
    ON s.job_id = j.job_id
 WHERE hypertable_name = 'telemetry' AND proc_name IN ('policy_compression', 'policy_retention')
 ORDER BY 1
"""
# As ingest keeps them.
TIMES = """
UPDATE sessions s SET (started_at, last_frame_at) = (SELECT min(time), max(time) FROM telemetry
    WHERE session_id = s.id)
"""
CHUNKS = (
    "SELECT is_compressed FROM timescaledb_information.chunks WHERE hypertable_name = 'telemetry'"
    " ORDER BY range_start"
)


@pytest.fixture
def plain() -> Iterator[Conn]:
    """A server that could become TimescaleDB, and has not."""
    with community() as url, connect(url) as conn:
        migrate(conn)
        yield conn


@pytest.fixture
def conn(plain: Conn) -> Conn:
    make_timescaledb(plain)
    migrate(plain)
    return plain


def run_jobs(conn: Conn, proc: str) -> None:
    jobs = conn.execute(JOBS, [proc]).fetchall()
    assert jobs
    for (job,) in jobs:
        conn.execute("CALL run_job(%s)", [job])


def test_each_upgrade_keeps_every_frame_and_every_answer(plain: Conn) -> None:
    """Plain, then a hypertable as in the Apache edition, then Community; upgraded twice in each; at
    last computed and compressed.
    """
    frames = keep(plain, "spa", driven(days_ago=3))
    told = answers(plain, "spa")
    make_timescaledb(plain)
    apache = replace(read_edition(plain), licensed=False)
    for _ in range(2):
        with plain.transaction():
            migrate_to(plain, apache, NEVER)
        assert answers(plain, "spa") == told
    assert plain.execute(JOBS, ["policy_compression"]).fetchall() == []
    migrate(plain)
    jobs = plain.execute(
        "SELECT job_id, config FROM timescaledb_information.jobs ORDER BY 1"
    ).fetchall()
    migrate(plain)

    assert (
        plain.execute(
            "SELECT job_id, config FROM timescaledb_information.jobs ORDER BY 1"
        ).fetchall()
        == jobs
    )
    assert answers(plain, "spa") == told
    run_jobs(plain, "policy_refresh_continuous_aggregate")
    run_jobs(plain, "policy_compression")
    assert plain.execute(CHUNKS).fetchall() == [(True,)]
    assert answers(plain, "spa") == told
    assert stored(plain, frames).equals(frames)


def test_only_old_chunks_are_compressed_and_take_late_frames(conn: Conn) -> None:
    old, new = keep(conn, "old", driven(days_ago=5)), keep(conn, "new", driven(days_ago=0.1))
    run_jobs(conn, "policy_compression")
    late = keep(conn, "late", driven(days_ago=5, seed=2))

    assert conn.execute(CHUNKS).fetchall() == [(True,), (False,)]
    for frames in (old, new, late):
        assert stored(conn, frames).equals(frames)


def test_a_new_channel_comes_to_compressed_frames_too(conn: Conn) -> None:
    keep(conn, "old", driven(days_ago=5))
    run_jobs(conn, "policy_compression")
    conn.execute("ALTER TABLE telemetry DROP COLUMN rpm CASCADE")
    migrate(conn)

    assert conn.execute("SELECT DISTINCT rpm FROM telemetry").fetchall() == [(None,)]
    assert {lap.max_rpm for lap in summaries.lap_summaries(conn, "old")} == {None}


def test_sessions_are_summed_up_at_once_running_and_late_ones_too(conn: Conn) -> None:
    keep(conn, "old", driven(days_ago=5))
    run_jobs(conn, "policy_refresh_continuous_aggregate")
    now, late = keep(conn, "now", driven(days_ago=0.003)), keep(conn, "late", driven(days_ago=5.5))
    conn.execute(TIMES)

    assert sum(summaries.seconds(conn, "now")["frames"].to_pylist()) == now.num_rows
    assert sum(lap.frames for lap in summaries.lap_summaries(conn, "now")) == now.num_rows
    at_once = summaries.seconds(conn, "late")
    assert sum(at_once["frames"].to_pylist()) == late.num_rows
    told = plan(conn, lambda conn: summaries.seconds(conn, "late"))
    assert "Function Scan" not in told
    run_jobs(conn, "policy_refresh_continuous_aggregate")
    assert summaries.seconds(conn, "late") == at_once
    assert sum(summaries.seconds(conn, "late")["frames"].to_pylist()) == late.num_rows
    assert sum(lap.frames for lap in summaries.lap_summaries(conn, "late")) == late.num_rows


@pytest.mark.parametrize(
    ("question", "index"),
    [
        (lambda conn: summaries.seconds(conn, "old"), "_session_id_second"),
        (
            lambda conn: summaries.seconds_from(conn, "old", None, length=timedelta(hours=1)),
            "_session_id_second",
        ),
        (
            lambda conn: summaries.seconds_from(conn, "old", START, length=timedelta(hours=1)),
            "_session_id_second",
        ),
    ],
)
def test_plans_read_what_was_computed(
    conn: Conn, question: Callable[[Conn], object], index: str
) -> None:
    """As the page and notebooks ask, by the index of the table behind the aggregate; frames are
    read only where they are newer than it.
    """
    keep(conn, "old", driven(days_ago=5))
    run_jobs(conn, "policy_refresh_continuous_aggregate")
    told = plan(conn, question)

    assert "_materialized_hypertable" in told
    assert index in told
    assert "Function Scan" not in told


def test_frames_go_when_they_are_old_and_their_summaries_stay(conn: Conn) -> None:
    keep(conn, "old", driven(days_ago=30))
    keep(conn, "new", driven(days_ago=3))
    run_jobs(conn, "policy_refresh_continuous_aggregate")
    run_jobs(conn, "sum_up_laps")
    conn.execute(TIMES)
    seconds, laps, finished, _ = answers(conn, "old")
    migrate(conn, Retention(telemetry_days=10))
    run_jobs(conn, "policy_retention")
    assert summaries.seconds(conn, "old") == seconds
    run_jobs(conn, "policy_refresh_continuous_aggregate")
    run_jobs(conn, "sum_up_laps")

    assert conn.execute("SELECT DISTINCT session_id FROM telemetry").fetchall() == [(2,)]
    assert summaries.seconds(conn, "old") == seconds
    assert summaries.lap_summaries(conn, "old") == laps[: len(finished)]


def test_a_lap_that_is_timed_again_is_summed_up_again(conn: Conn) -> None:
    """What was kept of it is of other frames."""
    keep(conn, "old", driven(days_ago=5))
    run_jobs(conn, "sum_up_laps")
    (before, *_), kept = (
        summaries.lap_summaries(conn, "old"),
        conn.execute("SELECT * FROM lap_sums").fetchall(),
    )
    conn.execute("UPDATE laps SET ended_at = ended_at - interval '10 s', frames = frames - 600")
    after, *_ = summaries.lap_summaries(conn, "old")
    run_jobs(conn, "sum_up_laps")

    assert after.frames == before.frames - 600
    assert summaries.lap_summaries(conn, "old")[0] == after
    assert conn.execute("SELECT * FROM lap_sums").fetchall() != kept


def test_laps_that_an_older_version_summed_up_by_the_minute_are_kept(conn: Conn) -> None:
    """Where frames of theirs are gone already; the laps of the game's counter, which need not be
    the lap, are not.
    """
    keep(conn, "old", driven(days_ago=30))
    conn.execute(LAP_MINUTES)
    conn.execute("CALL refresh_continuous_aggregate('lap_minutes', NULL, NULL)")
    told = summaries.lap_summaries(conn, "old")
    conn.execute("DELETE FROM telemetry")
    assert summaries.lap_summaries(conn, "old") == []
    migrate(conn)

    assert summaries.lap_summaries(conn, "old") == told[:1]
    assert conn.execute("SELECT to_regclass('lap_minutes')").fetchone() == (None,)


def test_summaries_and_small_tables_have_their_own_time(conn: Conn) -> None:
    keep(conn, "old", driven(days_ago=30))
    keep(conn, "new", driven(days_ago=3))
    run_jobs(conn, "policy_refresh_continuous_aggregate")
    for days in (1, 20):
        conn.execute(
            "INSERT INTO gaps (reason, seen_at) VALUES (%s, now() - %s)",
            [f"{days}", timedelta(days=days)],
        )
        conn.execute(
            "INSERT INTO dead_letters (topic, partition, \"offset\", reason, seen_at) VALUES ('t',"
            " 0, %s, 'r', now() - %s)",
            [days, timedelta(days=days)],
        )
    migrate(conn, Retention(summaries_days=10, laps_days=10, gaps_days=10, dead_letters_days=30))
    run_jobs(conn, "policy_retention")
    run_jobs(conn, "expire")

    assert summaries.seconds(conn, "old").num_rows == 0
    assert summaries.lap_summaries(conn, "new")
    assert (len(store.laps(conn, "old")), len(store.laps(conn, "new"))) == (0, 1)
    assert conn.execute("SELECT reason FROM gaps").fetchall() == [("1",)]
    assert conn.execute('SELECT "offset" FROM dead_letters ORDER BY 1').fetchall() == [(1,), (20,)]


def test_jobs_follow_the_settings(conn: Conn) -> None:
    def kept() -> list[tuple[Any, ...]]:
        return [(job.relation, job.does) for job in read_store_status(conn).jobs]

    always = kept()
    migrate(conn, Retention(10, 20, 30, 40, 50))
    limited = set(kept()) - set(always)
    migrate(conn, Retention(11, 20, 30, 0, 51))
    changed = set(kept()) - set(always)
    migrate(conn, NEVER)

    assert limited == {
        ("telemetry", "drops chunks older than 10 days"),
        ("telemetry_1s", "drops chunks older than 20 days"),
        ("lap_sums", "deletes rows older than 20 days"),
        ("laps", "deletes rows older than 30 days"),
        ("gaps", "deletes rows older than 40 days"),
        ("dead_letters", "deletes rows older than 50 days"),
    }
    assert changed - limited == {
        ("telemetry", "drops chunks older than 11 days"),
        ("dead_letters", "deletes rows older than 51 days"),
    }
    assert ("gaps", "deletes rows older than 40 days") not in changed
    assert kept() == always


def test_status_states_what_was_saved(conn: Conn) -> None:
    keep(conn, "old", driven(days_ago=5))
    keep(conn, "new", driven(days_ago=0.1))
    run_jobs(conn, "policy_compression")
    status = read_store_status(conn)

    assert "Community edition: a hypertable, compressed when it is old" in status.lines[0]
    assert status.edition.off == ()
    assert status.chunks is not None
    assert (status.chunks.count, status.chunks.compressed) == (2, 1)
    assert status.compression is not None
    assert status.compression.before_bytes > 3 * status.compression.after_bytes
    assert any(
        line.startswith("telemetry: compresses chunks older than 1 day") for line in status.lines
    )


def test_upgrade_lets_channels_be_unknown_in_compressed_chunks(plain: Conn) -> None:
    """Until 622aa62 frames had to have them: a store of that time has such chunks, and some of them
    are compressed.
    """
    for column in ("speed_kmh", "rpm"):
        plain.execute(f"ALTER TABLE telemetry ALTER COLUMN {column} SET NOT NULL")
    make_timescaledb(plain)
    migrate(plain)
    for column in ("speed_kmh", "rpm"):
        plain.execute(f"ALTER TABLE telemetry ALTER COLUMN {column} SET NOT NULL")
    keep(plain, "spa", driven(days_ago=3))
    told = answers(plain, "spa")
    plain.execute("SELECT compress_chunk(c) FROM show_chunks('telemetry') c")
    migrate(plain)

    plain.execute(
        "INSERT INTO telemetry (time, session_id, gear) VALUES (%s, 1, 3)",
        [START + timedelta(days=2)],
    )
    plain.execute("DELETE FROM telemetry WHERE speed_kmh IS NULL")
    assert answers(plain, "spa") == told


def test_what_the_licence_is_needed_for_is_counted(plain: Conn) -> None:
    make_timescaledb(plain)
    with plain.transaction():
        migrate_to(plain, replace(read_edition(plain), licensed=False), NEVER)
    assert community_only(plain) == ()
    migrate(plain)
    keep(plain, "old", driven(days_ago=5))
    run_jobs(plain, "policy_compression")

    assert community_only(plain) == ("1 compressed chunks", "1 continuous aggregates", "3 policies")


FAILED_JOB = """
INSERT INTO _timescaledb_internal.bgw_job_stat_history (job_id, pid, execution_start,
    execution_finish, succeeded, data)
VALUES (%(job)s, 1, now() - interval '1 s', now(), false,
        jsonb_build_object('job', jsonb_build_object('proc_name', 'policy_compression'),
            'error_data', jsonb_build_object(
            'sqlerrcode', '24000', 'message', 'cannot drop portal "" while it is being set up')));
"""


def test_status_states_why_a_job_failed_and_what_it_means(conn: Conn) -> None:
    """As PostgreSQL 17.12 with TimescaleDB 2.29.2 leaves every job; there are no workers here that
    could fail.
    """
    (job,) = conn.execute(JOBS, ["policy_compression"]).fetchone() or (0,)
    conn.execute(FAILED_JOB, {"job": job})
    # A job on a fixed schedule has a row before its first run.
    conn.execute("DELETE FROM _timescaledb_internal.bgw_job_stat WHERE job_id = %s", [job])
    conn.execute(
        "INSERT INTO _timescaledb_internal.bgw_job_stat SELECT"
        " (jsonb_populate_record(NULL::_timescaledb_internal.bgw_job_stat, %s)).*",
        [Jsonb(STATISTICS | {"job_id": job})],
    )
    (line,) = [
        line for line in read_store_status(conn).lines if line.startswith("telemetry: compresses")
    ]

    assert (
        'Failed: 24000: cannot drop portal "" while it is being set up: its work was done and'
        " committed" in line
    )


def test_bench_finds_the_compressed_chunks(conn: Conn) -> None:
    keep(conn, "old", driven(days_ago=5))
    keep(conn, "new", driven(days_ago=0.1))
    run_jobs(conn, "policy_compression")
    ((schema, table),) = conn.execute(COMPRESSED).fetchall()

    assert schema == "_timescaledb_internal"
    frames = sql.SQL("SELECT sum(_ts_meta_count) FROM {}").format(sql.Identifier(schema, table))
    assert conn.execute(frames).fetchone() == (9_000,)


def test_jobs_that_lock_the_same_chunks_begin_at_different_hours(conn: Conn) -> None:
    """At one moment they end each other with 40P01; a job that has its hour is left alone."""
    kept: list[Any] = []
    for _ in range(2):
        migrate(conn, Retention(telemetry_days=10))
        kept.append(conn.execute(HOURS).fetchall())

    assert [row[:4] for row in kept[0]] == [
        ("policy_compression", 9, timedelta(hours=12), True),
        ("policy_retention", 3, timedelta(days=1), True),
    ]
    assert kept[0] == kept[1]
    first, second = (row[4] for row in kept[0])
    assert first != second
    assert {first.astimezone(UTC).hour, second.astimezone(UTC).hour} in ({9, 3}, {21, 3})


def test_roles_read_and_write_compressed_chunks_and_aggregates(conn: Conn) -> None:
    """The server has one session, which takes the roles one after another."""
    old = keep(conn, "old", driven(days_ago=5))
    keep(conn, "other", driven(days_ago=5, seed=2))
    conn.execute(TIMES)
    run_jobs(conn, "policy_refresh_continuous_aggregate")
    run_jobs(conn, "policy_compression")
    insert_frames(conn, old.slice(0, 1))  # late: the seconds that were computed lack it
    conn.execute("UPDATE sessions SET user_id = key")
    told = answers(conn, "old")
    # Not by `make_roles`: this server cannot change the rights on its database (XX000).
    with conn.transaction():
        for statement in ROLES:
            conn.execute(statement)
        grant_rights(conn)

    for role, path in ((BRIDGE, "public"), (INGEST, "public"), ("old", "analyst, public")):
        with acting_as(conn, role, path):
            assert answers(conn, "old") == told
    with acting_as(conn, "old", "analyst, public"):
        for view in ("sessions", "telemetry", "telemetry_1s", "lap_summary"):
            assert conn.execute(SESSIONS_IN[view]).fetchall() == [(old["session_id"][0].as_py(),)]
    with acting_as(conn, INGEST, "public"):
        insert_frames(conn, old.slice(0, 3))
        for statement in ("DELETE FROM telemetry", "TRUNCATE telemetry", "DROP TABLE telemetry"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(statement)
    assert stored(conn, old).num_rows == old.num_rows + 4


ROLES: tuple[LiteralString, ...] = (
    "CREATE ROLE purple_ingest",
    "CREATE ROLE purple_bridge",
    "CREATE ROLE purple_analyst",
    "CREATE ROLE old IN ROLE purple_analyst",
    "CREATE SCHEMA analyst",
)
SESSIONS_IN: dict[str, LiteralString] = {
    "sessions": "SELECT DISTINCT id FROM sessions",
    "telemetry": "SELECT DISTINCT session_id FROM telemetry",
    "telemetry_1s": "SELECT DISTINCT session_id FROM telemetry_1s",
    "lap_summary": "SELECT DISTINCT session_id FROM lap_summary",
}


@contextmanager
def acting_as(conn: Conn, role: str, search_path: LiteralString) -> Iterator[None]:
    conn.execute(sql.SQL("SET search_path = {}").format(sql.SQL(search_path)))
    conn.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
    yield
    conn.execute("RESET ROLE")
    conn.execute("SET search_path = public")
