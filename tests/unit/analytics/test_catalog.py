"""Choosing sessions and laps from recordings: what is found, in which order, and what is said when
there is nothing.
"""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

import analytics
from analytics.catalog import LAPS, Catalog, lap_time
from analytics.errors import NoLap, NoSession, RecordingError, UnknownChannel
from analytics.model.channels import FRAMES
from ingest.collectors.simulator.circuit import aldermoor_park, val_sarine
from ingest.simulated_recordings import record

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """Ada Okafor at Val Sarine at noon, and the driver of seed 2 at Aldermoor an hour later; at 10
    Hz.
    """
    folder = tmp_path_factory.mktemp("recordings")
    record(folder / "noon.parquet", val_sarine(), seed=5, laps=4, started_at=NOON, rate_hz=10)
    later = NOON + timedelta(hours=1)
    record(folder / "one.csv", aldermoor_park(), seed=2, laps=2, started_at=later, rate_hz=10)
    return analytics.open(folder)


def test_importing_analytics_imports_no_arrow() -> None:
    """Whoever only wants the name pays nothing."""
    program = (
        "import analytics, sys; sys.exit('pyarrow' in sys.modules or 'psycopg' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_fastest_lap_of_a_driver_in_one_line(catalog: Catalog) -> None:
    fastest = catalog.laps.of("ada okafor").on("sarine").flying().fastest()

    assert fastest.time_ms == min(
        lap.time_ms or 0 for lap in catalog.sessions["noon"].laps.flying()
    )
    assert str(fastest) == f"Ada Okafor, lap {fastest.number}, {lap_time(fastest.time_ms)}"


def test_a_selection_is_a_value(catalog: Catalog) -> None:
    """A step makes a new one: the selection it was made from still means what it meant."""
    every = catalog.laps
    flying = every.flying()

    assert [lap.number for lap in every.on("sarine")] == [1, 2, 3, 4]
    assert [lap.number for lap in flying.on("sarine")] == [2, 3, 4]
    assert len(list(every)) == 6
    assert [lap.number for lap in flying.numbered(3).on("sarine")] == [3]


def test_laps_come_in_the_order_they_were_driven_or_by_time(catalog: Catalog) -> None:
    assert [lap.started_at for lap in catalog.laps] == sorted(
        lap.started_at for lap in catalog.laps
    )
    times = [lap.time_ms or 0 for lap in catalog.laps.fastest_first(4)]
    assert times == sorted(times)
    assert len(times) == 4


def test_time_restricts_laps_and_sessions(catalog: Catalog) -> None:
    half_past = NOON + timedelta(minutes=30)

    assert {lap.session.key for lap in catalog.laps.between(half_past, None)} == {"one"}
    assert [drive.key for drive in catalog.sessions.between(None, half_past)] == ["noon"]
    assert catalog.sessions.newest().key == "one"


def test_a_lap_is_the_columns_that_were_requested(catalog: Catalog) -> None:
    lap = catalog.sessions["noon"].laps.numbered(2).fastest()

    frames = lap.telemetry(["speed_kmh", "time"])

    assert frames.column_names == ["speed_kmh", "time"]
    assert frames.num_rows == lap.lap.frames
    assert frames["time"][0].as_py() >= lap.started_at
    assert lap.telemetry().schema == FRAMES


def test_laps_are_a_table_too(catalog: Catalog) -> None:
    table = catalog.laps.to_arrow()

    assert table.schema == LAPS
    assert table["flags"].to_pylist()[0] == ["out"]
    assert sum(table["sector_times_ms"].to_pylist()[1]) == table["lap_time_ms"].to_pylist()[1]


def test_a_recording_is_followed_to_its_end(catalog: Catalog) -> None:
    drive = catalog.sessions["one"]

    followed = list(drive.follow(["sequence", "speed_kmh"], every_s=0, quiet_s=0.01))

    assert sum(frames.num_rows for frames in followed) == drive.facts.frames
    assert drive.telemetry(["speed_kmh"]).num_rows == drive.facts.frames


def test_what_is_not_there_is_reported(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(NoLap, match=r"no lap fits drivers=\('alice',\), flying=True"):
        catalog.laps.of("alice").flying().fastest()
    with pytest.raises(NoSession, match="no session fits keys="):
        catalog.sessions["yesterday"]
    with pytest.raises(UnknownChannel, match="no column 'downforce'"):
        catalog.laps.fastest().telemetry(["downforce"])
    with pytest.raises(ValueError, match="names no time zone"):
        catalog.laps.between(datetime(2026, 5, 1), None)
    with pytest.raises(RecordingError, match="holds no recording"):
        analytics.open(tmp_path)


def test_two_files_of_one_name_are_two_sessions(catalog: Catalog, tmp_path: Path) -> None:
    """An export beside what it was made of: asked for one of them, nobody wants the laps of
    both.
    """
    drive = catalog.sessions["noon"]
    drive.export(tmp_path / "noon.csv")
    drive.export(tmp_path / "noon.parquet")
    (tmp_path / "parts.parquet").mkdir()

    both = analytics.open(tmp_path)

    assert {one.key for one in both.sessions} == {"noon.csv", "noon.parquet"}
    assert [lap.number for lap in both.sessions["noon.csv"].laps] == [1, 2, 3, 4]


def test_a_suffix_may_be_in_capitals(catalog: Catalog, tmp_path: Path) -> None:
    """As some loggers, and cards that were formatted long ago, write it."""
    recording = catalog.sessions["noon"].export(tmp_path / "noon.parquet")
    recording.rename(tmp_path / "NOON.PARQUET")

    assert [one.key for one in analytics.open(tmp_path).sessions] == ["NOON"]


def test_stopwatch_times() -> None:
    assert [lap_time(ms) for ms in (118_432, 59_005, None)] == ["1:58.432", "0:59.005", "no time"]


def test_a_recording_states_itself_where_its_line_is(tmp_path: Path) -> None:
    """Some games' positions wrap behind the line: its first lap would seem to begin in the middle,
    and no part could be measured.
    """
    path = record(
        tmp_path / "origin.parquet", val_sarine(), seed=5, laps=4, started_at=NOON, rate_hz=10
    )
    frames = pyarrow.parquet.read_table(path)
    place = frames.column_names.index("normalized_position")
    moved = np.mod(frames.column(place).to_numpy() + 0.979, 1.0).astype(np.float32)
    pyarrow.parquet.write_table(
        frames.set_column(place, frames.field(place), [moved]), tmp_path / "behind.parquet"
    )

    laps = {key: list(analytics.open(tmp_path).sessions[key].laps) for key in ("origin", "behind")}

    assert [(lap.lap.kind, lap.time_ms) for lap in laps["behind"]] == [
        (lap.lap.kind, lap.time_ms) for lap in laps["origin"]
    ]
    for at_origin, behind in zip(laps["origin"][1:], laps["behind"][1:], strict=True):
        assert behind.lap.line_position == pytest.approx(0.979, abs=0.002)
        assert behind.lap.mini_sector_times_ms == pytest.approx(
            at_origin.lap.mini_sector_times_ms, abs=15
        )
