"""``python -m tests.bench.fleet``: the laps of a fleet on Ray. Prints a table, writes build/bench-fleet.json.

Beside it, in the same run and before Ray is started, one process alone times a sample of the same sessions. It is alone with all CPUs:
Arrow reads its recordings with several of them, which Ray's workers have to share.
"""

import json
import os
import random
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import click
import psutil
from rich.console import Console
from rich.table import Table

from analytics.entries import Entry, recorded
from analytics.fleet import Fleet, Report, time_all
from serve.local import run_ray
from tests.bench.fleet_recordings import LAPS_A_SESSION, make_recordings

REPORT = Path("build/bench-fleet.json")
MILLION = 1_000_000
SAMPLE = 60
_LOOK_EVERY_S = 0.25

console = Console(highlight=False)


@dataclass(frozen=True, slots=True)
class Round:
    """So many laps, timed in so long; the first session was done after ``first_s``."""

    laps: int
    frames: int
    seconds: float
    first_s: float

    @property
    def laps_per_s(self) -> float:
        return self.laps / self.seconds

    @property
    def frames_per_s(self) -> float:
        return self.frames / self.seconds


@dataclass(slots=True)
class Memory:
    """The most that was resident at once, in MB: of this process, of Ray's workers together, and of all that Ray runs."""

    driver_mb: float = 0.0
    workers_mb: float = 0.0
    ray_mb: float = 0.0
    stop: threading.Event = field(default_factory=threading.Event, repr=False)

    def look(self) -> None:
        me = psutil.Process()
        below = [(process, _resident_mb(process)) for process in me.children(recursive=True)]
        workers = sum(mb for process, mb in below if _is_worker(process))
        self.driver_mb = max(self.driver_mb, _resident_mb(me))
        self.workers_mb = max(self.workers_mb, workers)
        self.ray_mb = max(self.ray_mb, sum(mb for _, mb in below))


@click.command()
@click.option("--laps", default=10_000, show_default=True, help="Laps to simulate and to time.")
@click.option("--cpus", default=2, show_default=True, help="Processes that time them.")
@click.option(
    "--recordings", type=click.Path(file_okay=False, path_type=Path), help="Where to keep the sessions for next time."
)
def main(laps: int, cpus: int, recordings: Path | None) -> None:
    """Measure how fast a fleet of simulated laps is timed on Ray, and what a million would take."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="purple-sector-")))
        entries = _entries(recordings or folder / "recordings", laps)
        alone = _round(random.Random("fleet").sample(entries, min(SAMPLE, len(entries))), folder / "alone")[0]
        _tell(f"one process, a sample: {alone.laps_per_s:,.1f} laps/s")
        stack.enter_context(run_ray(_tell, cpus=cpus))
        memory = stack.enter_context(_memory())
        ray, fleet = _round(entries, folder / "fleet", on_ray=True)
        _tell(f"Ray, {cpus} CPUs: {ray.laps_per_s:,.1f} laps/s")
        again, _ = _round(entries, folder / "fleet", on_ray=True)
        sheets_mb = sum(sheet.stat().st_size for sheet in (folder / "fleet" / "timesheets").iterdir()) / 1e6
        report = {
            "machine": {"cpus": os.cpu_count(), "used": cpus},
            "sessions": len(entries),
            "failed": fleet.failed.num_rows,
            "alone": asdict(alone),
            "ray": asdict(ray),
            "again_s": again.seconds,
            "timesheets_mb": sheets_mb,
            "memory_mb": {name: getattr(memory, name) for name in ("driver_mb", "workers_mb", "ray_mb")},
        }
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(report, indent=2))
    console.print(_table(alone, ray, again, memory, cpus))
    _extrapolate(ray, again, sheets_mb, cpus)
    console.print(f"written to {REPORT}")


def _entries(folder: Path, laps: int) -> list[Entry]:
    folder.mkdir(parents=True, exist_ok=True)
    sessions = -(-laps // LAPS_A_SESSION)
    _tell(f"recordings of {sessions:,} sessions of {LAPS_A_SESSION} laps at 60 Hz")
    for made, _ in enumerate(make_recordings(folder, sessions), 1):
        if made % 50 == 0:
            _tell(f"{made:,} made")
    return recorded([folder])[:sessions]


def _round(entries: Sequence[Entry], results: Path, *, on_ray: bool = False) -> tuple[Round, Fleet]:
    """The laps that were timed, by Ray or by this process alone, and how long until the tables were written."""
    heard: list[tuple[float, int]] = []

    def hear(_done: int, _of: int, report: Report) -> None:
        heard.append((time.perf_counter(), report.laps))

    started_at = time.perf_counter()
    fleet = time_all(entries, results, team=_on_ray if on_ray else None, tell=hear)
    ended_at = time.perf_counter()
    first_at = heard[0][0] if heard else ended_at
    return Round(sum(laps for _, laps in heard), fleet.frames, ended_at - started_at, first_at - started_at), fleet


def _on_ray(entries: Sequence[Entry], sheets: Path) -> Iterator[Report]:
    from analytics.on_ray import on_ray  # Ray reads its environment when it is imported

    yield from on_ray(entries, sheets)


@contextmanager
def _memory() -> Iterator[Memory]:
    memory = Memory()

    def watch() -> None:
        while not memory.stop.wait(_LOOK_EVERY_S):
            memory.look()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield memory
    finally:
        memory.stop.set()
        thread.join()


def _resident_mb(process: psutil.Process) -> float:
    try:
        return float(process.memory_info().rss) / 1e6
    except psutil.NoSuchProcess:
        return 0.0


def _is_worker(process: psutil.Process) -> bool:
    """Ray names its processes by what they do: its own agents too, but those by other words."""
    try:
        return process.cmdline()[0].startswith(("ray::Map", "ray::IDLE"))
    except (psutil.NoSuchProcess, IndexError):
        return False


def _table(alone: Round, ray: Round, again: Round, memory: Memory, cpus: int) -> Table:
    table = Table(title=f"{ray.laps:,} laps, {ray.frames:,} frames", title_justify="left")
    for column in ("", "laps/s", "frames/s", "s"):
        table.add_column(column, justify="right" if column else "left")
    for name, one in ((f"one process alone, {alone.laps:,} laps of them", alone), (f"Ray, {cpus} CPUs", ray)):
        table.add_row(name, f"{one.laps_per_s:,.1f}", f"{one.frames_per_s:,.0f}", f"{one.seconds:,.1f}")
    table.add_row("Ray / one process", "", f"{ray.frames_per_s / alone.frames_per_s:.2f}", "")
    table.add_row("Ray, until the first session was timed", "", "", f"{ray.first_s:,.1f}")
    table.add_row("run again, nothing to time", "", "", f"{again.seconds:,.1f}")
    for name, mb in (
        ("this process", memory.driver_mb),
        ("its workers", memory.workers_mb),
        ("all of Ray, workers included", memory.ray_mb),
    ):
        table.add_row(f"memory, {name}", "", "", f"{mb:,.0f} MB")
    return table


def _extrapolate(ray: Round, again: Round, sheets_mb: float, cpus: int) -> None:
    times = MILLION / ray.laps
    frames = ray.frames / ray.laps
    timing_h = (ray.seconds - ray.first_s - again.seconds) * times / 3600
    console.print(
        f"A million laps: {timing_h:.1f} h of timing on these {cpus} CPUs, {timing_h * cpus:.1f} CPU hours; then "
        f"{again.seconds * times / 60:.0f} min in one process for the tables; {sheets_mb * times / 1000:.1f} GB of timesheets. "
        f"Assumed: laps of {frames:,.0f} frames, {LAPS_A_SESSION} to a session; recordings read as fast as here, where they lie in "
        "the page cache; more CPUs share the work as evenly as these; what Ray takes to begin is not repeated.",
        soft_wrap=True,
    )


def _tell(line: str) -> None:
    console.print(f"[dim]{line}[/]", soft_wrap=True)


if __name__ == "__main__":
    main()
