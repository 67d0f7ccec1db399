"""A lap is the same interval of the same number wherever it is read: summed up, as frames, over
REST.
"""

import numpy as np
import psycopg
import pytest

from analytics.files.summaries import laps_of
from analytics.store import queries as store
from analytics.store.summaries import lap_summaries, seconds
from ingest.store.schema.migrations import migrate
from serve.bridge.rest.answers import summed
from tests.service.owner import Owner
from tests.unit.recordings import Driven, even_drive, uncounted_out_lap

KEY = "session"


@pytest.fixture
def conn(database):
    with psycopg.connect(database.url, autocommit=True) as conn:
        yield conn


def ingest(database, drive: Driven, *, batch: int = 1_000) -> None:
    values = drive.values()
    with Owner(database.url) as owner:
        for start in range(0, len(values), batch):
            owner.write(*((KEY.encode(), value) for value in values[start : start + batch]))


def test_an_out_lap_that_the_game_does_not_count_moves_no_top_speed(database, conn):
    """They were those of the next lap: 210 220 230 120."""
    drive = uncounted_out_lap()
    ingest(database, drive)
    sums, laps = lap_summaries(conn, KEY), store.laps(conn, KEY)

    assert [(lap.lap_number, lap.max_speed_kmh) for lap in sums] == [
        (1, 150),
        (2, 210),
        (3, 220),
        (4, 230),
        (5, 120),
    ]
    assert [lap.max_speed_kmh for lap in laps] == [lap.max_speed_kmh for lap in sums[:4]]
    assert [one.frames for one in laps_of(drive.frames(), laps)] == [one.frames for one in sums]
    for lap in sums:
        frames = store.lap_frames(conn, KEY, lap.lap_number)
        assert (frames["time"][0].as_py(), frames["time"][-1].as_py()) == (
            lap.first_frame_at,
            lap.last_frame_at,
        )
        assert frames.num_rows == lap.frames


def test_the_threshold_itself_is_pressed(database, conn):
    """A column of type real holds 0.0199999995 for 0.02, which is below the constant."""
    drive = even_drive((100.0,))
    drive.columns["brake"] = np.full(len(drive.lap), 0.02, np.float32)
    drive.columns["throttle"] = np.full(len(drive.lap), 0.98, np.float32)
    ingest(database, drive)

    assert {(lap.braking_share, lap.full_throttle_share) for lap in lap_summaries(conn, KEY)} == {
        (1.0, 1.0)
    }


def test_seconds_of_which_no_value_is_known_are_answered(database, conn):
    """A stalled engine is turned backwards for longer than a second: its rpm are blanked in every
    frame of it.
    """
    drive = even_drive((100.0,))
    drive.columns["rpm"] = np.where(drive.time_ms - drive.time_ms[0] < 3_000, -62, 7_000)
    ingest(database, drive)
    found = seconds(conn, KEY)

    assert found["avg_rpm"][0].as_py() is None
    assert found["avg_rpm"][10].as_py() == 7_000
    assert summed(found)["avg_rpm"][:11:10] == [None, 7_000]


def test_first_frame_that_does_not_know_its_lap_hides_none(database, conn):
    drive = even_drive((100.0,))
    drive.columns["rpm"] = np.full(len(drive.lap), -62)
    ingest(database, drive)
    conn.execute("DELETE FROM laps")
    conn.execute(
        "UPDATE telemetry SET lap_number = NULL WHERE time = (SELECT min(time) FROM telemetry)"
    )

    assert [(lap.lap_number, lap.max_rpm) for lap in lap_summaries(conn, KEY)] == [(1, None)]


def paused_in_the_last_lap() -> Driven:
    """The game stood for a minute in the fourth lap: its clock did too, the calendar did not."""
    drive = even_drive((100.0, 95.0, 94.0, 96.0))
    drive.time_ms = drive.time_ms + np.where(drive.time_ms > 330_000, 60_000.0, 0.0)
    return drive


def gone_back_in_the_last_lap() -> Driven:
    """Ten seconds of the fourth lap were driven twice."""
    drive = even_drive((100.0, 95.0, 94.0, 96.0))
    again = drive.time_ms > 320_000
    first = drive.time_ms <= 330_000
    order = np.concatenate([np.flatnonzero(first), np.flatnonzero(again)])
    time_ms = np.concatenate([drive.time_ms[first], drive.time_ms[again] + 10_000])
    return Driven(
        drive.lap[order], time_ms, {name: column[order] for name, column in drive.columns.items()}
    )


@pytest.mark.parametrize(
    ("drive", "fourth"),
    [(paused_in_the_last_lap(), 1920), (gone_back_in_the_last_lap(), 2120)],
    ids=["pause", "rewind"],
)
def test_a_lap_ends_where_the_next_one_begins_however_long_it_took(database, conn, drive, fourth):
    """Not its time after its start: in the lap in progress there were frames of a minute that is
    the lap before's.
    """
    ingest(database, drive)
    laps = store.laps(conn, KEY)
    running = store.lap_frames(conn, KEY, store.open_lap(laps))

    assert [lap.frames for lap in lap_summaries(conn, KEY)] == [2000, 1900, 1880, fourth, 400]
    assert [store.lap_frames(conn, KEY, lap.lap_number).num_rows for lap in laps] == [
        2000,
        1900,
        1880,
        fourth,
    ]
    assert [lap.ended_at_us for lap in laps[:-1]] == [lap.started_at_us for lap in laps[1:]]
    assert (running.num_rows, running["normalized_position"][0].as_py()) == (
        400,
        pytest.approx(0, abs=1e-3),
    )
    assert [one.frames for one in laps_of(drive.frames(), laps)] == [2000, 1900, 1880, fourth, 400]


def test_laps_of_before_get_their_ends(database, conn):
    """An upgrade knows where the next lap began; the last one is as long as it took, until it is
    timed again.
    """
    ingest(database, even_drive((100.0, 95.0, 94.0)))
    laps = store.laps(conn, KEY)
    conn.execute("UPDATE laps SET ended_at = NULL")
    migrate(conn)

    assert store.laps(conn, KEY) == laps


def test_reasons_of_before_become_codes(database, conn):
    ingest(database, even_drive((100.0, 95.0, 94.0)))
    conn.execute("UPDATE laps SET reasons = ARRAY['left the pits', 'hole', 'of a later version']")
    migrate(conn)

    reasons = {lap.reasons for lap in store.laps(conn, KEY)}
    assert reasons == {("left_pits", "frames_missing", "of a later version")}


@pytest.mark.parametrize("migrated", [False, True])
def test_laps_of_before_that_have_no_time_get_their_frames(database, conn, migrated):
    """Without a time and a next lap an upgrade gave them an empty interval; one that did so before
    is put right, too.
    """
    ingest(database, even_drive((100.0, 95.0, 94.0)))
    *_, before, last = store.laps(conn, KEY)
    conn.execute("UPDATE laps SET lap_time_ms = NULL, official_lap_time_ms = NULL")
    conn.execute("UPDATE laps SET ended_at = CASE WHEN %s THEN started_at END", [migrated])
    migrate(conn)
    *_, second, third = store.laps(conn, KEY)
    frames = store.lap_frames(conn, KEY, third.lap_number)

    assert (second.started_at_us, second.ended_at_us) == (before.started_at_us, before.ended_at_us)
    assert frames["time"][-1].as_py() == store.session(conn, KEY).last_frame_at
    assert frames.num_rows >= last.frames
