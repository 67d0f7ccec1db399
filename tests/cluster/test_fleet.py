"""A fleet timed by Ray, and killed in the middle of it; and one from the store."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import psutil
import psycopg
import pyarrow as pa
import pyarrow.parquet
import pytest

from analytics.fleet.batch import time_all
from analytics.fleet.jobs import recorded, stored
from analytics.store import queries as read
from analytics.store.source import PostgresSource
from ingest.collectors.simulator.circuit import aldermoor_park, val_sarine
from ingest.collectors.simulator.frames import drive, facts
from ingest.simulated_recordings import record
from ingest.telemetry_pb2 import TelemetryMessage
from tests.conftest import Database
from tests.service.owner import Owner
from tests.waiting import WITHIN_S, wait_until

TABLES = ("bests", "lap_bands", "mini_bands", "speed_bands", "failed")
COPIES = 40
FRAMES_DRIVEN = 3_000


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Two sessions, each many times, and three that are none."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    for seed, circuit in ((1, val_sarine()), (2, aldermoor_park())):
        at = datetime(2026, 5, seed, tzinfo=UTC)
        made = record(
            tmp_path / f"{seed}.parquet", circuit, seed=seed, laps=2, started_at=at, rate_hz=10
        )
        for copy in range(COPIES):
            for suffix in (".parquet", ".json"):
                (folder / f"{seed}_{copy}{suffix}").hardlink_to(made.with_suffix(suffix))
    (folder / "truncated.parquet").write_bytes((tmp_path / "1.parquet").read_bytes()[:10_000])
    (folder / "empty.parquet").touch()
    pyarrow.parquet.write_table(pa.table({"when": [1]}), folder / "foreign.parquet")
    return folder


@contextmanager
def timing(results: Path, recordings: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The command, which is killed at the end, and then what Ray leaves behind: its agents wait for
    a minute.

    What it put out is shown with the test that fails. RAY_ADDRESS is that of a cluster, which was
    not asked for.
    """
    with (results.parent / "output").open("wb") as output:
        command = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "serve.cli.main",
                "laps",
                "fleet",
                str(results),
                str(recordings),
                "--cpus",
                "2",
            ],
            env=os.environ
            | {"PURPLE_SECTOR_HOME": str(results.parent), "RAY_ADDRESS": "127.0.0.1:1"},
            stdout=output,
            stderr=output,
        )
    try:
        yield command
    finally:
        started = (
            psutil.Process(command.pid).children(recursive=True) if command.poll() is None else []
        )
        command.kill()
        command.wait()
        _, left = psutil.wait_procs(started, timeout=2)
        for process in left:
            process.kill()
        psutil.wait_procs(left)
        sys.stdout.write((results.parent / "output").read_text())


def test_a_run_that_was_killed_is_gone_on_with(recordings: Path, tmp_path: Path) -> None:
    """SIGKILL in the middle, and the next run says what an undisturbed one says, bad sessions
    included.
    """
    sheets = tmp_path / "results" / "timesheets"
    with timing(tmp_path / "results", recordings) as command:
        wait_until(lambda: len(list(sheets.glob("*.parquet"))) >= 5 or command.poll() is not None)
        assert command.poll() is None
    kept = {sheet: sheet.stat().st_ino for sheet in sheets.glob("*.parquet")}
    assert 5 <= len(kept) < 2 * COPIES

    with timing(tmp_path / "results", recordings) as command:
        assert command.wait(WITHIN_S) == 0
        output = (tmp_path / "output").read_text()
    undisturbed = time_all(recorded([recordings]), tmp_path / "undisturbed")

    assert f"{2 * COPIES - len(kept)} of them timed now; 3 could not be timed" in output
    assert {sheet: sheet.stat().st_ino for sheet in kept} == kept
    assert [row["session"] for row in undisturbed.failed.to_pylist()] == [
        "empty",
        "foreign",
        "truncated",
    ]
    assert sum(undisturbed.bests.column("sessions").to_pylist()) == 2 * COPIES
    for name in TABLES:
        assert pyarrow.parquet.read_table(tmp_path / "results" / f"{name}.parquet") == getattr(
            undisturbed, name
        )


def test_ray_that_does_not_start_is_tried_again(recordings: Path, tmp_path: Path) -> None:
    """As on a machine so busy that Ray's own 30 s are not enough: here its raylet is killed before
    it is up.
    """
    with timing(tmp_path / "results", recordings) as command:
        wait_until(lambda: kill(command.pid, "raylet"))
        assert command.wait(WITHIN_S) == 0
        output = (tmp_path / "output").read_text()

    assert output.count("Ray did not start, and is tried again: ") == 1
    assert f"{2 * COPIES} of them timed now; 3 could not be timed" in output


def test_stored_sessions_come_to_the_laps_that_are_stored(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database.url)
    for key, at_ms in (("first", 1_767_225_600_000), ("second", 1_767_312_000_000)):
        store_stint(database.url, key, at_ms)
    with closing(PostgresSource(None)) as store:
        entries = stored(store)

    fleet = time_all(entries, tmp_path / "results")

    assert [entry.key for entry in entries] == ["first", "second"]
    rows = pa.concat_tables(
        map(pyarrow.parquet.read_table, sorted((tmp_path / "results" / "timesheets").iterdir()))
    )
    with psycopg.connect(database.url) as conn:
        laps = [lap for key in ("first", "second") for lap in read.laps(conn, key)]
    for name in ("lap_number", "time_ms", "kind", "sector_source"):
        assert rows.column(name).to_pylist() == [getattr(lap, name) for lap in laps]
    for name in ("sector_times_ms", "mini_sector_times_ms"):
        assert rows.column(name).to_pylist() == [list(getattr(lap, name)) for lap in laps]
    assert fleet.failed.num_rows == 0
    assert fleet.frames == 2 * FRAMES_DRIVEN


def kill(pid: int, name: str) -> bool:
    """Whether a process of this name was there below ``pid``: it is gone now."""
    for process in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if process.name() == name:
                process.kill()
                return True
    return False


def store_stint(url: str, key: str, started_at_ms: int) -> None:
    """Laps at 10 Hz, as ingest stores them."""
    told = facts(
        val_sarine(), session_id=key, user_id="anna", driver="Anna", started_at_ms=started_at_ms
    )
    values = [TelemetryMessage(session=told, session_id=key).SerializeToString()]
    driven = islice(
        drive(val_sarine(), seed=5, started_at_ms=started_at_ms, rate_hz=10), FRAMES_DRIVEN
    )
    for sequence, frame in enumerate(driven, 1):
        frame.sequence = sequence
        values.append(frame.SerializeToString())
    with Owner(url) as owner:
        owner.write(*((key.encode(), value) for value in values))
