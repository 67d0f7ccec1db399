"""A timesheet of laps that lasted longer than their time: their frames are the engine's."""

import pyarrow as pa
import pytest

from analytics.fleet.timesheet import PLACES, timesheet
from analytics.model.session import SessionInfo
from tests.unit.analytics.laps.test_odd_sessions import START_MS, Session, driven_back

SESSION = SessionInfo(1, "s", "u", "g", "t", "c", "d", 4000.0, 3, 20.0, None, None, 0)


def driven(session: Session | None = None) -> Session:
    """Each lap is 20 km/h faster in its last fifth than before it."""
    session = session or Session()
    session["speed_kmh"] = 260.0 + 20 * (session["normalized_position"] > 0.8)
    return session


def sheet_of(session: Session) -> pa.Table:
    return timesheet(SESSION, session.frames())


def speeds_of(sheet: pa.Table, row: int) -> list[int]:
    return sheet["speed_kmh"][row].as_py()


def test_a_lap_with_a_pause_has_its_speeds_to_the_line() -> None:
    whole, session = sheet_of(driven()), driven()
    session["time_ms"] = session["time_ms"] + 60_000 * (session.t > 80)

    sheet = sheet_of(session)

    assert sheet["kind"].to_pylist() == ["flying"] * 4
    assert sheet["lap_time_ms"].to_pylist() == pytest.approx(
        [60_000, 55_000, 54_000, 56_000], abs=2
    )
    for row in range(4):
        assert len(speeds_of(sheet, row)) == PLACES + 1
        assert speeds_of(sheet, row) == speeds_of(whole, row)


def test_a_lap_after_going_back_has_its_own_frames() -> None:
    whole, sheet = sheet_of(driven()), sheet_of(driven(driven_back(80.0, 10.0)))

    assert sheet["kind"].to_pylist() == ["flying", "reset", "flying", "flying"]
    assert sheet["started_at"].cast(pa.int64()).to_pylist()[2] == pytest.approx(
        (START_MS + 125_000) * 1000, abs=5_000
    )
    assert speeds_of(sheet, 1) is None
    assert [speeds_of(sheet, row) for row in (2, 3)] == [speeds_of(whole, row) for row in (2, 3)]
