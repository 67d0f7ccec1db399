"""What ingest stores, the read API gives back: to the last bit, and the same in every edition."""

import functools
import itertools
from dataclasses import astuple, replace

import numpy as np
import psycopg
import pyarrow as pa
import pytest
from psycopg import sql

from analytics.files.summaries import laps_of, seconds_of
from analytics.laps.engine import RESUME_MARGIN_US, advance
from analytics.model.channels import FRAMES, schema_of
from analytics.model.summary import FULL_THROTTLE
from analytics.store import queries as store
from analytics.store.arrow_fetch import read_table
from analytics.store.frame_pages import frames
from analytics.store.summaries import lap_summaries, seconds
from ingest.batching.write_batch import WriteBatch
from ingest.collectors.simulator.circuit import val_sarine
from ingest.collectors.simulator.frames import drive, facts
from ingest.telemetry_pb2 import TelemetryMessage
from tests.service.owner import Owner

#: 2026-01-01T00:00:00Z: the day changes in the middle of the second lap, and with it the chunk.
MIDNIGHT_MS = 1_767_225_600_000
STARTED_AT_MS = MIDNIGHT_MS - 140_000
RATE_HZ = 10
FRAMES_DRIVEN = 4_000
KEY = "session"

TINY = np.finfo(np.float32).smallest_subnormal
HUGE = np.finfo(np.float32).max
FLOATS = np.array([0.0, -0.0, TINY, -TINY, HUGE, -HUGE, 0.1, np.inf, -np.inf, np.nan], np.float32)
ROWS = 12


# --- each value
# --------------------------------------------------------------------------------------------------


def extremes(field):
    """As many as there are rows; the last one is NULL where that may be."""
    if pa.types.is_timestamp(field.type):
        values = np.linspace(1, 4_000_000_000_000_001, ROWS, dtype=np.int64)
    elif pa.types.is_floating(field.type):
        values = np.resize(FLOATS, ROWS)
    else:
        limits = np.iinfo(field.type.to_pandas_dtype())
        values = np.resize(
            np.array([limits.min, limits.min + 1, -1, 0, 1, limits.max], limits.dtype), ROWS
        )
    unknown = np.arange(ROWS) == ROWS - 1 if field.nullable else None
    return pa.array(values, mask=unknown).cast(field.type)


def bits(column):
    """NULLs, and the rest as bytes: NaN is not itself, and the two zeros are the same, if asked in
    numbers.
    """
    known = column.combine_chunks().drop_null()
    plain = known.cast(pa.int64()) if pa.types.is_timestamp(known.type) else known
    return column.is_null().to_pylist(), plain.to_numpy().tobytes()


def test_every_channel_keeps_its_extremes_to_the_bit(database):
    frames = pa.table([extremes(field) for field in FRAMES], schema=FRAMES)
    with Owner(database.url) as owner:
        owner.store.write(WriteBatch(0, 1, frames), owner.fence)
    with psycopg.connect(database.url) as conn:
        back = read_table(conn, FRAMES, sql.SQL("FROM telemetry ORDER BY time").format(), {})

    assert back.schema == FRAMES
    for name in FRAMES.names:
        assert bits(back[name]) == bits(frames[name]), name


# --- a session
# --------------------------------------------------------------------------------------------------


@functools.cache
def records():
    """The facts, and then all frames."""
    told = facts(
        val_sarine(), session_id=KEY, user_id="anna", driver="Anna", started_at_ms=STARTED_AT_MS
    )
    values = [TelemetryMessage(session=told, session_id=KEY).SerializeToString()]
    driven = drive(val_sarine(), seed=5, started_at_ms=STARTED_AT_MS, rate_hz=RATE_HZ)
    for sequence, frame in enumerate(itertools.islice(driven, FRAMES_DRIVEN), 1):
        frame.sequence = sequence
        values.append(frame.SerializeToString())
    return [(KEY.encode(), value) for value in values]


@pytest.fixture
def driven(database):
    """All its frames, as they were stored: in two batches by one worker, and in the rest by its
    successor.
    """
    stored = []
    with Owner(database.url) as first:
        stored += [first.write(*records()[:900]), first.write(*records()[900:2200])]
    with Owner(database.url) as second:
        stored += [
            second.write(*records()[start : start + 300])
            for start in range(2200, FRAMES_DRIVEN + 1, 300)
        ]
    return pa.concat_tables([chunk.frames for chunk in stored])


@pytest.fixture
def conn(database):
    with psycopg.connect(database.url, autocommit=True) as conn:
        yield conn


def in_single(laps):
    """With speeds as columns of type real say them: in as few digits as a float32 needs."""
    return [replace(lap, max_speed_kmh=np.float32(lap.max_speed_kmh)) for lap in laps]


def test_laps_are_those_of_an_engine_that_never_stopped(driven, conn):
    timed, _ = advance(driven, None)

    assert len(timed) >= 3
    assert in_single(store.laps(conn, KEY)) == in_single(timed)


def test_laps_and_the_open_one_hold_every_frame_from_the_first_line_on(driven, conn):
    """One of them was driven over midnight."""
    laps = store.laps(conn, KEY)
    numbers = [*(lap.lap_number for lap in laps), store.open_lap(laps)]
    back = pa.concat_tables([store.lap_frames(conn, KEY, number) for number in numbers])

    assert back.equals(driven.slice(driven.num_rows - back.num_rows))
    assert driven.num_rows - back.num_rows < 100


def test_session_has_its_facts_and_its_books(driven, conn):
    (session,) = store.sessions(conn)

    assert (session.key, session.user_id, session.driver, session.track) == (
        KEY,
        "anna",
        "Anna",
        val_sarine().name,
    )
    assert session.frames == driven.num_rows == FRAMES_DRIVEN
    assert session.started_at.timestamp() * 1000 == STARTED_AT_MS
    assert session.last_frame_at == driven["time"][-1].as_py()
    assert store.open_gaps(conn) == []
    assert [(p.partition, p.next_offset, p.owner) for p in store.partition_offsets(conn)] == [
        (3, FRAMES_DRIVEN + 1, "test")
    ]


def test_engine_resumes_from_the_last_lap_and_the_frame_before_its_margin(driven, conn):
    frames, last = store.frames_to_resume(conn, driven["session_id"][0].as_py())
    from_margin = (
        driven["time"].cast(pa.int64()).to_numpy() >= last.started_at_us - RESUME_MARGIN_US
    )

    assert last == store.laps(conn, KEY)[-1]
    assert frames.equals(driven.slice(FRAMES_DRIVEN - frames.num_rows))
    assert frames.num_rows == from_margin.sum() + 1 < FRAMES_DRIVEN / 2


def test_seconds_are_those_of_the_frames(driven, conn):
    summed = seconds(conn, KEY)
    each = driven["time"].cast(pa.int64()).to_numpy() // 1_000_000
    first = np.flatnonzero(np.diff(each, prepend=-1))
    speed = driven["speed_kmh"].to_numpy()

    assert (
        summed["second"].cast(pa.int64()).to_numpy().tolist() == (each[first] * 1_000_000).tolist()
    )
    assert summed["frames"].to_pylist() == np.diff(first, append=len(each)).tolist()
    assert summed["max_speed_kmh"].to_numpy().tolist() == np.maximum.reduceat(speed, first).tolist()
    mean = np.add.reduceat(speed.astype(float), first) / np.diff(first, append=len(each))
    assert summed["avg_speed_kmh"].to_numpy() == pytest.approx(mean)
    of_recording = seconds_of(driven)
    assert of_recording.schema == summed.schema
    for name in summed.column_names[1:]:
        assert of_recording[name].to_numpy() == pytest.approx(summed[name].to_numpy()), name
    assert of_recording["second"].equals(summed["second"])


def test_laps_are_summed_up_from_their_frames(driven, conn):
    laps = store.laps(conn, KEY)
    numbers = [*(lap.lap_number for lap in laps), store.open_lap(laps)]
    for lap in lap_summaries(conn, KEY):
        of_lap = store.lap_frames(conn, KEY, lap.lap_number)
        assert lap.frames == of_lap.num_rows
        assert lap.max_rpm == of_lap["rpm"].to_numpy().max()
        assert lap.avg_speed_kmh == pytest.approx(
            of_lap["speed_kmh"].to_numpy().astype(float).mean()
        )
        assert lap.full_throttle_share == pytest.approx(
            (of_lap["throttle"].to_numpy() >= FULL_THROTTLE).mean()
        )
    assert [lap.lap_number for lap in lap_summaries(conn, KEY)] == numbers
    for stored, of_recording in zip(lap_summaries(conn, KEY), laps_of(driven, laps), strict=True):
        assert astuple(of_recording)[:4] == astuple(stored)[:4]
        assert astuple(of_recording)[4:] == pytest.approx(astuple(stored)[4:])


# --- a page
# --------------------------------------------------------------------------------------------------


def test_pages_hold_every_frame_once_though_many_have_the_same_time(database, monkeypatch):
    """Whatever the page's length."""
    times_us = np.repeat(np.arange(1, 8) * 1_000_000, [1, 4, 1, 1, 3, 2, 1])
    stored = pa.table(
        [extremes(field).take(np.zeros(len(times_us), int)) for field in FRAMES], schema=FRAMES
    )
    stored = stored.set_column(0, FRAMES[0], pa.array(times_us).cast(FRAMES[0].type))
    stored = stored.set_column(
        1, FRAMES[1], pa.array(np.arange(len(times_us))).cast(FRAMES[1].type)
    )
    session_id = stored["session_id"][0].as_py()
    with Owner(database.url) as owner:
        owner.store.write(WriteBatch(0, 1, stored), owner.fence)

    with psycopg.connect(database.url, autocommit=True) as conn:
        for rows in range(1, len(times_us) + 2):
            monkeypatch.setattr("analytics.store.frame_pages.PAGE_ROWS", rows)
            back = frames(conn, schema_of(["sequence"]), session_id)
            assert sorted(back["sequence"].to_pylist()) == list(range(len(times_us))), rows
