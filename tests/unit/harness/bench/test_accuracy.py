"""The accuracy of lap times: what sidecars lack, and laps that are numbered in two ways."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.bench.accuracy import METHODS, Told, errors_of, recorded, told_laps
from tests.unit.analytics.laps.test_odd_sessions import LAPS_S, START_MS, Session

TOLD_MS = [round(1000 * lap_s) for lap_s in LAPS_S]
SOURCE = "game's own last-lap time"


def true_laps(times_ms: list[int | None], first: int = 1) -> list[dict[str, Any]]:
    return [
        {"lap_number": number, "lap_time_ms": time_ms, "source": SOURCE}
        for number, time_ms in enumerate(times_ms, first)
    ]


def write(folder: Path, sidecar: dict[str, Any] | None) -> None:
    """A recording as programs write it, and its sidecar."""
    session = Session()
    required = {"throttle": 1.0, "brake": 0.0, "steering": 0.0, "gear": 4, "rpm": 7000}
    columns = {name: np.full(len(session.t), value) for name, value in required.items()} | {
        "timestamp_ms": session["time_ms"].astype(np.int64),
        "lap_time_ms": session["lap_clock_ms"].astype(np.int32),
        "lap_number": session["lap_number"].astype(np.int32),
        "speed_kmh": session["speed_kmh"],
        "normalized_position": session["normalized_position"],
    }
    pq.write_table(pa.table(columns), folder / "driven.parquet")
    if sidecar is not None:
        (folder / "driven.json").write_text(json.dumps(sidecar))


@pytest.mark.parametrize("derived", [{}, {"derived": None}, {"derived": {"timestamp_ms": None}}])
def test_a_sidecar_need_not_name_what_was_derived(derived: dict[str, Any], tmp_path: Path) -> None:
    write(tmp_path, derived | {"true_laps": true_laps([60_000, None, 54_000, 56_000])})

    errors = list(recorded(tmp_path))

    assert [one.method for one in errors] == list(METHODS)
    # Lap 1 has no first sample behind a line, and the game told no time of lap 2.
    assert [len(one.ms) for one in errors] == [2] * len(METHODS)
    assert np.abs(errors[0].ms).max() <= 2


@pytest.mark.parametrize(
    "sidecar",
    [
        None,
        {},
        {"true_laps": None},
        {"true_laps": true_laps([None])},
        {"true_laps": [{}]},
        {"true_laps": true_laps([30_000], first=2)},
    ],
)
def test_a_recording_without_told_times_of_its_laps_is_left_out(
    sidecar: dict[str, Any] | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, sidecar)

    assert list(recorded(tmp_path)) == []
    assert "driven: left out" in capsys.readouterr().out


def test_laps_are_matched_by_time_whatever_they_are_numbered() -> None:
    """The game does not count its out lap, and the sidecar counts from 41."""
    session = Session()
    session["lap_number"] = np.maximum(session["lap_number"] - 1, 1)
    ends_ms = (START_MS + 1000 * session.ends_s).tolist()
    stated = [
        {"lap_number": number, "first_timestamp_ms": end - 50_000, "last_timestamp_ms": end - 20}
        for number, end in enumerate(ends_ms, 41)
    ]
    frames = session.frames()
    told = told_laps({"true_laps": true_laps(TOLD_MS, first=41), "laps": stated}, frames)

    errors = {one.method: one.ms for one in errors_of("driven", 20.0, frames, told)}

    assert [lap.time_ms for lap in told] == TOLD_MS
    # The two naive methods go by the counter, and have no lap 1 or 2.
    assert len(errors["ours"]) == 2
    assert np.abs(errors["ours"]).max() <= 2


def test_an_uncounted_out_lap_is_not_taken_for_the_first_lap() -> None:
    session = Session()
    session["lap_number"] = np.maximum(session["lap_number"] - 1, 1)
    frames = session.frames()
    (told, *_) = told_laps({"true_laps": true_laps([55_000, 54_000, 56_000])}, frames)
    first, last = START_MS, START_MS + 115_000

    assert told == Told(55_000, pytest.approx(first, abs=60), pytest.approx(last, abs=60))
    # The methods by the counter time both laps as one of 115 s, which is not the told one.
    assert [len(one.ms) for one in errors_of("driven", 20.0, frames, [told])] == [0] * len(METHODS)


def test_times_of_unknown_origin_are_not_told_ones() -> None:
    laps = true_laps([60_000, None, 54_000])
    laps[2]["source"] = None

    told = told_laps({"true_laps": laps}, Session().frames())

    assert [lap.time_ms for lap in told] == [60_000]
