"""``python -m tests.bench.partitions``: what active partitions cost while little comes by each.

Each user has a topic, as with KAFKA_TOPIC_PER_USER. One process hosts the workers of all of them.
"""

import itertools
import multiprocessing
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import click
import numpy as np
import psutil
import psycopg
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic
from rich.console import Console

from ingest.batching.partition_log import Partition
from ingest.collectors.delivery.records import headers
from ingest.kafka.topics import QUIET, create_topics, open_admin
from ingest.logging_setup import start_logging
from ingest.settings import DatabaseSettings, IngestSettings, KafkaSettings, LogSettings
from ingest.workers.worker_threads import WorkerThreads
from serve.local.system import run_broker, run_database
from tests.bench.ingest import empty
from tests.bench.records import serialized_session
from tests.bench.steady import _role

_WARM_UP_S = 10.0
_LEAD_S = 5.0
_LOOK_EVERY_S = 0.05
_CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'purple-sector%'"

console = Console(highlight=False)


@dataclass(frozen=True, slots=True)
class PartitionFigures:
    """What one number of partitions costs: CPUs in use by process, and the delay to be visible."""

    partitions: int
    threads: int
    connections: int
    cpus: dict[str, float]
    p50_s: float
    p99_s: float
    frames: int


@click.command()
@click.option("--users", default="20,150", show_default=True, help="Active partitions, each case.")
@click.option("--hz", default=20, show_default=True, help="Frames a second of each user.")
@click.option("--seconds", default=20.0, show_default=True, help="How long each case is measured.")
def main(users: str, hz: int, seconds: float) -> None:
    """Measure the cost of partitions in which few records come."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="purple-sector-")))
        folder.chmod(0o755)
        database = stack.enter_context(run_database(folder, durable=True, report=console.print))
        kafka = stack.enter_context(run_broker(folder / "kafka", report=console.print))
        create_topics(kafka)
        kafka = kafka.model_copy(update={"topic_per_user": True})
        for count in map(int, users.split(",")):
            empty(database)
            console.print(_measure(kafka, database, count, hz, seconds))


def _measure(
    kafka: KafkaSettings, database: DatabaseSettings, users: int, hz: int, seconds: float
) -> PartitionFigures:
    topics = [f"{kafka.topic_telemetry}-user-u{users}x{n}" for n in range(users)]
    admin = open_admin(kafka)
    for future in admin.create_topics([NewTopic(topic, 1, 1) for topic in topics]).values():
        future.result(60)
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    host = spawn.Process(target=_host, args=[kafka, database, topics, theirs])
    starts_at = time.time() + _LEAD_S
    producer = spawn.Process(
        target=_play, args=[kafka, topics, hz, int(hz * (seconds + _WARM_UP_S)), starts_at]
    )
    for process in (host, producer):
        process.start()
    try:
        return _watch(ours, database, users, hz, starts_at, seconds)
    finally:
        ours.send(None)
        producer.join(30)
        host.join(30)


def _watch(
    host: "Connection[Any, Any]",
    database: DatabaseSettings,
    users: int,
    hz: int,
    starts_at: float,
    seconds: float,
) -> PartitionFigures:
    seen: Counter[int] = Counter()
    delays: list[np.ndarray] = []
    before: tuple[float, Counter[str]] | None = None
    with psycopg.connect(database.url.get_secret_value(), autocommit=True) as conn:
        while (now := time.time()) < starts_at + _WARM_UP_S + seconds:
            rows = conn.execute("SELECT id, frames FROM sessions", prepare=True).fetchall()
            now = time.time()
            for session, frames in rows:
                produced_at = starts_at + np.arange(seen[session], frames) / hz
                delays.append(now - produced_at[produced_at >= starts_at + _WARM_UP_S])
                seen[session] = frames
            if before is None and now >= starts_at + _WARM_UP_S:
                before = now, _cpu(host)
            time.sleep(_LOOK_EVERY_S)
        assert before is not None
        after = _cpu(host)
        host.send("threads")
        threads = host.recv()
        ((connections,),) = conn.execute(_CONNECTIONS).fetchall()
    elapsed_s = now - before[0]
    seen_late = np.concatenate(delays) if delays else np.zeros(0)
    p50_s, p99_s = np.quantile(seen_late, [0.5, 0.99]) if len(seen_late) else (np.inf, np.inf)
    return PartitionFigures(
        users,
        threads,
        connections,
        {name: round((s - before[1][name]) / elapsed_s, 3) for name, s in after.items()},
        round(float(p50_s), 3),
        round(float(p99_s), 3),
        sum(seen.values()),
    )


def _cpu(host: "Connection[Any, Any]") -> Counter[str]:
    """The CPU seconds of the workers, and of broker and database."""
    host.send("cpu")
    spent = Counter({"workers": host.recv()})
    for process in psutil.Process().children(recursive=True):
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        name = _role(process)
        if name in ("PostgreSQL", "Kafka"):
            spent[name] += times.user + times.system
    return spent


def _host(
    kafka: KafkaSettings,
    database: DatabaseSettings,
    topics: list[str],
    asked: "Connection[Any, Any]",
) -> None:
    start_logging(LogSettings(level="ERROR"))
    host = WorkerThreads(
        name="bench",
        kafka=kafka,
        database=database,
        ingest=IngestSettings(),
        idle_after_s=float("inf"),
    )
    host.host([Partition(topic, 0) for topic in topics])
    while what := asked.recv():
        asked.send(time.process_time() if what == "cpu" else psutil.Process().num_threads())
    host.stop()


def _play(kafka: KafkaSettings, topics: list[str], hz: int, frames: int, starts_at: float) -> None:
    producer = Producer(kafka.client({"linger.ms": 5, "compression.type": "lz4", **QUIET}))
    values = serialized_session(60 * (frames // hz) + 60, started_at_ms=round(starts_at * 1000))
    values = list(itertools.islice(values, 0, None, 60 // hz))[:frames]
    keys = [topic.partition("-user-")[2] + "-s" for topic in topics]
    of_users = [headers(key, key[:-2], "protobuf") for key in keys]
    for tick, value in enumerate(values):
        if (wait_s := starts_at + tick / hz - time.time()) > 0:
            time.sleep(wait_s)
        for topic, key, of_user in zip(topics, keys, of_users, strict=True):
            producer.produce(topic, value, key, headers=of_user)
        producer.poll(0)
    producer.flush(30)


if __name__ == "__main__":
    main()
