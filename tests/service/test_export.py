"""``purple-sector export``: what the store has, in a file of each format, read back."""

import itertools
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import analytics
from analytics.catalog import Catalog
from analytics.model.channels import FRAMES
from ingest.collectors.simulator.circuit import val_sarine
from ingest.collectors.simulator.frames import drive, facts
from ingest.telemetry_pb2 import TelemetryMessage
from serve.cli.main import command
from tests.conftest import Database
from tests.service.owner import Owner
from tests.unit.ld import read_ld

STARTED_AT_MS = 1_767_225_600_000
FRAMES_DRIVEN = 2_000  # at 10 Hz: a lap from the pits, a flying one and the start of the next

#: The sequence is the collector's and the number of a session the store's: neither is of the drive.
DRIVEN = [name for name in FRAMES.names if name not in ("sequence", "session_id")]


@pytest.fixture
def stored(database: Database, monkeypatch: pytest.MonkeyPatch) -> Catalog:
    """Anna's stint, in the database that the environment names."""
    told = facts(
        val_sarine(), session_id="stint", user_id="anna", driver="Anna", started_at_ms=STARTED_AT_MS
    )
    values = [TelemetryMessage(session=told, session_id="stint").SerializeToString()]
    driven = drive(val_sarine(), seed=5, started_at_ms=STARTED_AT_MS, rate_hz=10)
    for sequence, frame in enumerate(itertools.islice(driven, FRAMES_DRIVEN), 1):
        frame.sequence = sequence
        values.append(frame.SerializeToString())
    with Owner(database.url) as owner:
        owner.write(*((b"stint", value) for value in values))
    monkeypatch.setenv("DATABASE_URL", database.url)
    return analytics.connect(database.url)


def export(*arguments: str) -> Result:
    return CliRunner().invoke(command, ["export", *arguments])


def test_a_session_is_written_in_every_format(stored: Catalog, tmp_path: Path) -> None:
    """Ours come back with every channel as it was stored; MoTeC's has the driver, the channels and
    a beacon a lap.
    """
    with stored as catalog:
        kept = catalog.sessions["stint"]
        frames, laps = kept.telemetry(DRIVEN), [lap.lap for lap in kept.laps]
    assert len(laps) == 2

    for suffix in (".parquet", ".arrow", ".csv"):
        done = export("stint", str(tmp_path / f"stint{suffix}"))
        back = analytics.open(tmp_path / f"stint{suffix}").sessions.newest()

        assert (done.exit_code, done.output) == (0, f"{tmp_path / 'stint'}{suffix}: {kept.title}\n")
        assert back.title == kept.title
        assert back.telemetry(DRIVEN).equals(frames), suffix
        assert [lap.lap.lap_time_ms for lap in back.laps] == [lap.lap_time_ms for lap in laps]

    assert export("stint", str(tmp_path / "stint.ld")).exit_code == 0
    log = read_ld((tmp_path / "stint.ld").read_bytes())
    assert (log.driver, log.venue) == ("Anna", val_sarine().name)
    assert max(log.channels["Ground Speed"].values) == pytest.approx(
        max(frames["speed_kmh"].to_pylist()), abs=0.5
    )
    assert (tmp_path / "stint.ldx").read_text().count("<Marker ") == len(laps)


def test_one_lap_is_written_alone(stored: Catalog, tmp_path: Path) -> None:
    with stored as catalog:
        lap = catalog.sessions["stint"].laps.numbered(2).only()

    assert export("stint", str(tmp_path / "lap.parquet"), "--lap", "2").exit_code == 0

    assert analytics.open(tmp_path / "lap.parquet").sessions.newest().facts.frames == lap.lap.frames


def test_what_cannot_be_written_is_reported(stored: Catalog, tmp_path: Path) -> None:
    """And no file is left behind."""
    stored.close()
    for arguments, problem in (
        (("yesterday", "a.parquet"), "'yesterday' is not in the store; purple-sector status lists"),
        (
            ("stint", "a.parquet", "--lap", "7"),
            "'stint' has no finished lap 7; the page lists its laps",
        ),
        (("stint", "a.xlsx"), ".xlsx is no format"),
        (("stint", "absent/a.csv"), "absent/a.csv"),
    ):
        done = export(arguments[0], str(tmp_path / arguments[1]), *arguments[2:])
        assert done.exit_code != 0
        assert problem in f"{done.output}{done.exception}"
    assert list(tmp_path.iterdir()) == []
