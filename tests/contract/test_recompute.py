"""Laps timed again from what is stored: nothing differs, until an engine or a track does."""

from dataclasses import replace

import psycopg
import pytest
from click.testing import CliRunner

from analytics.laps.track_learning import LearnedTrack
from ingest.errors import PartitionTaken, SessionWentOn
from ingest.store.recompute import FramesGone, recompute, stored_sessions, write
from ingest.store.tracks import save_track
from serve.cli.main import command
from tests.bench.records import serialized_session
from tests.contract.deadlocks import goes_on_after_a_deadlock
from tests.service.audit import laps_of
from tests.service.owner import STARTED_AT_MS, Owner, rows, told
from tests.waiting import wait_until

FRAMES = 13_000  # a lap out of the pits, and a flying one


def driven(frames):
    """The first frames of one and the same drive."""
    return serialized_session(frames, started_at_ms=STARTED_AT_MS)


@pytest.fixture
def conn(database, owner):
    values = driven(FRAMES)
    owner.write(
        told("a", game="simulator", track="ring", car="gt3"),
        *[(b"a", value) for value in values[:7_000]],
    )
    owner.write(*[(b"a", value) for value in values[7_000:]])
    with psycopg.connect(database.url, autocommit=True) as conn:
        conn.execute("UPDATE sessions SET updated_at = now() - interval '1 hour'")
        yield conn


def test_history_gives_the_laps_that_were_timed_live(conn):
    (session,) = stored_sessions(conn, "a")
    done = recompute(conn, session)

    assert len(done.laps) == 2
    assert done.changes == ()


def test_what_another_engine_made_is_shown_and_written_only_when_requested(conn, database):
    """And judged then; the track that was learnt meanwhile is the session's from now on."""
    live = laps_of(database.url, "a")
    conn.execute("UPDATE laps SET lap_time_ms = lap_time_ms + 7, engine = 1 WHERE lap_number = 2")
    conn.execute("DELETE FROM laps WHERE lap_number = 1")
    save_track(conn, LearnedTrack("simulator", "ring", length_m=4_000.0))
    (session,) = stored_sessions(conn)

    done = recompute(conn, session)

    assert [(change.lap_number, sorted(change.differences)) for change in done.changes] == [
        (1, []),
        (2, ["engine", "lap_time_ms"]),
    ]
    assert laps_of(database.url, "a") != live
    write(conn, done)
    assert laps_of(database.url, "a") == live
    assert rows(database.url, "SELECT lap_number, colour FROM lap_colours") == [(2, "purple")]
    assert recompute(conn, session).changes == ()
    assert rows(database.url, "SELECT track_id IS NOT NULL FROM sessions") == [(True,)]


def test_a_worker_goes_on_from_what_was_written(conn, database, owner):
    """Who remembers the old laps is refused; who takes over times the rest as one who never
    stopped.
    """
    later = [(b"a", value) for value in driven(FRAMES + 6_000)[FRAMES:]]
    conn.execute("UPDATE laps SET lap_time_ms = lap_time_ms + 7 WHERE lap_number = 2")
    save_track(conn, LearnedTrack("simulator", "ring", line=0.25, length_m=4_000.0))
    (session,) = stored_sessions(conn, "a")
    write(conn, recompute(conn, session))

    with pytest.raises(PartitionTaken):
        owner.write(*later)
    with Owner(database.url) as next_owner:
        next_owner.write(*later)
    (session,) = stored_sessions(conn, "a")
    assert recompute(conn, session).changes == ()


def test_a_session_that_goes_on_meanwhile_is_refused(conn, database, owner):
    (session,) = stored_sessions(conn, "a")
    done = recompute(conn, session)
    before = laps_of(database.url, "a")
    owner.write(*[(b"a", value) for value in driven(FRAMES + 100)[FRAMES:]])

    with pytest.raises(SessionWentOn, match="'a' went on"):
        write(conn, done)
    assert laps_of(database.url, "a") == before
    owner.write(*[(b"a", value) for value in driven(FRAMES + 200)[FRAMES + 100 :]])


def test_laps_whose_frames_retention_took_are_left_alone(conn, database, monkeypatch):
    """Timed from what is left they would be other laps, or none."""
    live = laps_of(database.url, "a")
    conn.execute("DELETE FROM telemetry WHERE sequence <= 7000")
    (session,) = stored_sessions(conn, "a")

    with pytest.raises(FramesGone, match="of its 13000 frames 6000 are left"):
        recompute(conn, session)
    monkeypatch.setenv("DATABASE_URL", database.url)
    said = CliRunner().invoke(command, ["laps", "recompute", "--write"], catch_exceptions=False)
    assert "session 'a': of its 13000 frames 6000 are left" in said.output
    assert laps_of(database.url, "a") == live


def test_record_of_a_lap_that_is_none_any_more_is_given_back(conn, database, owner):
    """It lies before all that are left."""
    conn.execute(
        "UPDATE laps SET lap_number = 90, started_at = started_at - interval '1 day', lap_time_ms ="
        " 1000 WHERE lap_number = 2"
    )
    scope = owner.sessions["a"].scope
    owner.store.judge(scope, 0)
    assert rows(database.url, "SELECT DISTINCT lap_number FROM bests") == [(90,)]
    (session,) = stored_sessions(conn, "a")

    write(conn, recompute(conn, session))

    assert rows(database.url, "SELECT DISTINCT lap_number FROM bests") == [(2,)]


def test_a_batch_that_is_under_way_does_not_end_it(conn, database):
    """It has told of its session, and moves its partition on next: each of the two has what the
    other wants.
    """
    (session,) = stored_sessions(conn, "a")
    done = recompute(conn, session)
    batch = {
        "first": "UPDATE sessions SET driver = 'anna'",
        "then": "UPDATE partition_offsets SET heartbeat = now()",
    }
    wait_until(lambda: goes_on_after_a_deadlock(database.url, lambda: write(conn, done), **batch))

    assert rows(database.url, "SELECT FROM partition_offsets WHERE fence > 1")


def test_session_that_is_being_driven_shows_it(conn):
    conn.execute("UPDATE sessions SET updated_at = now()")
    (session,) = stored_sessions(conn, "a")

    assert session.live
    assert not replace(session, live=False).live
    assert stored_sessions(conn, "b") == []
