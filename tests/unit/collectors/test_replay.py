"""Recordings become frames, or an error that names column and row."""

import pytest

from ingest.codec.blanking import blanked_fields
from ingest.collectors.replay import REQUIRED, replay
from ingest.errors import ReplayError
from ingest.telemetry_pb2 import TelemetryFrame
from tests.paths import SHARED
from tests.unit.frames import NOON_MS

RECORDINGS = SHARED / "data"


def rows(count, *, first_ms=NOON_MS, **changes):
    """A car at speed, ten frames a second."""
    columns = {
        "timestamp_ms": [first_ms + 100 * i for i in range(count)],
        "lap_time_ms": [65_000 + 100 * i for i in range(count)],
        "throttle": [0.75] * count,
        "brake": [0.0] * count,
        "steering": [-0.25] * count,
        "speed_kmh": [212.5] * count,
        "gear": [5] * count,
        "rpm": [7350] * count,
        "normalized_position": [0.375] * count,
        "lap_number": [3] * count,
    }
    return columns | changes


def test_a_row_is_a_frame():
    (frame,) = replay([rows(1)])

    assert frame == TelemetryFrame(
        timestamp=NOON_MS,
        lap_time=65_000,
        throttle=0.75,
        steering=-0.25,
        speed=212.5,
        gear=5,
        rpm=7350,
        normalized_position=0.375,
        lap_number=3,
    )


def test_batches_follow_each_other():
    frames = replay([rows(2), rows(0), rows(3, first_ms=NOON_MS + 200)])

    assert [f.timestamp - NOON_MS for f in frames] == [0, 100, 200, 300, 400]


def test_a_session_can_be_moved_in_time():
    frames = replay([rows(2, first_ms=77), rows(1, first_ms=277)], first_timestamp_ms=NOON_MS)

    assert [f.timestamp - NOON_MS for f in frames] == [0, 100, 200]


def test_what_a_recording_may_have_and_lack():
    (frame,) = replay([rows(1, x_m=[12.5], sector=[None])])

    assert frame.x == 12.5
    assert frame.sector == 0


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_column_is_named(name):
    columns = rows(2)
    del columns[name]

    with pytest.raises(ReplayError, match=f"column {name}: is missing"):
        list(replay([columns]))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), None, 3.4e38])
def test_a_value_that_cannot_be_is_sent_as_unknown(bad):
    before, blank, after = replay([rows(3, speed_kmh=[200.0, bad, 200.0])])

    assert blanked_fields(blank) == ("speed",)
    assert (before.blanked, blank.speed, blank.gear, after.blanked) == (0, 0, before.gear, 0)


def test_a_value_that_is_no_number_is_named_with_its_row():
    second = rows(3, first_ms=NOON_MS + 300, speed_kmh=[200.0, "fast", 200.0])

    with pytest.raises(ReplayError, match=r"column speed_kmh, row 4: 'fast' does not fit"):
        list(replay([rows(3), second]))


@pytest.mark.parametrize("bad", [2.5, "third"])
def test_a_value_that_does_not_fit_the_wire_is_named(bad):
    with pytest.raises(ReplayError, match=r"column gear, row 1: .* does not fit") as caught:
        list(replay([rows(2, gear=[3, bad])]))
    assert (caught.value.column, caught.value.row) == ("gear", 1)


def test_time_stands_still_within_a_batch():
    with pytest.raises(ReplayError, match="column timestamp_ms, row 1: 5 is not after 5"):
        list(replay([rows(2, timestamp_ms=[5, 5])]))


def test_time_runs_back_between_batches():
    with pytest.raises(ReplayError, match="column timestamp_ms, row 2"):
        list(replay([rows(2), rows(2)]))


def test_columns_of_different_length():
    with pytest.raises(ReplayError, match="column brake: has 1 rows where timestamp_ms has 2"):
        list(replay([rows(2, brake=[0.0])]))


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="no recordings beside the checkout")
@pytest.mark.parametrize("path", sorted(RECORDINGS.glob("*.parquet")), ids=lambda p: p.stem)
def test_every_recorded_row_is_replayed(path):
    table = pytest.importorskip("pyarrow.parquet").read_table(path)
    batches = [batch.to_pydict() for batch in table.to_batches(max_chunksize=1000)]
    frames = list(replay(batches))

    assert [f.timestamp for f in frames] == table["timestamp_ms"].to_pylist()
    assert [f.lap_number for f in frames] == table["lap_number"].to_pylist()
    assert [f.speed for f in frames] == table["speed_kmh"].to_pylist()
