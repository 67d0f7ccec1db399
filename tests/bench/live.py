"""``python -m tests.bench.live``: how old a frame is when a viewer has it; prints a table, and
writes build/bench-live.json.

From the step that a game computed, through the collector's own code with its spool, Kafka and the
bridge to viewers' sockets, while ingest stores the same frames. One car, and ten of one process.
The first seconds do not count: a broker that has just started is compiling itself. Linux only:
processes compare monotonic clocks.

Starts its own broker and database, unless KAFKA_BROKERS and DATABASE_URL name others.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import psutil
import psycopg
import websockets
from confluent_kafka import Consumer, TopicPartition
from rich.console import Console
from rich.table import Table

from ingest.codec.record_format import Kind, kind_of
from ingest.kafka.topics import QUIET, create_topics
from ingest.settings import (
    DatabaseSettings,
    IngestSettings,
    KafkaSettings,
    LogSettings,
    ServeSettings,
)
from ingest.telemetry_pb2 import TelemetryFrame, TelemetryMessage
from ingest.workers.supervisor import ClusterSettings, start_ingest, stop_ingest
from serve.bridge.ray_environment import free_ports
from serve.local.ray_cluster import run_ray
from serve.local.system import run_broker, run_database
from tests.bench.live_figures import Frame, LiveFigures, Steps, figures

REPORT = Path("build/bench-live.json")
# What the design promises; shown beside what was measured, never asserted.
BUDGETS_MS = {"p50": 6.0, "p99": 15.0}
RATE_HZ = 60
PARTITIONS = 10
WARM_UP_S = 10.0
#: Cars of one process, and viewers: each watches one car, in turn. The last is what the report has
#: on top.
CASES = ((1, 1), (1, 10), (10, 10))
# By a part of the command line.
_ROLES = {
    "live_cars": "collector",
    "ray::ServeReplica": "bridge",
    "haproxy": "HAProxy",
    "kafka.Kafka": "Kafka",
    "ray::IngestWorker": "ingest",
}

console = Console(highlight=False)
Report = Callable[[str], None]


def measure_live(
    kafka: KafkaSettings, url: str, *, cars: int, viewers: int, seconds: float, report: Report
) -> dict[str, Any]:
    """One case: its figures, and the CPU of each kind of process in % of a core."""
    report(f"cars: {cars}, viewers: {viewers}, {seconds:.0f} s at {RATE_HZ} Hz")
    with tempfile.TemporaryDirectory(prefix="purple-sector-") as folder:
        viewed: list[tuple[Frame, float]] = []
        log = Log(kafka)
        with _cars(kafka, cars, Path(folder)) as keys:
            from_s, until_s, cpu = asyncio.run(_watch_all(url, keys, viewers, seconds, viewed))
        steps = Steps(**json.loads(Path(folder, "steps.json").read_text()))
    found: LiveFigures = figures(steps.between(from_s, until_s), log.appended_s(), viewed)
    return {"cars": cars, "viewers": viewers, **asdict(found), "cpu_percent": cpu}


@contextmanager
def _cars(kafka: KafkaSettings, cars: int, folder: Path) -> Iterator[list[str]]:
    """A process that drives them until the end of the block; their sessions."""
    command = [
        sys.executable,
        "-m",
        "tests.bench.live_cars",
        kafka.brokers,
        str(cars),
        str(RATE_HZ),
        str(folder),
    ]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        lines = (line.split() for line in child.stdout)
        try:
            yield [
                next(words[1] for words in lines if words[:1] == ["session"]) for _ in range(cars)
            ]
        finally:
            child.stdin.close()
            child.wait(60)


class Log:
    """What the broker's log gets from now on, to be read when all is over: a consumer beside the
    bridge's would cost its time.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self._consumer = Consumer(
            kafka.client({"group.id": "bench-live", "enable.auto.commit": False, **QUIET})
        )
        self._places = [TopicPartition(kafka.topic_telemetry, index) for index in range(PARTITIONS)]
        self._begin = self._ends()

    def appended_s(self) -> dict[Frame, float]:
        """When the broker appended each frame, on the monotonic clock; the log has whole ms, this
        their middle.
        """
        wall_s, ends = time.time() - time.monotonic(), self._ends()
        for place, offset in zip(self._places, self._begin, strict=True):
            place.offset = offset
        self._consumer.assign(self._places)
        found: dict[Frame, float] = {}
        for _ in range(sum(ends) - sum(self._begin)):
            message = self._consumer.poll(10.0)
            if (
                message is not None
                and not message.error()
                and kind_of(message.value()) == Kind.FRAME
            ):
                frame = TelemetryFrame.FromString(message.value())
                found[message.key().decode(), frame.sequence] = (
                    message.timestamp()[1] + 0.5
                ) / 1000 - wall_s
        self._consumer.close()
        return found

    def _ends(self) -> list[int]:
        return [
            self._consumer.get_watermark_offsets(place, timeout=10.0)[1] for place in self._places
        ]


async def _watch_all(
    url: str, keys: list[str], viewers: int, seconds: float, viewed: list[tuple[Frame, float]]
) -> tuple[float, float, dict[str, float]]:
    """Watch for the warm-up and ``seconds`` more: the time that counts, and what it cost."""
    watching = [
        asyncio.create_task(_watch(url, keys[i % len(keys)], viewed)) for i in range(viewers)
    ]
    await asyncio.sleep(WARM_UP_S)
    before, from_s = _cpu_s(), time.monotonic()
    await asyncio.sleep(seconds)
    after, until_s = _cpu_s(), time.monotonic()
    await asyncio.sleep(1)
    for viewer in watching:
        viewer.cancel()
    for outcome in await asyncio.gather(*watching, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome
    cpu = {role: 100 * (after[role] - before.get(role, 0.0)) / (until_s - from_s) for role in after}
    return from_s, until_s, cpu


async def _watch(url: str, key: str, viewed: list[tuple[Frame, float]]) -> None:
    """Note when each frame came, on the monotonic clock."""
    async with websockets.connect(f"{url}?session={key}", compression=None) as socket:
        async for data in socket:
            at_s = time.monotonic()
            message = TelemetryMessage.FromString(
                data if isinstance(data, bytes) else data.encode()
            )
            frames = [message.telemetry] if message.HasField("telemetry") else list(message.frames)
            viewed += [((key, frame.sequence), at_s) for frame in frames]


def _cpu_s() -> dict[str, float]:
    """Seconds of CPU by kind of process so far."""
    used: dict[str, float] = {}
    for process in psutil.process_iter():
        try:
            line, times = " ".join(process.cmdline()), process.cpu_times()
        except psutil.Error:
            continue
        role = next((role for part, role in _ROLES.items() if part in line), None)
        if role is not None:
            used[role] = used.get(role, 0.0) + times.user + times.system
    return used


def measure_cases(
    kafka: KafkaSettings, database: DatabaseSettings, *, seconds: float, report: Report
) -> list[dict[str, Any]]:
    """All of `CASES`, on the running Ray, while ingest stores what is driven."""
    import ray.serve

    from serve.bridge.deployment import deploy

    (port,) = free_ports(1)
    deploy(kafka, database, ServeSettings(port=port))
    start_ingest(ClusterSettings(kafka, database, IngestSettings(), LogSettings(level="ERROR")))
    try:
        await_owners(database, PARTITIONS)
        url = f"ws://127.0.0.1:{port}/ws"
        return [
            measure_live(kafka, url, cars=cars, viewers=viewers, seconds=seconds, report=report)
            for cars, viewers in CASES
        ]
    finally:
        stop_ingest()
        ray.serve.shutdown()


def await_owners(database: DatabaseSettings, partitions: int) -> None:
    """Wait until every partition has a worker: to start them takes both CPUs for seconds."""
    with psycopg.connect(database.url.get_secret_value(), autocommit=True) as conn:
        while conn.execute("SELECT count(*) FROM partition_offsets").fetchone() != (partitions,):
            time.sleep(0.1)


def add_rows(table: Table, cases: list[dict[str, Any]]) -> None:
    """The cases, in three columns: what, measured, budget."""
    for case in cases:
        what = f"cars {case['cars']}, viewers {case['viewers']}: step → viewer"
        for name, budget in BUDGETS_MS.items():
            table.add_row(
                f"{what}, {name}", f"{case['latency_ms'][name]:.1f} ms", f"≤ {budget:.0f} ms"
            )
        for hop, taken in case["hops_ms"].items():
            table.add_row(f"  {hop}, p50 and p99", f"{taken['p50']:.1f}, {taken['p99']:.1f} ms", "")
        costs = ", ".join(f"{role} {percent:.1f}" for role, percent in case["cpu_percent"].items())
        table.add_row(f"  missing of {case['frames']:,} frames", f"{case['missing']}", "0")
        table.add_row("  CPU, % of a core", costs, "")


@click.command()
@click.option("--seconds", default=20.0, show_default=True, help="How long to measure each case.")
def main(seconds: float) -> None:
    """Measure the age of frames at viewers' sockets."""
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(
                tempfile.TemporaryDirectory(prefix="purple-sector-", ignore_cleanup_errors=True)
            )
        )
        folder.chmod(0o755)
        database = stack.enter_context(run_database(folder, durable=True, report=_tell))
        kafka = stack.enter_context(run_broker(folder / "kafka", report=_tell))
        create_topics(kafka)
        stack.enter_context(run_ray(_tell))
        cases = measure_cases(kafka, database, seconds=seconds, report=_tell)
    report = {
        "machine": {"cpus": os.cpu_count()},
        "latency_ms": cases[-1]["latency_ms"],
        "cases": cases,
    }
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(report, indent=2))
    table = Table(title="from the game's step to a viewer's socket", title_justify="left")
    for column in ("what", "measured", "budget"):
        table.add_column(column, justify="left" if column == "what" else "right")
    add_rows(table, cases)
    console.print(table)
    console.print(f"written to {REPORT}")


def _tell(line: str) -> None:
    console.print(f"[dim]{line}[/]", soft_wrap=True)


if __name__ == "__main__":
    main()
