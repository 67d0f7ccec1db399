"""The editions that this machine can start: what each makes of the store, and how one becomes the
next.
"""

import re
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import psycopg
import pyarrow as pa
import pytest
from psycopg import sql

from analytics.model.summary import BRAKING, FULL_THROTTLE
from analytics.store import summaries
from ingest.embedded.postgres import Postgres
from ingest.embedded.process import ServiceUnavailable
from ingest.embedded.timescale import timescale_programs
from ingest.errors import LicenceLost, NotUpgraded
from ingest.settings import DatabaseSettings, Retention
from ingest.store.partition_writer import PartitionWriter
from ingest.store.schema.edition import read_edition
from ingest.store.schema.migrations import migrate, migrate_to
from serve.cli.store_diagnosis import read_scheduler_fault
from serve.cli.store_status import read_store_status
from serve.local.system import prepare_database
from serve.store_errors import translate_database_errors
from tests.service.field import FRAMES_DRIVEN, Conn, answers, driven, keep, plan, stored
from tests.service.owner import PARTITION, Owner, drove, rows
from tests.waiting import WITHIN_S, wait_until

NEVER = Retention()
SEQUENCES = "SELECT sequence FROM telemetry ORDER BY sequence"


@contextmanager
def fresh_database(server: str) -> Iterator[str]:
    """The URL of a database with nothing in it."""
    name = sql.Identifier(f"test_{uuid.uuid4().hex[:12]}")
    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {}").format(name))
    yield server.rpartition("/")[0] + "/" + name.as_string().strip('"')
    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


@pytest.fixture(params=["postgresql", "timescaledb"])
def conn(request: pytest.FixtureRequest) -> Iterator[Conn]:
    """A store of each edition."""
    server = request.getfixturevalue(f"{request.param}_server")
    with fresh_database(server) as url, psycopg.connect(url, autocommit=True) as connection:
        migrate(connection)
        yield connection


@pytest.fixture
def plain(timescaledb_server: str) -> Iterator[str]:
    """A store of ordinary tables on a server that has TimescaleDB."""
    with fresh_database(timescaledb_server) as url:
        with psycopg.connect(url) as conn:
            migrate_to(conn, read_edition(conn), NEVER)
        assert not edition_of(url).hypertable
        yield url


def edition_of(url: str):
    with psycopg.connect(url) as conn:
        return read_edition(conn)


def upgrade(url: str) -> None:
    with psycopg.connect(url) as conn:
        migrate(conn)


def upgrade_and_die(url: str) -> None:
    """Just before the commit, with everything done."""
    with psycopg.connect(url) as conn, conn.transaction():
        migrate(conn)
        assert read_edition(conn).hypertable
        with psycopg.connect(url, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [conn.info.backend_pid])


def test_summaries_are_those_of_the_frames(conn: Conn) -> None:
    frames = keep(conn, "spa", driven(days_ago=1))
    seconds, laps = summaries.seconds(conn, "spa"), summaries.lap_summaries(conn, "spa")

    of_second = frames["time"].cast("int64").to_numpy() // 1_000_000
    speeds = frames["speed_kmh"].to_numpy().astype(float)
    starts, counts = np.unique(of_second, return_counts=True)
    assert seconds["second"].cast("int64").to_pylist() == (starts * 1_000_000).tolist()
    assert seconds["frames"].to_pylist() == counts.tolist()
    assert seconds["max_speed_kmh"].to_pylist() == [speeds[of_second == s].max() for s in starts]
    assert seconds["avg_speed_kmh"].to_pylist() == pytest.approx(
        [speeds[of_second == s].mean() for s in starts]
    )
    numbers = frames["lap_number"].to_numpy()
    assert [lap.lap_number for lap in laps] == sorted(set(numbers))
    for lap in laps:
        here = numbers == lap.lap_number
        assert lap.frames == here.sum()
        assert lap.max_speed_kmh == pytest.approx(speeds[here].max())
        assert lap.avg_speed_kmh == pytest.approx(speeds[here].mean())
        assert lap.full_throttle_share == pytest.approx(
            (frames["throttle"].to_numpy()[here] >= FULL_THROTTLE).mean()
        )
        assert lap.braking_share == pytest.approx(
            (frames["brake"].to_numpy()[here] >= BRAKING).mean()
        )


def first_piece(conn: Conn) -> summaries.Piece:
    return summaries.seconds_from(conn, "spa", None, length=timedelta(minutes=1))


def last_piece(conn: Conn) -> summaries.Piece:
    last = summaries.seconds(conn, "spa")["second"][-1].as_py()
    return summaries.seconds_from(conn, "spa", last, length=timedelta(hours=1))


def all_seconds(conn: Conn) -> object:
    return summaries.seconds(conn, "spa")


def all_laps(conn: Conn) -> object:
    return summaries.lap_summaries(conn, "spa")


def a_lap(conn: Conn) -> object:
    return summaries.lap_summaries(conn, "spa", first=1, last=1)


@pytest.mark.parametrize("question", [first_piece, last_piece, all_seconds, all_laps, a_lap])
def test_plans_read_one_session_by_the_index(
    conn: Conn, question: Callable[[Conn], object]
) -> None:
    """What the page and notebooks ask, as it was sent."""
    for number, key in enumerate(["monza", "spa", "imola", "monaco"]):
        keep(conn, key, driven(days_ago=1, seed=number))
    conn.execute("ANALYZE")
    told = plan(conn, question)

    assert "telemetry_session_time" in told
    # Four laps are read faster without an index.
    assert not re.search(r"Seq Scan on (?!laps\b|lap_sums\b)", told)
    assert "Function Scan" not in told


def test_newest_seconds_are_read_from_their_frames_alone(conn: Conn) -> None:
    """A page that keeps up with a car does not read the whole session again every two seconds."""
    keep(conn, "spa", driven(days_ago=1))
    conn.execute("ANALYZE")

    assert (
        most_rows(plan(conn, last_piece, analyze=True))
        == summaries.seconds(conn, "spa")["frames"][-1].as_py()
    )
    assert most_rows(plan(conn, all_seconds, analyze=True)) == FRAMES_DRIVEN


def test_laps_that_are_requested_are_read_from_their_frames_alone(conn: Conn) -> None:
    """And are what they are among all laps, although these begin and end within a minute."""
    keep(conn, "spa", driven(days_ago=1))
    conn.execute("UPDATE telemetry SET lap_number = 1 + (sequence - 1) / 1200")
    conn.execute("DELETE FROM laps")
    conn.execute(
        "INSERT INTO laps (session_id, lap_number, started_at, ended_at, lap_time_ms, frames, gaps,"
        " max_speed_kmh) SELECT session_id, lap_number, min(time), max(time) + interval '1 ms',"
        " 20000, count(*), 0, 0   FROM telemetry GROUP BY 1, 2"
    )
    conn.execute("ANALYZE")
    laps = summaries.lap_summaries(conn, "spa")

    assert [lap.lap_number for lap in laps] == list(range(1, 9))
    for lap in laps:
        assert summaries.lap_summaries(conn, "spa", first=lap.lap_number, last=lap.lap_number) == [
            lap
        ]
    told = plan(
        conn, lambda conn: summaries.lap_summaries(conn, "spa", first=8, last=8), analyze=True
    )
    assert most_rows(told) <= 6_000  # of the minute in which the lap before began, and of both


def most_rows(told: str) -> int:
    """The most that a step of a plan went through."""
    return max(int(found) for found in re.findall(r"actual rows=(\d+)", told))


def test_pieces_make_up_the_session(conn: Conn) -> None:
    keep(conn, "spa", driven(days_ago=1))
    whole, length = summaries.seconds(conn, "spa"), timedelta(minutes=1)
    conn.execute(
        "UPDATE sessions SET (started_at, last_frame_at) = (SELECT min(time), max(time) FROM"
        " telemetry)"
    )
    pieces = [summaries.seconds_from(conn, "spa", None, length=length)]
    while (following := pieces[-1].next) is not None:
        pieces.append(summaries.seconds_from(conn, "spa", following, length=length))

    assert [piece.seconds.num_rows for piece in pieces] == [60, 60, whole.num_rows - 120]
    assert pa.concat_tables([piece.seconds for piece in pieces]).equals(whole)


def test_second_that_is_named_comes_whole(conn: Conn) -> None:
    """The page asks again from the last second it has: that was not over."""
    keep(conn, "spa", driven(days_ago=1))
    whole = summaries.seconds(conn, "spa")
    within = whole["second"][-2].as_py() + timedelta(milliseconds=700)

    assert summaries.seconds_from(conn, "spa", within, length=timedelta(hours=1)).seconds.equals(
        whole.slice(whole.num_rows - 2)
    )


def test_status_states_what_the_edition_has(conn: Conn) -> None:
    keep(conn, "spa", driven(days_ago=1))
    status = read_store_status(conn)

    assert status.frames == 9_000
    assert status.frames_bytes > 9_000 * 80
    assert (status.chunks is not None) == status.edition.hypertable
    assert status.compression is None
    assert status.jobs == ()
    assert [line for line in status.lines if line.startswith("off: ")] == [
        f"off: {what}" for what in status.edition.off
    ]
    assert "continuous aggregates" in status.edition.off[0]


def test_ordinary_table_becomes_a_hypertable_with_all_that_is_in_it(plain: str) -> None:
    with psycopg.connect(plain, autocommit=True) as conn:
        sessions = [keep(conn, f"day {days}", driven(days_ago=days)) for days in (0, 1, 40)]
        told = [answers(conn, f"day {days}") for days in (0, 1, 40)]
        upgrade(plain)

        assert read_edition(conn).hypertable
        for _ in range(2):
            assert [answers(conn, f"day {days}") for days in (0, 1, 40)] == told
            assert all(stored(conn, frames).equals(frames) for frames in sessions)
            upgrade(plain)
        assert conn.execute("SELECT count(*) FROM ONLY telemetry").fetchone() == (0,)
        assert conn.execute("SELECT count(*) >= 3 FROM show_chunks('telemetry')").fetchone() == (
            True,
        )
        assert conn.execute(
            "SELECT indexname FROM pg_indexes WHERE tablename = 'telemetry'"
        ).fetchall() == [("telemetry_session_time",)]


def test_upgrade_under_a_worker_that_writes(plain: str) -> None:
    """Its connection knows an ordinary table; the next batch goes into the hypertable."""
    with Owner(plain) as owner:
        owner.write(*drove("a", 1, 2))
        upgrade(plain)
        owner.write(*drove("a", 3, 4))

    assert rows(plain, SEQUENCES) == [(1,), (2,), (3,), (4,)]
    assert rows(plain, "SELECT count(*) FROM ONLY telemetry") == [(0,)]


def test_two_processes_upgrade_at_once(plain: str) -> None:
    with Owner(plain) as owner:
        owner.write(*drove("a", 1, 2))
    failures: list[Exception] = []

    def run() -> None:
        try:
            upgrade(plain)
        except Exception as failure:
            failures.append(failure)

    both = [threading.Thread(target=run) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join(WITHIN_S)

    assert failures == []
    assert edition_of(plain).hypertable
    assert rows(plain, SEQUENCES) == [(1,), (2,)]


def test_upgrade_that_is_cut_off_has_changed_nothing(plain: str) -> None:
    with Owner(plain) as owner:
        owner.write(*drove("a", 1, 2))
    with pytest.raises(psycopg.OperationalError):
        upgrade_and_die(plain)

    assert not edition_of(plain).hypertable
    assert rows(plain, SEQUENCES) == [(1,), (2,)]
    upgrade(plain)
    assert edition_of(plain).hypertable
    assert rows(plain, SEQUENCES) == [(1,), (2,)]


def test_who_may_not_make_the_extension_keeps_ordinary_tables(timescaledb_server: str) -> None:
    role = f"tester_{uuid.uuid4().hex[:8]}"
    with fresh_database(timescaledb_server) as url, psycopg.connect(url, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)))
        conn.execute(sql.SQL("GRANT ALL ON SCHEMA public TO {}").format(sql.Identifier(role)))
        conn.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        migrate(conn)
        edition = read_edition(conn)
        keep(conn, "spa", driven(days_ago=1))
        assert summaries.lap_summaries(conn, "spa")
    with psycopg.connect(timescaledb_server, autocommit=True) as conn:
        conn.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))

    assert not edition.hypertable
    assert (
        "this database has not: purple-sector database upgrade makes it, as a user who may"
        in edition.off[0]
    )


def test_upgrade_that_is_refused_is_one_sentence(plain: str) -> None:
    """Somebody's own table has the name of a view of ours."""
    with psycopg.connect(plain) as conn:
        conn.execute("DROP TABLE dead_letters")
        conn.execute("DROP VIEW lap_summary")
        conn.execute("CREATE TABLE lap_summary (mine integer)")

    with pytest.raises(
        NotUpgraded,
        match='was not upgraded, and nothing in it has changed: "lap_summary" is not a view',
    ):
        prepare_database(DatabaseSettings.read(url=plain), print)
    assert not edition_of(plain).hypertable
    assert rows(plain, "SELECT to_regclass('dead_letters')") == [(None,)]


def test_retention_that_nobody_carries_out_is_reported(plain: str) -> None:
    told: list[str] = []
    prepare_database(DatabaseSettings.read(url=plain), told.append)
    prepare_database(DatabaseSettings.read(url=plain, laps_days=30), told.append)

    assert [line.startswith("nothing is dropped") for line in told] == [False, False, True]


def test_library_that_is_not_preloaded_is_reported_and_done_without(service_folder: Path) -> None:
    """CREATE EXTENSION would end the connection."""
    try:
        server = Postgres.start(
            service_folder / "not-preloaded",
            programs=lambda *place: replace(timescale_programs(*place), settings={}),
            durable=False,
        )
    except ServiceUnavailable as missing:
        pytest.skip(str(missing))
    with server, psycopg.connect(server.url, autocommit=True) as conn:
        migrate(conn)
        edition = read_edition(conn)
        keep(conn, "spa", driven(days_ago=1))

    assert not edition.hypertable
    assert "but not in shared_preload_libraries" in edition.off[0]


# What the Community edition leaves in the catalog when the server comes back under the Apache
# licence.
COLUMNSTORE_POLICY = """
INSERT INTO _timescaledb_config.bgw_job (application_name, schedule_interval, max_runtime,
    max_retries, retry_period,
       proc_schema, proc_name, owner, scheduled, fixed_schedule, hypertable_id, config)
SELECT 'Columnstore Policy [1000]', '12 h', '0', -1, '1 h', '_timescaledb_functions',
       'policy_compression',
       current_user::regrole, false, false, id,
       jsonb_build_object('hypertable_id', id, 'compress_after', '1 day')
  FROM _timescaledb_catalog.hypertable WHERE table_name = 'telemetry'
"""


@pytest.fixture
def apache(timescaledb_server: str) -> Iterator[str]:
    """A store of TimescaleDB's Apache edition."""
    with fresh_database(timescaledb_server) as url:
        upgrade(url)
        yield url


def test_licence_that_went_away_is_refused_in_words(apache: str) -> None:
    """Under it every INSERT fails: nobody is to find that out from frames that are not there.

    The policy is a made-up row: package registries have no native Community server that could come
    back under the other licence.
    """
    settings, words = (
        DatabaseSettings.read(url=apache),
        r"licence is apache, and this store has 1 policies",
    )
    with psycopg.connect(apache, autocommit=True) as conn:
        conn.execute(COLUMNSTORE_POLICY)
        status = read_store_status(conn)
    (warning,) = [line for line in status.lines if line.startswith("warning: ")]

    assert status.lacking is None, "2.29.2 refuses to read compressed frames"
    assert re.search(words, warning)
    assert "timescaledb.license = 'timescale'" in warning
    with pytest.raises(LicenceLost, match=words):
        prepare_database(settings, print)
    with pytest.raises(LicenceLost, match=words):
        PartitionWriter(settings, PARTITION)


def test_what_the_licence_does_not_allow_is_said_by_readers_too(apache: str) -> None:
    with (
        psycopg.connect(apache) as conn,
        pytest.raises(LicenceLost, match="licence is apache"),
        translate_database_errors("here"),
    ):
        conn.execute("SELECT compress_chunk('telemetry')")


def behind(url: str) -> None:
    """Make the extension an older one than the server's library, which has no library of that
    version.
    """
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(
            "UPDATE _timescaledb_catalog.metadata SET value = '2.19.2' WHERE key ="
            " 'timescaledb_version'"
        )
        conn.execute("UPDATE pg_extension SET extversion = '2.19.2' WHERE extname = 'timescaledb'")


def test_upgrade_updates_the_extension_first(apache: str) -> None:
    """No other statement can run: the server has the library of the new version alone."""
    with Owner(apache) as owner:
        owner.write(*drove("a", 1, 2))
    newest = edition_of(apache).timescaledb
    if newest != "2.19.3":
        pytest.skip(f"to go back one version is known of TimescaleDB 2.19.3, and this is {newest}")
    behind(apache)
    with pytest.raises(psycopg.errors.UndefinedFile):
        edition_of(apache)
    told: list[str] = []
    prepare_database(DatabaseSettings.read(url=apache), told.append)

    assert told[0] == f"TimescaleDB in this database was updated to {newest}"
    assert edition_of(apache).timescaledb == newest
    assert rows(apache, SEQUENCES) == [(1,), (2,)]
    prepare_database(DatabaseSettings.read(url=apache), told.append)
    assert len([line for line in told if "was updated" in line]) == 1


def test_status_counts_the_frames_that_are_there(conn: Conn) -> None:
    """And not what sessions were given once: half a restore has whole sessions."""
    keep(conn, "spa", driven(days_ago=1))
    assert read_store_status(conn).faults == []
    conn.execute("INSERT INTO telemetry_pending SELECT * FROM telemetry WHERE sequence % 2 = 0")
    conn.execute("DELETE FROM telemetry WHERE sequence % 2 = 0")
    assert read_store_status(conn).faults == []
    conn.execute("DELETE FROM telemetry_pending")
    (fault,) = read_store_status(conn).faults

    assert fault.startswith(
        "4,500 frames of 1 sessions were stored once and are not there, of 'spa' among them"
    )
    assert f"warning: {fault}" in read_store_status(conn).lines


def test_scheduler_of_a_database_is_found(apache: str) -> None:
    """A job that no worker is left for is never run, and never fails."""
    with psycopg.connect(apache, autocommit=True) as conn:
        wait_until(lambda: read_scheduler_fault(conn) == "", "the scheduler of the database")
