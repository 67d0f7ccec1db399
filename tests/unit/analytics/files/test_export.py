"""Files for other programs: what is written can be read again, and is the same."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import analytics
from analytics.catalog import Session, lap_time
from analytics.errors import ExportError
from analytics.files.export import export
from analytics.files.recording import open_recording
from ingest.collectors.simulator.circuit import val_sarine
from ingest.simulated_recordings import record
from tests.paths import SHARED
from tests.unit.ld import read_ld

OKAYAMA = SHARED / "data" / "iracing_okayama_driverA.parquet"
STARTED_AT = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Session:
    path = tmp_path_factory.mktemp("driven") / "stint.parquet"
    record(path, val_sarine(), seed=5, laps=3, started_at=STARTED_AT, rate_hz=20)
    return analytics.open(path).sessions.newest()


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".arrow", ".CSV"])
def test_a_session_comes_back_as_it_was(drive: Session, tmp_path: Path, suffix: str) -> None:
    again = analytics.open(drive.export(tmp_path / f"stint{suffix}")).sessions.newest()

    assert again.facts == drive.facts
    assert again.telemetry().equals(drive.telemetry())
    assert [lap.lap for lap in again.laps] == [lap.lap for lap in drive.laps]


def test_a_lap_alone_is_a_recording_too(drive: Session, tmp_path: Path) -> None:
    lap = drive.laps.numbered(2).fastest()

    again = analytics.open(lap.export(tmp_path / "lap.parquet")).sessions.newest()

    assert again.facts.frames == lap.lap.frames
    assert again.telemetry(["speed_kmh"]).equals(lap.telemetry(["speed_kmh"]))


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".arrow"])
def test_times_that_were_stored_twice_are_written_once(
    drive: Session, tmp_path: Path, suffix: str
) -> None:
    """Two collectors may send one session, and the store keeps all; a recording has each time once,
    or nobody could open it.
    """
    frames = drive.telemetry()
    twice = frames.take(np.repeat(np.arange(len(frames)), 2))

    again = open_recording(export(tmp_path / f"stint{suffix}", twice, drive.facts))

    assert again.frames(session_id=1).equals(frames)


def test_a_recording_keeps_its_facts_beside_an_export(drive: Session, tmp_path: Path) -> None:
    """Both have the name, and so the JSON file; recordings say more in it than we know."""
    facts = drive.export(tmp_path / "stint.parquet").with_suffix(".json")
    said = json.dumps(json.loads(facts.read_text()) | {"recorded_with": "a game, version 1.2"})
    facts.write_text(said)

    drive.export(tmp_path / "stint.csv")

    assert facts.read_text() == said


def test_two_sessions_share_no_facts(drive: Session, tmp_path: Path) -> None:
    drive.export(tmp_path / "stint.parquet")

    with pytest.raises(
        ExportError,
        match=r"stint\.csv: stint\.parquet lies there, of another driver; choose another name",
    ):
        export(
            tmp_path / "stint.csv", drive.telemetry(), replace(drive.facts, driver="somebody else")
        )

    assert not (tmp_path / "stint.csv").exists()


def test_what_a_motec_log_cannot_hold_is_refused(drive: Session, tmp_path: Path) -> None:
    """A log has samples where there were no frames: a session whose key was used again a year later
    would be hundreds of GB.
    """
    frames = drive.telemetry()
    a_year_us = 365 * 86_400_000_000
    later = pc.add(frames["time"].cast(pa.int64()), a_year_us).cast(frames["time"].type)
    twice = pa.concat_tables([frames, frames.set_column(0, frames.schema.field("time"), later)])

    with pytest.raises(ExportError, match=r"8,760 h at 20 Hz are more than a \.ld file holds"):
        export(tmp_path / "stint.ld", twice, drive.facts)


def test_an_unknown_format_is_refused(drive: Session, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"\.xlsx is no format; choose \.ld, \.parquet"):
        drive.export(tmp_path / "stint.xlsx")


def test_a_motec_log_holds_the_channels_at_a_steady_rate(drive: Session, tmp_path: Path) -> None:
    log = read_ld(drive.export(tmp_path / "stint.ld").read_bytes())

    frames = drive.telemetry()
    assert (log.driver, log.vehicle, log.venue) == ("Ada Okafor", "Purple Sector GT3", "Val Sarine")
    assert log.started_at == STARTED_AT.replace(tzinfo=None)
    speed, throttle = log.channels["Ground Speed"], log.channels["Throttle Pos"]
    assert (speed.unit, speed.rate_hz) == ("km/h", 20)
    assert speed.values[::100] == pytest.approx(frames["speed_kmh"].to_pylist()[::100], abs=0.01)
    assert max(throttle.values) == pytest.approx(100)
    assert set(log.channels["Gear"].values) == {
        float(gear) for gear in set(frames["gear"].to_pylist())
    }
    assert len({len(channel.values) for channel in log.channels.values()}) == 1


def test_beacons_are_where_the_line_was_crossed(drive: Session, tmp_path: Path) -> None:
    """i2 cuts laps at the beacons: the time between two is a lap's."""
    drive.export(tmp_path / "stint.ld")

    extra = ElementTree.parse(tmp_path / "stint.ldx")

    beacons_us = [int(marker.attrib["Time"]) for marker in extra.iter("Marker")]
    laps = list(drive.laps)
    assert [lap.number for lap in laps] == [1, 2, 3]
    between_ms = [(after - before) / 1000 for before, after in pairwise([0, *beacons_us])]
    assert between_ms == pytest.approx([lap.lap.lap_time_ms for lap in laps], abs=1)
    fastest = drive.laps.flying().fastest()
    assert {s.attrib["Id"]: s.attrib["Value"] for s in extra.iter("String")} == {
        "Total Laps": "4",
        "Fastest Time": "01:" + lap_time(fastest.lap.lap_time_ms).removeprefix("1:"),
        "Fastest Lap": str(fastest.number - 1),  # the first lap lies before the first beacon
    }


def test_a_real_session_becomes_a_motec_log(tmp_path: Path) -> None:
    if not OKAYAMA.is_file():
        pytest.skip(f"needs the real recording {OKAYAMA.name} beside the checkout")
    real = analytics.open(OKAYAMA).sessions.newest()

    log = read_ld(real.export(tmp_path / "okayama.ld").read_bytes())

    assert log.channels["Ground Speed"].rate_hz == 33
    assert len(log.channels["Ground Speed"].values) / 33 == pytest.approx(919.45, abs=1)
