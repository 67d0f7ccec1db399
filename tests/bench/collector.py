"""``python -m tests.bench.collector``: what a collector costs a game PC; prints a table, and writes
build/bench-collector.json.

A game plays Competizione's shared memory in one process, `purple-sector collect acc` follows it in
another, first with a broker and then, after that was stopped, without. Linux only: it reads /proc
and asks ss.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import click
import psutil
from rich.console import Console
from rich.table import Table

from ingest.collectors.spool.folder import SpoolFolder
from ingest.embedded.broker import start_broker
from ingest.kafka.topics import create_topics
from ingest.settings import KafkaSettings
from tests.game_emulators.run import in_process

REPORT = Path("build/bench-collector.json")
BUDGETS = {"cpu_percent": 3.0, "memory_mb": 80.0}
WARM_UP_S = 10.0

console = Console(highlight=False)


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one collector, by the second or by the frame."""

    frames_per_s: float
    cpu_percent: float  # of one core
    memory_mb: float
    wire_bytes: float  # a frame, payload of TCP both ways
    disk_bytes: float  # a frame
    wake_ups_per_s: float


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used since it was started, and the frames that it has taken from its
    game.
    """

    at_s: float
    cpu_s: float
    frames: int
    wire_bytes: int
    disk_bytes: int
    wake_ups: int


class Collector:
    """`purple-sector collect acc` as a driver starts it, in an empty ``folder``; the game's pages
    are in ``pages``.
    """

    def __init__(self, folder: Path, pages: Path, brokers: str, rate_hz: int) -> None:
        environment = {
            "KAFKA_BROKERS": brokers,
            "ACC_SHARED_MEMORY": str(pages),
            "ACC_RATE_HZ": str(rate_hz),
            "SPOOL_DIR": str(folder / "spool"),
            "PURPLE_SECTOR_HOME": str(folder),
        }
        program = Path(sys.executable).with_name("purple-sector")
        self._spool = SpoolFolder(folder / "spool", max_bytes=0, keep_s=0)
        self._log = (folder / "collector.log").open("w")
        self._process = subprocess.Popen(
            [program, "collect", "acc"],
            cwd=folder,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )
        self._seen = psutil.Process(self._process.pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)
        self._log.close()

    @property
    def memory_mb(self) -> float:
        return float(self._seen.memory_info().rss) / 1e6

    def usage(self) -> Usage:
        assert self._process.poll() is None, Path(self._log.name).read_text()
        times = self._seen.cpu_times()
        switches = self._seen_tasks("voluntary_ctxt_switches")
        written = self._seen.io_counters().write_chars
        return Usage(
            time.monotonic(),
            times.user + times.system,
            self._frames(),
            self._wire_bytes(),
            written,
            switches,
        )

    def _frames(self) -> int:
        (kept,) = self._spool.kept()
        return sum(1 for _ in kept.read([(1, 2**53)]))

    def _wire_bytes(self) -> int:
        """Of the connections that it has."""
        said = subprocess.run(["ss", "-tinpHO"], capture_output=True, text=True, check=True).stdout
        ours = [line for line in said.splitlines() if f"pid={self._process.pid}," in line]
        return sum(
            int(n) for line in ours for n in re.findall(r"bytes_(?:sent|received):(\d+)", line)
        )

    def _seen_tasks(self, counter: str) -> int:
        tasks = Path(f"/proc/{self._process.pid}/task").glob("*/status")
        return sum(
            int(n)
            for task in tasks
            for n in re.findall(rf"^{counter}:\s*(\d+)", task.read_text(), re.MULTILINE)
        )


def measure(collector: Collector, seconds: float) -> Cost:
    """Its cost from now on."""
    before = collector.usage()
    time.sleep(seconds)
    after = collector.usage()
    passed_s, frames = after.at_s - before.at_s, after.frames - before.frames
    return Cost(
        frames_per_s=frames / passed_s,
        cpu_percent=100 * (after.cpu_s - before.cpu_s) / passed_s,
        memory_mb=collector.memory_mb,
        wire_bytes=(after.wire_bytes - before.wire_bytes) / frames,
        disk_bytes=(after.disk_bytes - before.disk_bytes) / frames,
        wake_ups_per_s=(after.wake_ups - before.wake_ups) / passed_s,
    )


@click.command()
@click.option(
    "--seconds",
    default=30.0,
    show_default=True,
    help="How long to measure, with the broker and without.",
)
@click.option("--rate", "rate_hz", default=60, show_default=True, help="Frames a second.")
def main(seconds: float, rate_hz: int) -> None:
    """Measure CPU, memory, and bytes a frame."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="purple-sector-")))
        pages = folder / "pages"
        pages.mkdir()
        broker = stack.enter_context(start_broker(folder / "kafka"))
        create_topics(KafkaSettings(_env_file=None, brokers=broker.brokers))
        stack.enter_context(in_process("acc", pages))
        collector = stack.enter_context(Collector(folder, pages, broker.brokers, rate_hz))
        time.sleep(WARM_UP_S)
        costs = {"broker there": measure(collector, seconds)}
        broker.stop()
        time.sleep(WARM_UP_S)
        costs["broker away"] = measure(collector, seconds)
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps({what: asdict(cost) for what, cost in costs.items()}, indent=2))
    console.print(_table(costs))


def _table(costs: Mapping[str, Cost]) -> Table:
    table = Table(title="purple-sector collect acc", title_justify="left")
    for column in ("what", *costs, "budget"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for name, label in _ROWS.items():
        budget = f"≤ {BUDGETS[name]:g}" if name in BUDGETS else ""
        table.add_row(label, *(f"{getattr(cost, name):.1f}" for cost in costs.values()), budget)
    return table


_ROWS = {
    "frames_per_s": "frames/s",
    "cpu_percent": "CPU, % of a core",
    "memory_mb": "memory, MB",
    "wire_bytes": "on the wire, bytes/frame",
    "disk_bytes": "on disk, bytes/frame",
    "wake_ups_per_s": "wake-ups/s",
}


if __name__ == "__main__":
    main()
