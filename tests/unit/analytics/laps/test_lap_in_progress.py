"""Sectors of the lap in progress: what is said when a sector ends is what the finished lap says."""

import numpy as np
import pyarrow as pa
import pytest

from analytics.files.recording import open_recording
from analytics.laps.engine import advance, sector_ended
from analytics.laps.state import EngineState
from analytics.model.lap import Lap, LapInProgress
from analytics.model.track_layout import UNKNOWN, TrackLayout
from ingest.batching.sequence_set import SequenceSet
from ingest.batching.write_batch import OpenSession, RunningLap
from ingest.codec.record_format import Kind, kind_of
from ingest.telemetry_pb2 import LapInProgress as Event
from ingest.telemetry_pb2 import TelemetryMessage
from ingest.workers.worker_threads import sectors_message
from tests.unit.analytics.laps.test_engine import DATA, LAP_MS, RECORDINGS, Drive, needs_recordings
from tests.unit.frames import NOON_MS, frame
from tests.unit.ingest.batching.test_write_batch import Reader

BATCH = 24  # frames at a time
THIRDS_MS = (12_000, 16_000, 12_000)


def followed(
    frames: pa.Table, layout: TrackLayout = UNKNOWN
) -> tuple[dict[int, Lap], list[LapInProgress]]:
    """As ingest follows a session: the laps, and what was said of those in progress."""
    laps: dict[int, Lap] = {}
    said: list[LapInProgress] = []
    engine_state: EngineState | None = None
    for start in range(0, frames.num_rows, BATCH):
        before = engine_state
        ended, engine_state = advance(frames.slice(start, BATCH), engine_state, layout)
        laps.update({lap.lap_number: lap for lap in ended})
        said += [lap for lap in [sector_ended(before, engine_state, layout)] if lap]
    return laps, said


def drove(*, laps: float = 3.5, start_ms: float = 0) -> Drive:
    return Drive(laps=laps, start_ms=start_ms, rate_hz=25)


def told(drive: Drive) -> Drive:
    """With sectors that the game tells, which end at 30 % and 70 % of the lap."""
    drive["sector"] = np.digitize(drive["normalized_position"], [0.3, 0.7]) + 1
    return drive


def assert_kept(laps: dict[int, Lap], said: list[LapInProgress]) -> None:
    """Each flying lap was told sector by sector, and keeps what was told of it."""
    flying = [lap for lap in laps.values() if lap.kind == "flying" and lap.sector_times_ms]
    assert flying
    for lap in flying:
        so_far = [one for one in said if one.lap_number == lap.lap_number]
        ended = range(1, len(lap.sector_times_ms))
        assert [one.sector_times_ms for one in so_far] == [lap.sector_times_ms[:k] for k in ended]
        assert [one.sector_ends_us for one in so_far] == [lap.sector_ends_us[:k] for k in ended]


def test_sectors_of_the_game_are_reported_one_by_one():
    laps, said = followed(told(drove()).frames())

    assert_kept(laps, said)
    assert [lap.sector_times_ms for lap in said if lap.lap_number == 3] == [
        pytest.approx(THIRDS_MS[:k], abs=41) for k in (1, 2)
    ]
    assert {lap.sector_source for lap in said} == {"game"}


def test_sectors_are_measured_where_the_game_reports_none():
    laps, said = followed(drove().frames(), TrackLayout(sectors=(0.3, 0.7)))

    assert_kept(laps, said)
    assert [lap.sector_times_ms for lap in said if lap.lap_number == 3] == [
        pytest.approx(THIRDS_MS[:k], abs=1) for k in (1, 2)
    ]
    assert {lap.sector_source for lap in said} == {"computed"}


@pytest.mark.parametrize("source", ["game", "computed"])
def test_sectors_after_a_pause_ended_when_the_car_was_there(source: str) -> None:
    """The game stood for a minute in the second sector of lap 3."""
    drive = told(drove()) if source == "game" else drove()
    frames = drive.frames()
    stood_us = 60_000_000 * (drive["lap_number"] == 3) * (drive["normalized_position"] > 0.5)
    stood_us = np.maximum.accumulate(stood_us)
    time_us = frames["time"].cast(pa.int64()).to_numpy() + stood_us
    column = pa.array(time_us).cast(frames.schema.field("time").type)
    frames = frames.set_column(frames.schema.get_field_index("time"), "time", column)

    laps, said = followed(frames, TrackLayout(sectors=(0.3, 0.7)))

    assert_kept(laps, said)
    assert laps[3].sector_source == source
    assert laps[3].sector_times_ms == pytest.approx(THIRDS_MS, abs=42)
    since_s = [(at_us - laps[3].started_at_us) / 1e6 for at_us in laps[3].sector_ends_us]
    assert since_s == pytest.approx([12, 88, 100], abs=0.05)


def test_game_that_knows_one_sector_only_has_them_measured():
    """From its second lap on: in the first one the game might still go on to sector 2."""
    drive = drove()
    drive["sector"] = 1
    laps, said = followed(drive.frames())

    assert {lap.lap_number for lap in said} == {3, 4, 5}
    assert laps[4].sector_source == "computed"
    assert said[2].sector_times_ms == laps[4].sector_times_ms[:1]


def test_lap_that_is_not_flying_any_more_shows_it():
    drive = told(drove())
    drive["validity"] = np.where(drive.at(1.5 * LAP_MS, 1.51 * LAP_MS), 2, 1)

    _, said = followed(drive.frames())

    assert [lap.flags for lap in said if lap.lap_number == 3] == [(), ("invalid",)]


def test_of_a_lap_that_was_joined_late_nothing_is_reported():
    _, said = followed(told(drove(start_ms=5_000)).frames())

    assert 2 not in {lap.lap_number for lap in said}


def test_attempt_that_is_driven_again_is_reported_again():
    """The game was restarted in sector 3: the number is the same, the lap is another one."""
    first, again = told(drove(laps=0.8)), told(drove(laps=0.5))
    again["time"] += int(first["time"][-1]) + 2_000 - int(again["time"][0])
    again["sequence"] += len(first.t)

    _, said = followed(pa.concat_tables([first.frames(), again.frames()]))

    assert [(lap.lap_number, len(lap.sector_times_ms)) for lap in said] == [(2, 1), (2, 2), (2, 1)]
    assert said[-1].flags == ("reset",)


def test_chunk_names_the_lap_of_which_a_sector_ended():
    """In a batch of several sessions, once, and on the version of the track that the session is
    timed on.
    """
    entry, reader = 20, Reader()
    values = [
        frame(
            timestamp=NOON_MS + 16 * n,
            sequence=n + 1,
            lap_time=16 * n,
            normalized_position=0.001 + n / 10_000,
            sector=1 if n < entry else 2,
        ).SerializeToString()
        for n in range(120)
    ]
    reader.sessions["a"] = OpenSession(1, "a", SequenceSet())
    reader.sessions["a"].begin_on(7, UNKNOWN)

    before = reader.read(*(("a", value) for value in values[:entry]), ("b", values[0]))
    chunk = reader.read(*(("a", value) for value in values[entry : entry + 9]), ("b", values[1]))
    after = reader.read(*(("a", value) for value in values[entry + 9 : entry + 90]))

    assert (before.running, after.running) == ((), ())
    (running,) = chunk.running
    assert (running.session_key, running.track_version, running.lap.lap_number) == ("a", 7, 3)
    assert running.lap.sector_times_ms == (16 * entry - 8,)


def test_message_of_a_lap_in_progress():
    lap = LapInProgress(3, 1_700_000_000_123_456, (30_001, 40_002), "game", ())

    message = sectors_message(RunningLap(1, "monza", 0, lap, ("purple", "yellow")))

    assert message == TelemetryMessage(
        session_id="monza",
        lap_in_progress=Event(
            session_id="monza",
            lap_number=3,
            started_at=1_700_000_000_123,
            sector_times=[30_001, 40_002],
            sector_colours=["purple", "yellow"],
        ),
    )
    assert kind_of(message.SerializeToString()) is Kind.MESSAGE


@needs_recordings
def test_real_laps_keep_what_was_reported_of_them():
    for name in RECORDINGS[::3]:
        frames = open_recording(DATA / f"{name}.parquet").frames()
        assert_kept(*followed(frames))
