"""The read API on a real PostgreSQL: what was stored comes back, and what was not is said."""

from collections.abc import Iterator
from dataclasses import astuple
from datetime import UTC, datetime
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pytest
from psycopg import sql

from analytics.errors import UnknownChannel
from analytics.laps.engine import advance, resume
from analytics.model.channels import CHANNELS, FRAMES
from analytics.model.lap import Lap
from analytics.store import queries as store

#: What is NULL where nobody sent it.
OPTIONAL = {channel.name for channel in CHANNELS if channel.optional} | {"sequence"}

START_US = 1_700_000_000_000_000
LAP_US = 10_000_000
FRAME_US = 20_000


@pytest.fixture
def conn(database: Any) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database.url, autocommit=True) as connection:
        yield connection


def drive(*, laps: float = 3.5, session_id: int = 1) -> pa.Table:
    """Frames every 20 ms on laps of 10 s; the first line is crossed at `START_US`, half a second
    in.
    """
    t = np.arange(-500_000, int(laps * LAP_US), FRAME_US)
    turns = t // LAP_US
    known = {
        "time": START_US + t,
        "sequence": np.arange(1, len(t) + 1),
        "session_id": np.full(len(t), session_id),
        "lap_number": turns + 2,
        "lap_clock_ms": (t - turns * LAP_US) // 1000,
        "normalized_position": t / LAP_US - turns,
        "speed_kmh": np.full(len(t), 180.5),
        "last_lap_time_ms": np.where(t > LAP_US + 100_000, 10_001, 0),
    }
    columns = []
    for field in FRAMES:
        values = known.get(field.name)
        if values is None:
            values = None if (field.name in OPTIONAL) else np.zeros(len(t))
        column = (
            pa.nulls(len(t), field.type)
            if values is None
            else pa.array(values, mask=(field.name in OPTIONAL) & (values == 0)).cast(field.type)
        )
        columns.append(column)
    return pa.table(columns, schema=FRAMES)


def keep(conn: psycopg.Connection[Any], key: str, frames: pa.Table, laps: list[Lap]) -> int:
    """Store as ingest would; the session's id."""
    row = conn.execute(
        "INSERT INTO sessions (key, track, frames, topic, partition) VALUES (%s, 'Spa', %s,"
        " 'telemetry', 0) RETURNING id",
        [key, frames.num_rows],
    ).fetchone()
    assert row is not None
    (session_id,) = row
    names = ", ".join(FRAMES.names)
    with conn.cursor().copy(f"COPY telemetry ({names}) FROM STDIN") as copy:
        # The order in the heap is not the order of time.
        for frame in reversed(frames.to_pylist()):
            copy.write_row(list((frame | {"session_id": session_id}).values()))
    for lap in laps:
        values = [list(value) if isinstance(value, tuple) else value for value in astuple(lap)]
        rest = sql.SQL(", ").join(sql.Placeholder() * (len(values) - 3))
        insert = sql.SQL(
            "INSERT INTO laps VALUES (%s, %s, to_timestamp(%s / 1e6), to_timestamp(%s / 1e6), {})"
        ).format(rest)
        conn.execute(insert, [session_id, *values])
    return int(session_id)


def times_us(frames: pa.Table) -> list[int]:
    return list(frames["time"].cast(pa.int64()).to_pylist())


def test_the_newest_session_comes_first(conn):
    for key in ("monday", "tuesday", "wednesday"):
        keep(conn, key, drive(laps=0.1), [])

    assert [s.key for s in store.sessions(conn, limit=2)] == ["wednesday", "tuesday"]
    assert store.session(conn, "monday").track == "Spa"
    assert store.session(conn, "monday").started_at is None


def test_laps_come_back_as_they_were_timed(conn):
    ended, _ = advance(drive(), None)
    keep(conn, "spa", drive(), ended)

    assert store.laps(conn, "spa") == ended
    assert [lap.lap_number for lap in ended] == [1, 2, 3, 4]


def test_a_lap_is_its_frames_from_line_to_line(conn):
    frames = drive()
    session_id = keep(conn, "spa", frames, advance(frames, None)[0])
    keep(conn, "monza", drive(), [])

    lap = store.lap_frames(conn, "spa", 3)

    assert lap.schema == FRAMES
    assert lap.num_rows == LAP_US // FRAME_US
    assert times_us(lap) == [START_US + LAP_US + k * FRAME_US for k in range(LAP_US // FRAME_US)]
    assert set(lap["session_id"].to_pylist()) == {session_id}
    assert lap.drop(["session_id"]).equals(
        frames.slice(25 + 500, 500).drop(["session_id"]).combine_chunks()
    )


def test_the_last_finished_lap_has_no_next_one_to_end_it(conn):
    frames = drive()
    keep(conn, "spa", frames, advance(frames, None)[0])

    assert store.lap_frames(conn, "spa", 4).num_rows == LAP_US // FRAME_US


def test_unknown_stays_apart_from_zero(conn):
    frames = drive()
    keep(conn, "spa", frames, advance(frames, None)[0])

    told = store.lap_frames(conn, "spa", 3, columns=["last_lap_time_ms", "x_m", "gear"])

    assert told.column_names == ["last_lap_time_ms", "x_m", "gear"]
    assert told["last_lap_time_ms"].to_pylist() == [None] * 6 + [10_001] * 494
    assert told["x_m"].null_count == 500
    assert set(told["gear"].to_pylist()) == {0}


def test_what_is_not_there_is_reported(conn):
    keep(conn, "spa", drive(laps=0.5), [])

    with pytest.raises(store.UnknownSession, match="'nowhere' is not in the store"):
        store.laps(conn, "nowhere")
    with pytest.raises(store.UnknownLap, match="no finished lap 2"):
        store.lap_frames(conn, "spa", 2)
    with pytest.raises(UnknownChannel, match="no column 'speed'"):
        store.lap_frames(conn, "spa", 2, columns=["speed"])


def test_a_hostile_key_is_only_a_key(conn):
    key = "'; DROP TABLE telemetry; -- {} %s"
    keep(conn, key, drive(laps=0.1), [])

    assert store.laps(conn, key) == []


@pytest.mark.parametrize("stored", [100, 600, 1_026, 1_100])
def test_a_restarted_engine_goes_on_where_it_was(conn, stored):
    """What the store gives back is enough: the laps after a restart are those of an engine that
    never stopped.
    """
    frames = drive()
    kept, _ = advance(frames.slice(0, stored), None)
    session_id = keep(conn, "spa", frames.slice(0, stored), kept)

    again, last = store.frames_to_resume(conn, session_id)
    if last is None:
        _, carry = advance(again, None)
    else:
        assert again.num_rows < 1_100
        _, carry = resume(again, lap_number=last.lap_number, started_at_us=last.started_at_us)
    later, _ = advance(frames.slice(stored), carry)

    laps = {lap.lap_number: lap for lap in [*kept, *later]}
    assert laps == {lap.lap_number: lap for lap in advance(frames, None)[0]}


def test_only_open_gaps_are_reported(conn):
    session_id = keep(conn, "spa", drive(laps=0.1), [])
    conn.execute(
        "INSERT INTO gaps (session_id, from_sequence, to_sequence, reason, resolved_at)"
        " VALUES (%s, 5, 9, 'missing', NULL), (%s, 20, 21, 'missing', now())",
        [session_id, session_id],
    )
    conn.execute(
        "INSERT INTO gaps (topic, partition, from_offset, to_offset, reason) VALUES ('telemetry',"
        " 3, 0, 99, 'retention')"
    )

    lost = store.open_gaps(conn)

    assert [(g.reason, g.session_key, g.from_sequence, g.to_offset) for g in lost] == [
        ("retention", None, None, 99),
        ("missing", "spa", 5, None),
    ]


def test_positions_state_how_far_ingest_has_come(conn):
    conn.execute(
        "INSERT INTO partition_offsets (topic, partition, next_offset, fence, owner, backend_pid,"
        " backend_start, heartbeat) VALUES ('telemetry', 1, 42, 1, 'worker', 1, now(),"
        " '2024-01-01T00:00:00Z')"
    )

    (position,) = store.partition_offsets(conn)

    assert (position.topic, position.partition, position.next_offset) == ("telemetry", 1, 42)
    assert position.heartbeat == datetime(2024, 1, 1, tzinfo=UTC)
