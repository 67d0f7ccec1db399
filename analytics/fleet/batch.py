"""Times all recorded or stored sessions with the lap engine, and aggregates their laps.

    import analytics
    from analytics.fleet.batch import time_catalog

    fleet = time_catalog(analytics.open("recordings"), Path("results"))
    fleet.bests.to_pandas()

Each session becomes a timesheet, a file of its own below ``results``. A second run times only
sessions without a timesheet, and continues a run that was killed. Rules: a session that cannot be
timed is a row of `Fleet.failed` and stops nothing. The next run tries it again. Only timing
benefits from many CPUs: `analytics.fleet.ray_data` runs it on Ray. This module puts the timesheets
together.
"""

import os
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.parquet

from analytics.catalog import Catalog
from analytics.errors import ResultsBusy
from analytics.fleet.aggregate import fields
from analytics.fleet.jobs import TimingJob, listed, timed
from analytics.fleet.percentiles import bests, lap_bands, mini_bands, speed_bands

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

#: One row for each session that could not be timed, with the reason.
FAILED = pa.schema([("session", pa.string()), ("path", pa.string()), ("reason", pa.string())])

# The number of tries in other processes. Ray Data would retry a job that kills its process for
# ever.
_TRIES = 3
_DEADLY = (
    f"each of {_TRIES} processes that timed it died; has the machine memory for all of its frames?"
)
_UNREPORTED = "nobody reported on it; Ray's log says what became of its task"
_ELSEWHERE = (
    "it was timed, but its timesheet is not in this folder; every node has to see the results under"
    " the same name"
)


@dataclass(frozen=True, slots=True)
class JobReport:
    """The result of a job, by its name: laps and frames, or the reason why there are none."""

    name: str
    laps: int = 0
    frames: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Fleet:
    """The tables of a fleet, as `analytics.fleet.percentiles` has them, and `FAILED`.

    ``timed`` and ``frames`` count the sessions and the frames of this run.
    """

    bests: pa.Table
    lap_bands: pa.Table
    mini_bands: pa.Table
    speed_bands: pa.Table
    failed: pa.Table
    timed: int
    frames: int

    def save(self, folder: Path) -> None:
        """Write each table as a Parquet file of its name."""
        for name in ("bests", "lap_bands", "mini_bands", "speed_bands", "failed"):
            _write(getattr(self, name), folder / f"{name}.parquet")


#: A function that times jobs into a folder of timesheets. It reports the result of each job, in any
#: order.
Team = Callable[[Sequence[TimingJob], Path], Iterator[JobReport]]

#: A function that receives the number of finished jobs, the number of all jobs to time and a
#: report.
OnProgress = Callable[[int, int, JobReport], None]


def time_all(
    entries: Sequence[TimingJob],
    results: Path,
    *,
    team: Team | None = None,
    on_progress: OnProgress = lambda done, of, report: None,
) -> Fleet:
    """Time the jobs without a timesheet in ``results``, and save the tables of all jobs there.

    The callback ``on_progress`` receives the number of finished jobs, the number of all jobs to
    time and each report. Without a ``team``, this process times the jobs one by one. Raises
    ResultsBusy.
    """
    sheets = results / "timesheets"
    sheets.mkdir(parents=True, exist_ok=True)
    entries = list(dict.fromkeys(entries))
    with _alone(results):
        _sweep(sheets)
        missing = [entry for entry in entries if not _sheet(sheets, entry.name).is_file()]
        reports = _reports(missing, sheets, team or one_by_one, on_progress)
        fleet = _together(entries, sheets, reports)
        fleet.save(results)
    return fleet


def _reports(
    missing: Sequence[TimingJob], sheets: Path, team: Team, on_progress: OnProgress
) -> list[JobReport]:
    reports: list[JobReport] = []
    for report in team(missing, sheets):
        reports.append(report)
        on_progress(len(reports), len(missing), report)
    return reports


def time_catalog(catalog: Catalog, results: Path | None = None) -> Fleet:
    """Time all sessions of a catalog in this process, into ``results`` or a new temporary folder.

    A stored session is read from the store that `analytics.connect` finds without an argument.
    Raises ResultsBusy.
    """
    return time_all(listed(catalog.source), results or Path(tempfile.mkdtemp()))


def one_by_one(entries: Sequence[TimingJob], sheets: Path) -> Iterator[JobReport]:
    """Time the jobs in this process, as the smallest team."""
    return (time_one(entry, sheets) for entry in entries)


def time_one(entry: TimingJob, sheets: Path) -> JobReport:
    """Time a session and write its timesheet, all of it or nothing.

    Any fault of the session becomes the reason in the report.
    """
    try:
        done = timed(entry)
        _write(done.timesheet, _sheet(sheets, entry.name))
    except psycopg.Error as error:
        # The error text may contain the connection string, and with it the password.
        reason = (
            error.diag.message_primary or "the database that DATABASE_URL names does not answer"
        )
        return JobReport(entry.name, reason=f"{type(error).__name__}: {reason}")
    except Exception as error:
        return JobReport(entry.name, reason=str(error) or type(error).__name__)
    return JobReport(entry.name, done.timesheet.num_rows, done.frames)


def time_with_care(entry: TimingJob, sheets: Path) -> JobReport:
    """Time a session as `time_one` does, in a process that may die of it.

    Another process may then try again, up to `_TRIES` times.
    """
    tries = sheets / f".{entry.name}.tries"
    try:
        if tries.is_file() and tries.stat().st_size >= _TRIES:
            return JobReport(entry.name, reason=_DEADLY)
        with tries.open("ab") as file:
            file.write(b"x")
    except OSError as error:
        problem = f"{sheets}: its timesheet cannot be written there ({error.strerror})"
        return JobReport(entry.name, reason=problem)
    report = time_one(entry, sheets)
    tries.unlink(missing_ok=True)
    return report


def _together(entries: Sequence[TimingJob], sheets: Path, reports: Sequence[JobReport]) -> Fleet:
    reasons = {report.name: report.reason for report in reports if report.reason}
    found = fields(_kept(entries, sheets, {report.name for report in reports}, reasons))
    done = [report for report in reports if report.name not in reasons]
    return Fleet(
        bests=bests(found),
        lap_bands=lap_bands(found),
        mini_bands=mini_bands(found),
        speed_bands=speed_bands(found),
        failed=_failed(entries, reasons),
        timed=len(done),
        frames=sum(report.frames for report in done),
    )


def _failed(entries: Sequence[TimingJob], reasons: Mapping[str, str]) -> pa.Table:
    failed = [entry for entry in entries if entry.name in reasons]
    rows = [{"session": e.key, "path": e.path, "reason": reasons[e.name]} for e in failed]
    return pa.Table.from_pylist(rows, FAILED)


def _kept(
    entries: Sequence[TimingJob], sheets: Path, reported: set[str], reasons: dict[str, str]
) -> Iterator[pa.Table]:
    """Yield the timesheets that exist. Each missing one adds its reason to ``reasons``."""
    for name in [entry.name for entry in entries if entry.name not in reasons]:
        sheet = _sheet(sheets, name)
        try:
            yield pyarrow.parquet.read_table(sheet)
        except FileNotFoundError:
            reasons[name] = _ELSEWHERE if name in reported else _UNREPORTED
        except (pa.ArrowInvalid, OSError) as error:
            reasons[name] = (
                f"its timesheet {sheet} cannot be read ({error}); delete it and run again"
            )


def _sheet(sheets: Path, name: str) -> Path:
    return sheets / f"{name}.parquet"


def _write(table: pa.Table, path: Path) -> None:
    """Write all of the file or nothing, even if the power fails."""
    unfinished = path.with_name(f".{uuid.uuid4().hex}.unfinished")
    with unfinished.open("wb") as file:
        pyarrow.parquet.write_table(table, file, compression="zstd")
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def _sweep(sheets: Path) -> None:
    """Delete the unfinished files of an earlier run, and its counts of tries."""
    for left in sheets.glob(".*"):
        left.unlink(missing_ok=True)


@contextmanager
def _alone(results: Path) -> Iterator[None]:
    with (results / ".lock").open("w") as lock:
        try:
            if sys.platform == "win32":
                msvcrt.locking(lock.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # Windows raises the latter
            raise ResultsBusy(results) from None
        yield
