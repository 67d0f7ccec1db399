"""``python -m tests.bench.startup``: what a start of `demo` costs; prints a table, and writes
build/bench-startup.json.

Seconds of CPU by kind of process, children that have ended included, from the command to the page;
and on the clock: page, first live frame at a viewer's socket, first session in the store, Ctrl-C to
nothing left. CPU time is what a busy machine leaves comparable. Several ``--checkout`` are started
in turn, so that they share the machine's moods. Linux only.
"""

import ctypes
import json
import os
import resource
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import httpx
import psutil
from rich.console import Console
from rich.table import Table
from websockets.sync.client import connect

from ingest.embedded.process import free_ports
from ingest.telemetry_pb2 import TelemetryMessage

REPORT = Path("build/bench-startup.json")
_PR_SET_CHILD_SUBREAPER = 36
_WITHIN_S = 120.0
_ALL = "all"
_ENDED = "ended meanwhile"
# By a part of the command line; the first that fits.
_KINDS = {
    "kafka.Kafka": "Kafka",
    "postgres": "PostgreSQL",
    "collect simulate": "the car",
    "serve.cli.main": "the command",
    "ray::ServeController": "Serve controller",
    "ray::ServeReplica": "page replica",
    "ray::ProxyActor": "Serve proxy",
    "ray::HAProxyManager": "HAProxy manager",
    "ray::IngestWorker": "ingest workers",
    "ray::Supervisor": "ingest supervisor",
    "ray::IDLE": "idle Ray workers",
    "default_worker.py": "idle Ray workers",
    "haproxy": "HAProxy",
    "gcs_server": "GCS",
    "raylet/raylet": "raylet",
    "ray/": "Ray's agents",
    "ray::": "Ray's agents",
    "guardian.py": "guardians",
}

console = Console(highlight=False)


@dataclass(slots=True)
class Start:
    """One start: when what was there, in seconds from the command, and seconds of CPU by kind of
    process.
    """

    at_s: dict[str, float] = field(default_factory=dict)
    cpu_s: dict[str, float] = field(default_factory=dict)


def measure_start(checkout: Path, arguments: list[str]) -> Start:
    """Start `demo` from ``checkout``, wait for a live frame and a stored session, and end it by
    Ctrl-C.
    """
    found = Start()
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="purple-sector-") as home:
        started_at = time.monotonic()
        ended_before_s = _ended_cpu_s()
        with _demo(checkout, arguments, port, Path(home)) as demo:
            for what, is_there in _milestones(f"127.0.0.1:{port}"):
                _await(demo, is_there, Path(home))
                found.at_s[what] = time.monotonic() - started_at
                # From here on a slow start would pay for the frames of its car too.
                found.cpu_s = found.cpu_s or _cpu_s(_ended_cpu_s() - ended_before_s)
            told_at = time.monotonic()
            demo.send_signal(signal.SIGINT)
            _await_end(demo, Path(home))
            found.at_s["Ctrl-C to nothing left"] = time.monotonic() - told_at
    return found


@contextmanager
def _demo(
    checkout: Path, arguments: list[str], port: int, home: Path
) -> Iterator["subprocess.Popen[bytes]"]:
    own = {"PURPLE_SECTOR_HOME": str(home), "WS_PORT": str(port), "PYTHONPATH": str(checkout)}
    with (home / "demo.log").open("wb") as log:
        demo = subprocess.Popen(
            [str(checkout / ".venv/bin/python"), "-m", "serve.cli.main", "demo", *arguments],
            cwd=checkout,
            env=os.environ | own,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield demo
    finally:
        if demo.poll() is None:
            demo.send_signal(signal.SIGTERM)
            _await_end(demo, home)


def _milestones(place: str) -> Iterator[tuple[str, Any]]:
    with httpx.Client(base_url=f"http://{place}", timeout=5) as client:
        yield "page", lambda: client.get("/").status_code == 200
        yield "live frame", lambda: _has_live_frame(client, place)
        yield (
            "stored session",
            lambda: bool(client.get("/api/sessions").raise_for_status().json()["sessions"]),
        )


def _has_live_frame(client: httpx.Client, place: str) -> bool:
    sessions = client.get("/api/stats").raise_for_status().json()["kafkaStats"]["sessionStats"]
    for key in sessions:
        with (
            connect(f"ws://{place}/ws?session={key}", open_timeout=5) as socket,
            suppress(TimeoutError),
        ):
            while data := socket.recv(timeout=0.5):
                message = TelemetryMessage.FromString(
                    data if isinstance(data, bytes) else data.encode()
                )
                if message.HasField("telemetry") or message.frames:
                    return True
    return False


def _await(demo: "subprocess.Popen[bytes]", is_there: Any, home: Path) -> None:
    deadline = time.monotonic() + _WITHIN_S
    while True:
        with suppress(httpx.HTTPError, OSError):
            if is_there():
                return
        if demo.poll() is not None or time.monotonic() > deadline:
            raise click.ClickException(
                f"the demo did not start:\n{(home / 'demo.log').read_text()}"
            )
        time.sleep(0.05)


def _await_end(demo: "subprocess.Popen[bytes]", home: Path) -> None:
    """Wait until nothing of it is left. Orphans are ours to reap, or whoever waits for them waits
    for ever.
    """
    deadline = time.monotonic() + _WITHIN_S
    while _tree():
        demo.poll()
        for child in psutil.Process().children():
            if child.pid != demo.pid:
                with suppress(ChildProcessError):
                    os.waitpid(child.pid, os.WNOHANG)
        if time.monotonic() > deadline:
            raise click.ClickException(f"the demo did not end:\n{(home / 'demo.log').read_text()}")
        time.sleep(0.02)


def _cpu_s(orphans_s: float) -> dict[str, float]:
    """Seconds by kind. Children that have ended count by themselves, whoever they belonged to."""
    used = {_ALL: orphans_s, _ENDED: orphans_s}
    for process in _tree():
        with suppress(psutil.Error):
            times, kind = process.cpu_times(), _kind(process)
            own, ended = times.user + times.system, times.children_user + times.children_system
            used[kind] = used.get(kind, 0.0) + own
            used[_ENDED] += ended
            used[_ALL] += own + ended
    return used


def _kind(process: psutil.Process) -> str:
    line = " ".join(process.cmdline())
    return next((kind for part, kind in _KINDS.items() if part in line), process.name())


def _tree() -> list[psutil.Process]:
    """What we started: orphans included, for this process is their subreaper."""
    return psutil.Process().children(recursive=True)


def _ended_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def table_of_starts(starts: dict[str, list[Start]]) -> Table:
    """A column for each checkout: the median of its starts."""
    table = Table(title="a start of demo, medians", title_justify="left")
    table.add_column("what")
    for name in starts:
        table.add_column(name, justify="right")
    medians = {name: _medians(runs) for name, runs in starts.items()}
    kinds = {what: None for one in medians.values() for what in one}
    first = next(iter(medians.values()))
    for what in sorted(
        kinds, key=lambda what: (what[0], what != ("CPU", _ALL), -first.get(what, 0.0))
    ):
        table.add_row(
            " ".join(what),
            *(f"{one[what]:.1f} s" if what in one else "" for one in medians.values()),
        )
    return table


def _medians(runs: list[Start]) -> dict[tuple[str, str], float]:
    taken: dict[tuple[str, str], list[float]] = {}
    for run in runs:
        for unit, values in (("CPU", run.cpu_s), ("clock", run.at_s)):
            for what, seconds in values.items():
                taken.setdefault((unit, what), []).append(seconds)
    return {what: statistics.median(values) for what, values in taken.items()}


@click.command()
@click.option("--runs", default=3, show_default=True, help="Starts of each checkout.")
@click.option(
    "--checkout",
    "checkouts",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    default=["."],
)
@click.argument("arguments", nargs=-1)
def main(runs: int, checkouts: tuple[Path, ...], arguments: tuple[str, ...]) -> None:
    """Measure starts of `demo`, with ARGUMENTS of its own."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    starts: dict[str, list[Start]] = {str(checkout): [] for checkout in checkouts}
    for _ in range(runs):
        for name, taken in starts.items():
            taken.append(measure_start(Path(name).resolve(), list(arguments)))
            console.print(
                f"[dim]{name}: {json.dumps(taken[-1].at_s)}, CPU {taken[-1].cpu_s[_ALL]:.1f} s[/]"
            )
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(
        json.dumps(
            {
                name: [{"at_s": s.at_s, "cpu_s": s.cpu_s} for s in taken]
                for name, taken in starts.items()
            },
            indent=2,
        )
    )
    console.print(table_of_starts(starts))
    console.print(f"written to {REPORT}")


if __name__ == "__main__":
    main()
