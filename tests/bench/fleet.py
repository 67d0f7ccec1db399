"""``python -m tests.bench.fleet``: the laps of a fleet on Ray. Prints a table, writes
build/bench-fleet.json.

Beside it, in the same run, one process alone times a sample of the same sessions, half of it before
Ray is started and half after. It is alone with all CPUs: Arrow reads its recordings with several of
them, which Ray's workers have to share. The rates follow whatever else a machine does; the CPU time
of a lap hardly does.
"""

import json
import os
import random
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path

import click
import psutil
from rich.console import Console
from rich.table import Table

from analytics.fleet.batch import Fleet, JobReport, time_all
from analytics.fleet.jobs import TimingJob, recorded
from serve.local.ray_cluster import run_ray
from tests.bench.fleet_recordings import LAPS_A_SESSION, make_recordings

REPORT = Path("build/bench-fleet.json")
MILLION = 1_000_000
SAMPLE = 60
_LOOK_EVERY_S = 0.25

console = Console(highlight=False)


@dataclass(frozen=True, slots=True)
class Round:
    """So many laps, timed in so long; the first session was done after ``first_s``. CPU time is of
    all processes that timed.
    """

    laps: int
    frames: int
    seconds: float
    first_s: float
    cpu_s: float

    def __add__(self, other: "Round") -> "Round":
        return Round(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    @property
    def cpu_ms_a_lap(self) -> float:
        return 1000 * self.cpu_s / self.laps

    @property
    def laps_per_s(self) -> float:
        return self.laps / self.seconds

    @property
    def frames_per_s(self) -> float:
        return self.frames / self.seconds


@dataclass(slots=True)
class Watch:
    """The most that was resident at once, in MB: of this process, of Ray's workers together, and of
    all that Ray runs.

    ``cpu_s`` is what each worker has taken so far, by its process id.
    """

    driver_mb: float = 0.0
    workers_mb: float = 0.0
    ray_mb: float = 0.0
    cpu_s: dict[int, float] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event, repr=False)

    def look(self) -> None:
        me = psutil.Process()
        below = [(process, _resident_mb(process)) for process in me.children(recursive=True)]
        workers = [(process, mb) for process, mb in below if _is_worker(process)]
        self.cpu_s |= {process.pid: _cpu_s(process) for process, _ in workers}
        self.driver_mb = max(self.driver_mb, _resident_mb(me))
        self.workers_mb = max(self.workers_mb, sum(mb for _, mb in workers))
        self.ray_mb = max(self.ray_mb, sum(mb for _, mb in below))


@click.command()
@click.option("--laps", default=10_000, show_default=True, help="Laps to simulate and to time.")
@click.option("--cpus", default=2, show_default=True, help="Processes that time them.")
@click.option(
    "--recordings",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where to keep the sessions for next time.",
)
def main(laps: int, cpus: int, recordings: Path | None) -> None:
    """Measure how fast a fleet of simulated laps is timed on Ray, and what a million would take."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="purple-sector-")))
        entries = _entries(recordings or folder / "recordings", laps)
        sample = random.Random("fleet").sample(entries, min(SAMPLE, len(entries)))
        alone, _ = _round(sample[::2], folder / "before")
        _tell(f"one process, a sample: {alone.laps_per_s:,.1f} laps/s")
        with run_ray(_tell, cpus=cpus), _watching() as watch:
            ray, fleet = _round(entries, folder / "fleet", watch)
            _tell(f"Ray, {cpus} CPUs: {ray.laps_per_s:,.1f} laps/s")
            again, _ = _round(entries, folder / "fleet", watch)
        alone += _round(sample[1::2], folder / "after")[0]
        sheets_mb = (
            sum(sheet.stat().st_size for sheet in (folder / "fleet" / "timesheets").iterdir()) / 1e6
        )
        report = {
            "machine": {"cpus": os.cpu_count(), "used": cpus},
            "sessions": len(entries),
            "failed": fleet.failed.num_rows,
            "alone": asdict(alone),
            "ray": asdict(ray),
            "again": asdict(again),
            "timesheets_mb": sheets_mb,
            "memory_mb": {
                name: getattr(watch, name) for name in ("driver_mb", "workers_mb", "ray_mb")
            },
        }
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(report, indent=2))
    console.print(_table(alone, ray, again, watch, cpus))
    _extrapolate(ray, again, sheets_mb, cpus)
    console.print(f"written to {REPORT}")


def _entries(folder: Path, laps: int) -> list[TimingJob]:
    folder.mkdir(parents=True, exist_ok=True)
    sessions = -(-laps // LAPS_A_SESSION)
    _tell(f"recordings of {sessions:,} sessions of {LAPS_A_SESSION} laps at 60 Hz")
    for made, _ in enumerate(make_recordings(folder, sessions), 1):
        if made % 50 == 0:
            _tell(f"{made:,} made")
    return recorded([folder])[:sessions]


def _round(
    entries: Sequence[TimingJob], results: Path, watch: Watch | None = None
) -> tuple[Round, Fleet]:
    """The laps that were timed, until the tables were written: by Ray, if its workers are watched,
    or by this process alone.
    """
    heard: list[tuple[float, int]] = []

    def hear(_done: int, _of: int, report: JobReport) -> None:
        heard.append((time.perf_counter(), report.laps))

    started_at, cpu_s = time.perf_counter(), _spent_s(watch)
    fleet = time_all(entries, results, team=_on_ray if watch else None, on_progress=hear)
    ended_at = time.perf_counter()
    first_at = heard[0][0] if heard else ended_at
    laps = sum(laps for _, laps in heard)
    return (
        Round(
            laps,
            fleet.frames,
            ended_at - started_at,
            first_at - started_at,
            _spent_s(watch) - cpu_s,
        ),
        fleet,
    )


def _spent_s(watch: Watch | None) -> float:
    if watch:
        watch.look()
    return time.process_time() + sum(watch.cpu_s.values() if watch else ())


def _on_ray(entries: Sequence[TimingJob], sheets: Path) -> Iterator[JobReport]:
    from analytics.fleet.ray_data import on_ray  # Ray reads its environment when it is imported

    yield from on_ray(entries, sheets)


@contextmanager
def _watching() -> Iterator[Watch]:
    watch = Watch()

    def look() -> None:
        while not watch.stop.wait(_LOOK_EVERY_S):
            watch.look()

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield watch
    finally:
        watch.stop.set()
        thread.join()


def _resident_mb(process: psutil.Process) -> float:
    try:
        return float(process.memory_info().rss) / 1e6
    except psutil.NoSuchProcess:
        return 0.0


def _cpu_s(process: psutil.Process) -> float:
    try:
        taken = process.cpu_times()
        return float(taken.user + taken.system)
    except psutil.NoSuchProcess:
        return 0.0


def _is_worker(process: psutil.Process) -> bool:
    """Ray names its processes by what they do: its own agents too, but those by other words."""
    try:
        return process.cmdline()[0].startswith(("ray::Map", "ray::IDLE"))
    except (psutil.NoSuchProcess, IndexError):
        return False


def _table(alone: Round, ray: Round, again: Round, watch: Watch, cpus: int) -> Table:
    table = Table(title=f"{ray.laps:,} laps, {ray.frames:,} frames", title_justify="left")
    for column in ("", "laps/s", "frames/s", "CPU, ms a lap", "s"):
        table.add_column(column, justify="right" if column else "left")
    for name, one in (
        (f"one process alone, {alone.laps:,} laps", alone),
        (f"Ray, {cpus} CPUs", ray),
    ):
        rates = (
            f"{one.laps_per_s:,.1f}",
            f"{one.frames_per_s:,.0f}",
            f"{one.cpu_ms_a_lap:.2f}",
            f"{one.seconds:,.1f}",
        )
        table.add_row(name, *rates)
    per_frame = (ray.cpu_s / ray.frames) / (alone.cpu_s / alone.frames)
    table.add_row(
        "Ray / one process, by frame",
        "",
        f"{ray.frames_per_s / alone.frames_per_s:.2f}",
        f"{per_frame:.2f}",
    )
    table.add_row("Ray, until the first session", "", "", "", f"{ray.first_s:,.1f}")
    table.add_row("run again, nothing to time", "", "", "", f"{again.seconds:,.1f}")
    for name, mb in (
        ("this process", watch.driver_mb),
        ("its workers", watch.workers_mb),
        ("all of Ray", watch.ray_mb),
    ):
        table.add_row(f"memory, {name}", "", "", "", f"{mb:,.0f} MB")
    return table


def _extrapolate(ray: Round, again: Round, sheets_mb: float, cpus: int) -> None:
    times = MILLION / ray.laps
    timing_h = (ray.seconds - ray.first_s - again.seconds) * times / 3600
    console.print(
        f"A million laps: {timing_h:.1f} h of timing on these {cpus} CPUs,"
        f" {(ray.cpu_s - again.cpu_s) * times / 3600:.1f} h of CPU time; then"
        f" {again.seconds * times / 60:.0f} min in one process for the tables;"
        f" {sheets_mb * times / 1000:.1f} GB of timesheets. Assumed: laps of"
        f" {ray.frames / ray.laps:,.0f} frames, {LAPS_A_SESSION} to a session; recordings read as"
        " fast as here, from the page cache; more CPUs share the work as evenly as these; what Ray"
        " takes to begin is not repeated.",
        soft_wrap=True,
    )


def _tell(line: str) -> None:
    console.print(f"[dim]{line}[/]", soft_wrap=True)


if __name__ == "__main__":
    main()
