"""The lap that ends with its recording, in a session that falls silent at the line."""

import psycopg
import pytest

from analytics.laps.engine import last_lap
from ingest.store.recompute import recompute, stored_sessions, write
from ingest.telemetry_pb2 import TelemetryFrame
from tests.bench.records import serialized_session
from tests.service.audit import laps_of
from tests.service.owner import Owner, Record, drove


@pytest.fixture(scope="module")
def frames() -> list[TelemetryFrame]:
    return [TelemetryFrame.FromString(value) for value in serialized_session(19_000)]


def records(frames: list[TelemetryFrame]) -> list[Record]:
    return [(b"flag", frame.SerializeToString()) for frame in frames]


def first_of_last_lap(frames: list[TelemetryFrame]) -> int:
    counted = [frame.lap_number for frame in frames]
    return counted.index(counted[-1])


def end(owner: Owner, key: str) -> list[int]:
    """As a worker does with a session that has fallen silent."""
    session = owner.sessions[key]
    lap = session.engine_state and last_lap(session.engine_state, session.layout)
    return (
        [
            timed.lap.lap_number
            for timed in owner.store.end_lap(session, lap, owner.position, owner.fence)
        ]
        if lap
        else []
    )


def test_a_session_that_stops_at_the_line_has_its_last_lap(database, owner, frames):
    line = first_of_last_lap(frames)
    owner.write(*records(frames[:line]))
    before = laps_of(database.url, "flag")
    (number,) = end(owner, "flag")

    *others, last = laps_of(database.url, "flag")
    assert others == before
    assert last[0] == number == frames[line].lap_number - 1
    assert last[2] == pytest.approx(frames[-1].last_lap_time, abs=3)


def test_a_session_that_stops_elsewhere_has_no_more_laps(owner, frames):
    owner.write(*records(frames[: first_of_last_lap(frames) - 600]))

    assert end(owner, "flag") == []


@pytest.mark.parametrize("restarted", [False, True])
def test_a_session_that_goes_on_has_the_laps_of_one_drive(database, owner, frames, restarted):
    """It was paused at the line, or the network was away. Another worker may carry it then."""
    line = first_of_last_lap(frames)
    whole = [(b"whole", value) for _, value in records(frames)]
    owner.write(*whole)
    owner.write(*records(frames[:line]))
    assert end(owner, "flag")
    if restarted:
        owner.sessions.clear()
    (late,) = owner.write(*records(frames[line:])).late
    owner.store.time_again(late, owner.position, owner.fence)

    assert laps_of(database.url, "flag") == laps_of(database.url, "whole")
    assert owner.store.late_sessions() == []


def test_a_lap_that_was_not_driven_to_its_end_is_taken_back(database, owner, frames):
    """Paused at the line, and then the game was restarted."""
    line = first_of_last_lap(frames)
    owner.write(*records(frames[:line]))
    before = laps_of(database.url, "flag")
    assert end(owner, "flag")
    for n, frame in enumerate(
        again := [TelemetryFrame.FromString(f.SerializeToString()) for f in frames[:600]]
    ):
        frame.sequence, frame.timestamp = frames[line + n].sequence, frames[line + n].timestamp
    (late,) = owner.write(*records(again)).late
    owner.store.time_again(late, owner.position, owner.fence)

    assert laps_of(database.url, "flag") == before


def test_who_does_not_know_all_frames_ends_no_lap(database, owner, frames):
    owner.write(*records(frames[: first_of_last_lap(frames)]))
    owner.sessions["flag"].frames -= 1
    before = laps_of(database.url, "flag")

    assert end(owner, "flag") == []
    assert laps_of(database.url, "flag") == before


def test_sessions_that_a_predecessor_left_are_looked_at(owner):
    owner.write(*drove("a", 1, 2))
    owner.write(*drove("b", 1, 2))

    assert owner.store.recent_sessions() == ["a", "b"]


def test_the_last_lap_of_a_renamed_topic_is_recomputed(database, owner, frames):
    """No worker looks at its sessions any more."""
    line = first_of_last_lap(frames)
    owner.write(*records(frames[:line]))
    before = laps_of(database.url, "flag")
    with psycopg.connect(database.url, autocommit=True) as conn:
        conn.execute(
            "UPDATE sessions SET topic = 'of-before', updated_at = now() - interval '1 hour'"
        )
        assert owner.store.adopt_orphans() == owner.store.recent_sessions() == []

        (session,) = stored_sessions(conn, "flag")
        write(conn, recompute(conn, session))

    *others, last = laps_of(database.url, "flag")
    assert others == before
    assert last[0] == frames[line].lap_number - 1
