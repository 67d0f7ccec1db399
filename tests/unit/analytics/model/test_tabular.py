"""Laps and frames for those who use pandas or Polars: all rows, the types that Arrow had, and what
is not known stays so.
"""

from datetime import UTC, datetime
from types import ModuleType

import pandas as pd
import pyarrow as pa
import pytest

import analytics
from analytics.catalog import LAPS, Session
from analytics.comparison.corner_metrics import MEASURES, cornering
from analytics.comparison.corners import find_corners
from analytics.comparison.trace import traces
from analytics.model.channels import FRAMES
from ingest.collectors.simulator.circuit import val_sarine
from ingest.simulated_recordings import record

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def pl() -> ModuleType:
    """Imported where these tests run, and not in every process that collects them. (Arrow itself
    imports pandas there.)
    """
    import polars

    return polars


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Session:
    path = tmp_path_factory.mktemp("driven") / "stint.parquet"
    return analytics.open(
        record(path, val_sarine(), seed=5, laps=3, started_at=NOON, rate_hz=10)
    ).sessions.newest()


def test_polars_takes_laps_as_they_are(drive: Session, pl: ModuleType) -> None:
    laps = pl.DataFrame(drive.laps)

    assert laps.columns == LAPS.names
    assert laps["lap_number"].to_list() == [1, 2, 3]
    assert laps.schema["lap_time_ms"] == pl.Int32
    assert laps.schema["started_at"] == pl.Datetime("us", "UTC")
    assert laps.schema["sector_times_ms"] == pl.List(pl.Int32)
    assert (
        laps["flags"].to_list() == drive.laps.to_arrow()["flags"].to_pylist() == [["out"], [], []]
    )


def test_polars_looks_at_the_frames_where_they_are(drive: Session, pl: ModuleType) -> None:
    """No column is copied on the way: a session of an hour is there at once."""
    frames = drive.telemetry()

    taken = pl.DataFrame(frames)

    assert len(taken) == drive.facts.frames
    for name in ("time", "speed_kmh", "throttle", "lap_number"):
        (chunk,) = frames[name].chunks
        assert taken[name].to_arrow().buffers()[1].address == chunk.buffers()[1].address, name


def test_a_lap_and_a_session_are_their_frames(drive: Session, pl: ModuleType) -> None:
    lap = drive.laps.numbered(2).only()

    assert pa.table(lap).equals(lap.telemetry())
    assert pa.table(lap).schema == FRAMES
    assert len(pl.DataFrame(lap)) == len(lap.to_pandas()) == lap.lap.frames
    assert len(pl.DataFrame(drive)) == drive.facts.frames


def test_pandas_gets_times_with_their_zone_and_singles_as_singles(drive: Session) -> None:
    frames, laps = (
        drive.telemetry(["time", "speed_kmh", "gear", "x_m"]).to_pandas(),
        drive.laps.to_pandas(),
    )

    assert len(frames) == drive.facts.frames
    assert isinstance(frames["time"].dtype, pd.DatetimeTZDtype)
    assert frames["time"].iloc[0] == NOON
    assert str(frames["speed_kmh"].dtype) == "float32"
    assert laps["lap_number"].tolist() == [1, 2, 3]
    assert laps["started_at"].iloc[1] == drive.laps.numbered(2).only().started_at


def test_what_is_not_known_is_null_and_not_zero(drive: Session, pl: ModuleType) -> None:
    """The game told no official time before the first line; who never brakes has no braking
    point.
    """
    first = drive.telemetry(["last_lap_time_ms"]).slice(0, 5)
    laps = traces(drive.laps)
    driven = cornering(laps, find_corners(laps))

    assert pl.DataFrame(first)["last_lap_time_ms"].to_list() == [None] * 5
    assert first.to_pandas()["last_lap_time_ms"].isna().all()
    not_done = sum(int((values != values).sum()) for values in driven.measures.values())
    assert not_done > 0
    assert (
        sum(pl.DataFrame(driven).null_count().row(0))
        == int(driven.to_pandas().isna().sum().sum())
        == not_done
    )


def test_traces_are_tables_of_places(drive: Session, pl: ModuleType) -> None:
    (lap,) = traces(drive.laps.numbered(3))

    table = pl.DataFrame(lap)

    assert len(table) == len(lap.axis)
    assert table["time_s"][-1] == lap.lap_time_s
    assert set(MEASURES) <= set(pl.DataFrame(cornering([lap], find_corners([lap]))).columns)
