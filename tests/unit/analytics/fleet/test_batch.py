"""Timing a fleet: what is done is not done again, and what cannot be is said."""

import fcntl
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

import analytics
from analytics.comparison.trace import traces
from analytics.errors import RecordingError, ResultsBusy
from analytics.fleet.batch import Fleet, JobReport, time_all, time_catalog, time_with_care
from analytics.fleet.jobs import TimingJob, recorded
from analytics.fleet.timesheet import PLACES
from ingest.collectors.simulator.circuit import aldermoor_park, val_sarine
from ingest.simulated_recordings import record


@pytest.fixture(scope="module")
def driven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three sessions on two tracks, at 10 Hz."""
    folder = tmp_path_factory.mktemp("driven")
    for seed, circuit in ((1, val_sarine()), (2, val_sarine()), (3, aldermoor_park())):
        at = datetime(2026, 5, seed, tzinfo=UTC)
        record(
            folder / f"session_{seed}.parquet",
            circuit,
            seed=seed,
            laps=3,
            started_at=at,
            rate_hz=10,
        )
    return folder


@pytest.fixture
def recordings(driven: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(driven, tmp_path / "recordings"))


@pytest.fixture
def run(recordings: Path, tmp_path: Path) -> Callable[[], tuple[Fleet, list[str]]]:
    """Times all recordings; gives the fleet and whose timing was told."""

    def once() -> tuple[Fleet, list[str]]:
        heard: list[JobReport] = []
        fleet = time_all(
            recorded([recordings]),
            tmp_path / "results",
            on_progress=lambda done, of, report: heard.append(report),
        )
        return fleet, [report.name.partition("-")[0] for report in heard]

    return once


Run = Callable[[], tuple[Fleet, list[str]]]


def test_laps_of_a_fleet_are_those_of_a_garage(run: Run, recordings: Path, tmp_path: Path) -> None:
    run()
    laps = pa.concat_tables(
        map(pyarrow.parquet.read_table, sorted((tmp_path / "results" / "timesheets").iterdir()))
    )
    theirs = analytics.open(recordings).laps.to_arrow()
    shared = [
        "session",
        "lap_number",
        "started_at",
        "lap_time_ms",
        "official_lap_time_ms",
        "sector_times_ms",
    ]
    keys = [("session", "ascending"), ("lap_number", "ascending")]
    assert (
        laps.select(shared).sort_by(keys).to_pylist()
        == theirs.select(shared).sort_by(keys).to_pylist()
    )
    assert set(laps.column("kind").to_pylist()) == {"out", "flying"}


def test_speeds_are_those_of_the_laps_along_the_track(run: Run, recordings: Path) -> None:
    fleet, _ = run()
    flying = traces(analytics.open(recordings).laps.on("aldermoor").flying())
    rows = [row for row in fleet.speed_bands.to_pylist() if row["track"] == "Aldermoor Park"]
    places = [row["place"] for row in rows]
    both = np.array([np.interp(places, one.axis.share, one["speed_kmh"]) for one in flying])
    slower, faster = both.min(axis=0), both.max(axis=0)
    assert (len(flying), len(rows)) == (2, PLACES + 1)
    assert np.abs([row["p5_kmh"] for row in rows] - slower).max() < 1
    assert np.abs([row["p95_kmh"] for row in rows] - faster).max() < 1


def test_second_run_times_nothing_and_states_the_same(run: Run) -> None:
    first, timed = run()
    second, again = run()
    assert (timed, again) == (["session_1", "session_2", "session_3"], [])
    assert (first.timed, second.timed) == (3, 0)
    assert first.bests.num_rows == 2
    for name in ("bests", "lap_bands", "mini_bands", "speed_bands", "failed"):
        assert getattr(first, name) == getattr(second, name)


def test_tables_are_kept_beside_the_timesheets(run: Run, tmp_path: Path) -> None:
    fleet, _ = run()
    for name in ("bests", "lap_bands", "mini_bands", "speed_bands", "failed"):
        assert pyarrow.parquet.read_table(tmp_path / "results" / f"{name}.parquet") == getattr(
            fleet, name
        )


def test_new_and_changed_recordings_are_timed(run: Run, recordings: Path) -> None:
    """A recording that was written again is another one: its old laps are out of the count."""
    before, _ = run()
    for suffix in (".parquet", ".json"):
        shutil.copy(recordings / f"session_1{suffix}", recordings / f"session_4{suffix}")
    shorter = pyarrow.parquet.read_table(recordings / "session_2.parquet").slice(0, 1_000)
    pyarrow.parquet.write_table(shorter, recordings / "session_2.parquet")
    after, timed = run()
    assert timed == ["session_2", "session_4"]
    assert sum(before.bests.column("laps").to_pylist()) == 9
    assert sum(after.bests.column("laps").to_pylist()) == 9 + 3 - 2


def test_bad_recordings_are_rows_and_stop_nothing(run: Run, recordings: Path) -> None:
    whole = (recordings / "session_1.parquet").read_bytes()
    (recordings / "truncated.parquet").write_bytes(whole[: len(whole) // 2])
    (recordings / "empty.parquet").write_bytes(b"")
    pyarrow.parquet.write_table(pa.table({"when": [1]}), recordings / "foreign.parquet")
    none = pyarrow.parquet.read_table(recordings / "session_1.parquet").slice(0, 0)
    pyarrow.parquet.write_table(none, recordings / "no_frames.parquet")
    fleet, _ = run()
    reasons = {row["session"]: row["reason"] for row in fleet.failed.to_pylist()}
    assert list(reasons) == ["empty", "foreign", "no_frames", "truncated"]
    assert all(f"{name}.parquet" in reason for name, reason in reasons.items())
    assert "has no frames" in reasons["no_frames"]
    assert (fleet.timed, sum(fleet.bests.column("sessions").to_pylist())) == (3, 3)
    assert run()[1] == list(reasons)


def test_what_a_killed_run_left_unfinished_is_swept_away(run: Run, tmp_path: Path) -> None:
    sheets = tmp_path / "results" / "timesheets"
    sheets.mkdir(parents=True)
    (sheets / ".1234.unfinished").write_bytes(b"half a tim")
    (sheets / ".session_1.tries").write_bytes(b"xxx")
    run()
    assert len(list(sheets.iterdir())) == 3


def test_a_damaged_timesheet_is_named(run: Run, tmp_path: Path) -> None:
    run()
    sheet = next((tmp_path / "results" / "timesheets").glob("session_3*"))
    sheet.write_bytes(b"damaged")
    fleet, _ = run()
    (row,) = fleet.failed.to_pylist()
    assert row["session"] == "session_3"
    assert str(sheet) in row["reason"]


def test_a_session_that_nobody_reported_on_has_failed(recordings: Path, tmp_path: Path) -> None:
    """Ray went on without it."""
    fleet = time_all(
        recorded([recordings]), tmp_path / "results", team=lambda entries, sheets: iter(())
    )
    assert fleet.failed.num_rows == 3
    assert "nobody reported" in fleet.failed.column("reason")[0].as_py()


def test_results_that_a_node_does_not_see_are_a_reason(recordings: Path, tmp_path: Path) -> None:
    """On a cluster without a shared folder: the session has failed, and the task has not."""
    report = time_with_care(recorded([recordings])[0], tmp_path / "elsewhere")

    assert str(tmp_path / "elsewhere") in report.reason
    assert "cannot be written" in report.reason


def test_a_timesheet_that_lies_on_another_node_is_missed(recordings: Path, tmp_path: Path) -> None:
    """The node has a folder of that name, and it is its own: nobody would find the timesheet
    there.
    """
    (tmp_path / "on_node").mkdir()
    fleet = time_all(
        recorded([recordings]),
        tmp_path / "results",
        team=lambda entries, _: (time_with_care(entry, tmp_path / "on_node") for entry in entries),
    )

    assert (fleet.timed, fleet.frames) == (0, 0)
    assert {
        "not in this folder" in reason for reason in fleet.failed.column("reason").to_pylist()
    } == {True}
    assert fleet.failed.num_rows == 3


def test_what_kills_each_process_is_given_up(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where processes are replaced for ever, one such session would hold up all others."""
    (entry,) = recorded([recordings / "session_1.parquet"])
    with monkeypatch.context() as deadly:
        deadly.setattr("analytics.fleet.batch.timed", _exit)
        for _ in range(3):
            with pytest.raises(SystemExit):
                time_with_care(entry, tmp_path)
    assert "died" in time_with_care(entry, tmp_path).reason


def test_what_was_timed_at_the_second_try_is_no_risk(recordings: Path, tmp_path: Path) -> None:
    (entry,) = recorded([recordings / "session_1.parquet"])
    (tmp_path / f".{entry.name}.tries").write_bytes(b"x")
    assert time_with_care(entry, tmp_path).laps == 3
    assert [path.name for path in tmp_path.glob(".*")] == []


def _exit(_entry: TimingJob) -> None:
    raise SystemExit


def test_two_runs_do_not_share_results(recordings: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    results.mkdir()
    with (results / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ResultsBusy, match="another run"):
            time_all(recorded([recordings]), results)


def test_a_missing_recording_is_reported_at_once(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="nowhere"):
        recorded([tmp_path / "nowhere"])


def test_no_password_gets_into_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """libpq repeats an address that it cannot read."""
    monkeypatch.setenv("DATABASE_URL", "postgresq://anna:s3cret@localhost/laps")
    fleet = time_all([TimingJob("stint", "", "1")], tmp_path / "results")
    (row,) = fleet.failed.to_pylist()
    assert "DATABASE_URL" in row["reason"]
    assert "s3cret" not in row["reason"]


def test_any_key_names_a_file() -> None:
    names = {TimingJob(key, "", "1").name for key in ("a/b", "a b", "../a", "ä" * 500)}
    assert len(names) == 4
    assert all("/" not in name and len(name) < 200 for name in names)


def test_a_catalog_is_timed_as_its_recordings_are(recordings: Path, tmp_path: Path) -> None:
    catalog = time_catalog(analytics.open(recordings), tmp_path / "catalog")
    every = time_all(recorded([recordings]), tmp_path / "all")

    assert catalog.timed == 3
    assert catalog.bests.equals(every.bests)
