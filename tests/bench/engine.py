"""``python -m tests.bench.engine``: what the lap engine adds to ingest. Prints a table, writes
build/bench-engine.json.

The same records are ingested with the engine and without it, in turns, by one process that hosts
the workers of all partitions; broker and database share the CPUs, as in life. Without the engine
nothing else is left out: its place in the worker says that no lap has ended. What two runs differ
by is noise on a busy machine; so the engine's own CPU time is taken, too, by the clock of its
thread, call by call.
"""

import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from ingest.batching import write_batch
from ingest.batching.partition_log import Partition
from ingest.kafka.topics import create_topics
from ingest.logging_setup import start_logging
from ingest.settings import DatabaseSettings, IngestSettings, KafkaSettings, LogSettings
from ingest.workers.worker_threads import WorkerThreads
from serve.local.system import run_broker, run_database
from tests.bench.ingest import PARTITIONS, SESSIONS, _await_frames, _count, empty
from tests.bench.records import publish, serialized_session, session_keys

REPORT = Path("build/bench-engine.json")
BUDGET_PERCENT = 5.0

console = Console(highlight=False)


@dataclass(frozen=True, slots=True)
class Round:
    """One ingest of all records. CPU times are those of the process with the workers, and of the
    engine in it.
    """

    engine: bool
    frames_per_s: float
    cpu_us_a_frame: float
    engine_us_a_frame: float
    laps: int


@click.command()
@click.option("--frames", default=1_000_000, show_default=True, help="Frames to ingest each time.")
@click.option(
    "--rounds",
    default=3,
    show_default=True,
    help="How often with the engine, and how often without.",
)
def main(frames: int, rounds: int) -> None:
    """Measure ingest with the lap engine and without it.

    EMBEDDED_DATABASE and EMBEDDED_BROKERS choose what it is measured on.
    """
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
        values = serialized_session(frames // SESSIONS)
        _tell(f"publishing {len(values) * SESSIONS:,} records")
        publish(kafka, session_keys(SESSIONS, partitions=PARTITIONS), values, partitions=PARTITIONS)
        measured = []
        for engine in (True, False) * rounds:
            empty(database)
            measured.append(_measure(kafka, database, len(values) * SESSIONS, engine=engine))
            _tell(str(measured[-1]))
    with_it, without = _median(measured, engine=True), _median(measured, engine=False)
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps([asdict(r) for r in measured], indent=2))
    console.print(_table(with_it, without))
    console.print(f"written to {REPORT}")


def _measure(
    kafka: KafkaSettings, database: DatabaseSettings, total: int, *, engine: bool
) -> Round:
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_ingest, args=[kafka, database, theirs, engine])
    process.start()
    url = database.url.get_secret_value()
    first_at, first = _await_frames(url, 1)
    before = _cpu_s(ours)
    last_at, last = _await_frames(url, total)
    cpu_s, engine_s = (now - then for now, then in zip(_cpu_s(ours), before, strict=True))
    laps = _count(url, "SELECT count(*) FROM laps")
    ours.send(None)
    process.join()
    done = last - first
    return Round(
        engine, done / (last_at - first_at), cpu_s / done * 1e6, engine_s / done * 1e6, laps
    )


def _cpu_s(worker: "Connection[Any, Any]") -> tuple[float, float]:
    worker.send("cpu")
    process_s, engine_s = worker.recv()
    return process_s, engine_s


def _ingest(
    kafka: KafkaSettings, database: DatabaseSettings, asked: "Connection[Any, Any]", engine: bool
) -> None:
    """The process with the workers: answers with its CPU time until it is told to stop."""
    start_logging(LogSettings(level="ERROR"))
    watched = _Watched(write_batch.advance_each if engine else _no_engine)
    write_batch.advance_each = watched
    host = WorkerThreads(name="bench", kafka=kafka, database=database, ingest=IngestSettings())
    host.host([Partition(kafka.topic_telemetry, index) for index in range(PARTITIONS)])
    while asked.recv():
        asked.send((time.process_time(), watched.cpu_s))
    host.stop()


class _Watched:
    """A function, and the CPU time that its callers' threads have spent in it."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.cpu_s = 0.0

    def __call__(self, *arguments: Any) -> Any:
        started_s = time.thread_time()
        try:
            return self._function(*arguments)
        finally:
            self.cpu_s += time.thread_time() - started_s


def _no_engine(
    frames: Any, ends: Sequence[int], states: Sequence[Any], layouts: Any
) -> list[tuple[tuple[()], Any]]:
    return [((), engine_state) for engine_state in states]


def _median(rounds: Sequence[Round], *, engine: bool) -> Round:
    like = [r for r in rounds if r.engine == engine]
    columns = zip(
        *((r.frames_per_s, r.cpu_us_a_frame, r.engine_us_a_frame) for r in like), strict=True
    )
    return Round(engine, *(statistics.median(column) for column in columns), like[0].laps)


def _table(with_it: Round, without: Round) -> Table:
    table = Table(title="ingest with the lap engine and without, medians", title_justify="left")
    for column in ("", "frames/s", "CPU of the workers, µs a frame", "of it the engine", "laps"):
        table.add_column(column, justify="right" if column else "left")
    for name, r in (("with", with_it), ("without", without)):
        cpu = (f"{r.cpu_us_a_frame:.2f}", f"{r.engine_us_a_frame:.2f}")
        table.add_row(name, f"{r.frames_per_s:,.0f}", *cpu, str(r.laps))
    share = with_it.engine_us_a_frame / (with_it.cpu_us_a_frame - with_it.engine_us_a_frame)
    table.add_row(f"the engine adds (budget {BUDGET_PERCENT:.0f} %)", "", "", f"{share:.1%}", "")
    return table


def _tell(line: str) -> None:
    console.print(f"[dim]{line}[/]", soft_wrap=True)


if __name__ == "__main__":
    main()
