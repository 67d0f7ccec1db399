"""Recordings: what is fit to be replayed, and what is said about the rest."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from analytics.errors import RecordingError
from analytics.files.recording import open_recording
from analytics.laps.engine import timed
from analytics.model.channels import CHANNELS, FRAMES
from tests.paths import SHARED
from tests.unit.analytics.laps.test_odd_sessions import Session

DATA = SHARED / "data"


def a_drive() -> dict[str, list[float]]:
    return {
        "timestamp_ms": [1_000, 1_016, 1_033],
        "lap_time_ms": [0, 16, 33],
        "throttle": [0.5, 0.75, 1.0],
        "brake": [0.0, 0.0, 0.0],
        "steering": [-0.5, 0.0, 0.5],
        "speed_kmh": [100.0, 100.5, 101.0],
        "gear": [3, 3, 4],
        "rpm": [6_000, 6_010, 5_000],
        "normalized_position": [0.0, 0.125, 0.25],
        "lap_number": [1, 1, 1],
    }


def write(path: Path, columns: dict[str, list[float]]) -> Path:
    module = pyarrow.csv.write_csv if path.suffix == ".csv" else pyarrow.parquet.write_table
    module(pa.table(columns), path)
    return path


@pytest.mark.parametrize("name", ["drive.parquet", "drive.csv"])
def test_frames_have_the_columns_that_everything_else_reads(tmp_path, name):
    recording = open_recording(write(tmp_path / name, a_drive()))

    frames = recording.frames(session_id=7)

    assert frames.schema == FRAMES
    assert frames["session_id"].to_pylist() == [7, 7, 7]
    assert frames["lap_clock_ms"].to_pylist() == [0, 16, 33]
    assert frames["time"].cast(pa.int64()).to_pylist() == [1_000_000, 1_016_000, 1_033_000]
    assert frames["sequence"].null_count == frames["x_m"].null_count == 3
    assert recording.duration_s == 0.033
    assert recording.sample_rate_hz == 60.61


def test_plain_lists_come_in_chunks(tmp_path):
    """A collector replays without Arrow, and an hour of frames is not one list."""
    recording = open_recording(write(tmp_path / "drive.csv", a_drive()))

    chunks = list(recording.columns(rows=2))

    assert [len(chunk["gear"]) for chunk in chunks] == [2, 1]
    assert [gear for chunk in chunks for gear in chunk["gear"]] == [3, 3, 4]
    assert next(iter(chunks[0])) == "timestamp_ms"


def test_the_file_beside_it_states_what_was_driven(tmp_path):
    path = write(tmp_path / "drive.parquet", a_drive())
    facts = {
        "game": "AC",
        "track": "Imola",
        "car": "GT3",
        "driver": "ann",
        "track_length_m": 4909,
        "extra": [],
    }
    path.with_suffix(".json").write_text(json.dumps(facts))

    recording = open_recording(path)

    assert (recording.game, recording.track, recording.car, recording.driver) == (
        "AC",
        "Imola",
        "GT3",
        "ann",
    )
    assert recording.track_length_m == 4909.0


def test_without_that_file_the_facts_are_empty(tmp_path):
    recording = open_recording(write(tmp_path / "drive.csv", a_drive()))

    assert recording.track == ""
    assert recording.track_length_m is None


def test_optional_channels_may_be_absent_or_unknown(tmp_path):
    columns = {**a_drive(), "sector": [1, None, 2], "x_m": [0.5, None, 1.5]}

    frames = open_recording(write(tmp_path / "drive.csv", columns)).frames()

    assert frames["sector"].to_pylist() == [1, None, 2]
    assert frames["x_m"].to_pylist() == [0.5, None, 1.5]


@pytest.mark.parametrize(
    ("column", "values", "row", "says"),
    [
        ("timestamp_ms", [1_000, 1_000, 1_033], 2, "not later than 1000"),
        ("timestamp_ms", [1_000, 1_016, 900], 3, "not later than 1016"),
    ],
)
def test_a_bad_value_is_named_with_column_and_row(tmp_path, column, values, row, says):
    path = write(tmp_path / "drive.parquet", {**a_drive(), column: values})

    with pytest.raises(RecordingError, match=says) as caught:
        open_recording(path)

    assert (caught.value.path, caught.value.column, caught.value.row) == (path, column, row)
    assert f"{path}, column {column}, row {row}: " in str(caught.value)


@pytest.mark.parametrize(
    ("column", "values", "blanked"),
    [
        ("speed_kmh", [100.0, float("nan"), 101.0], 0),
        ("speed_kmh", [100.0, None, 101.0], 0),
        ("speed_kmh", [100.0, 3.4e38, float("inf")], 2),
        ("steering", [0.0, 240.0, 0.0], 1),
        ("lap_number", [1, 2, None], 0),
        ("gear", [1, 2147483647, 2], 1),
        ("rpm", [-62, 4000, -3092], 2),
        ("x_m", [1.0, 2.0, float("nan")], 0),
    ],
)
def test_a_value_that_cannot_be_costs_no_recording(tmp_path, column, values, blanked):
    """Real ACC has 110 pages of 3,496 with an engine speed below 0; such a file could not be opened
    until 622aa62.
    """
    recording = open_recording(write(tmp_path / "drive.parquet", {**a_drive(), column: values}))

    kept = recording.table.column(column).to_pylist()
    low, high = next((c.low, c.high) for c in CHANNELS if c.name == column)
    assert kept == [
        value if value is not None and low <= value <= high else None for value in values
    ]
    assert recording.blanked == ({column: blanked} if blanked else {})


def test_a_column_in_another_unit_is_refused(tmp_path):
    path = write(tmp_path / "drive.parquet", {**a_drive(), "steering": [-240.0, 240.0, 100.0]})

    with pytest.raises(RecordingError, match="check the unit"):
        open_recording(path)


@pytest.mark.parametrize("unit", [1_000, 1_000_000])
def test_times_in_another_unit_are_no_times(tmp_path, unit):
    """Of µs or ns no calendar could say on which day they were."""
    driven_ms = [1_777_636_800_000, 1_777_636_800_016, 1_777_636_800_033]
    path = write(
        tmp_path / "drive.parquet", {**a_drive(), "timestamp_ms": [ms * unit for ms in driven_ms]}
    )

    with pytest.raises(RecordingError, match="is no time in ms since 1970") as caught:
        open_recording(path)

    assert (caught.value.column, caught.value.row) == ("timestamp_ms", 1)


def test_words_among_numbers_are_found(tmp_path):
    path = write(tmp_path / "drive.csv", {**a_drive(), "throttle": ["0.5", "-1e-3", "full"]})

    with pytest.raises(RecordingError, match="expected float; write plain numbers") as caught:
        open_recording(path)

    assert (caught.value.column, caught.value.row) == ("throttle", 3)


def test_fractions_do_not_become_whole_numbers(tmp_path):
    path = write(tmp_path / "drive.parquet", {**a_drive(), "lap_number": [1.0, 1.5, 2.0]})

    with pytest.raises(RecordingError, match="does not fit int32"):
        open_recording(path)


def test_a_missing_column_is_named(tmp_path):
    columns = a_drive()
    del columns["brake"]

    with pytest.raises(RecordingError, match="column brake: is missing"):
        open_recording(write(tmp_path / "drive.csv", columns))


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("drive.parquet", b"PAR1 and nothing else", "cannot be read"),
        ("drive.csv", b"", "cannot be read"),
        ("drive.csv", b"timestamp_ms,gear\n", "has no frames"),
        ("drive.xlsx", b"PK", "none of .parquet, .arrow and .csv"),
    ],
)
def test_what_is_no_recording_is_refused(tmp_path, name, content, says):
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(RecordingError, match=says):
        open_recording(path)


def test_no_file_is_an_error_of_ours(tmp_path):
    with pytest.raises(RecordingError, match="no such file"):
        open_recording(tmp_path / "nowhere.csv")


def test_broken_facts_are_not_passed_over(tmp_path):
    path = write(tmp_path / "drive.csv", a_drive())
    path.with_suffix(".json").write_text("{")

    with pytest.raises(RecordingError, match=r"drive\.json: is not JSON"):
        open_recording(path)


@pytest.mark.parametrize("length", ["-5", "4.9", "NaN", "1e12", "1" + 400 * "0"])
def test_a_length_that_no_track_has_is_named(tmp_path, length):
    path = write(tmp_path / "drive.csv", a_drive())
    path.with_suffix(".json").write_text(f'{{"track_length_m": {length}}}')

    with pytest.raises(RecordingError, match=r"drive\.json: track_length_m .* is no track's"):
        open_recording(path)


@pytest.mark.skipif(
    not DATA.is_dir(), reason=f"needs the real recordings in {DATA.name}/ beside the checkout"
)
def test_every_real_recording_opens():
    recordings = [open_recording(path) for path in sorted(DATA.glob("*.parquet"))]

    assert recordings
    assert all(
        recording.track and len(recording.frames()) == len(recording) for recording in recordings
    )


@pytest.mark.parametrize("rate_hz", [60, 120, 360, 20])
def test_rate_is_that_of_all_frames(tmp_path, rate_hz):
    """In whole ms a frame of 60 Hz takes 16 or 17 of them: the middle step would make 58.82 Hz. A
    pause is no slow frame.
    """
    drive = {name: values[:1] * 1000 for name, values in a_drive().items()}
    drive["timestamp_ms"] = [round(n * 1000 / rate_hz) + 60_000 * (n >= 500) for n in range(1000)]

    assert open_recording(write(tmp_path / "drive.parquet", drive)).sample_rate_hz == pytest.approx(
        rate_hz, rel=0.001
    )


@pytest.mark.parametrize("kind", [pa.uint32(), pa.int64(), pa.float64(), pa.float32(), "csv"])
def test_a_time_of_all_bits_is_none(tmp_path, kind):
    """0xFFFFFFFF as an unsigned number: the last lap time of lap 2 and, in lap 1, the lap clock of
    a car that waits.
    """
    session = Session(rate_hz=10.0)
    none_ms = 0xFFFFFFFF
    last_ms = np.where(session.lap == 2, none_ms, session["last_lap_time_ms"])
    clock_ms = np.where(session.t < 5, none_ms, session["lap_clock_ms"])
    number = pa.int64() if kind == "csv" else kind
    columns = {name: np.zeros(len(session.t)) for name in a_drive()} | {
        "timestamp_ms": session["time_ms"].astype(np.int64),
        "lap_time_ms": pa.array(clock_ms.astype(np.int64)).cast(number, safe=False),
        "last_lap_time_ms": pa.array(last_ms.astype(np.int64)).cast(number, safe=False),
        "lap_number": session["lap_number"].astype(np.int32),
        "speed_kmh": session["speed_kmh"],
        "normalized_position": session["normalized_position"],
    }
    name = "driven.csv" if kind == "csv" else "driven.parquet"

    laps = timed(open_recording(write(tmp_path / name, columns)).frames())

    assert [lap.official_lap_time_ms for lap in laps] == [60_000, None, 54_000, 56_000]
    assert [lap.time_ms for lap in laps] == pytest.approx([60_000, 55_000, 54_000, 56_000], abs=4)
