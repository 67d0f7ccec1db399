"""How long a frame takes to be visible to SQL while 1,000 cars drive, and what it costs: 60,000
frames a second, held.

Every frame is produced at the time that it says. A reader of the store asks 20 times a second how
many frames each session has: the frames that came since the last time have become visible since
then, and are taken to have done so just now. So a delay is overstated: by up to 50 ms, and by as
long as the question takes.
"""

import multiprocessing
import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import psutil
import psycopg
from confluent_kafka import Producer

from ingest.collectors.delivery.records import headers
from ingest.kafka.topics import QUIET, partition_of
from ingest.settings import DatabaseSettings, KafkaSettings
from tests.bench.records import serialized_session, session_keys

CARS = 1_000
RATE_HZ = 60
PARTITIONS = 10
_TICK_S = 1 / RATE_HZ
_LOOK_EVERY_S = 0.05
_WEIGH_EVERY_S = 5.0
_WARM_UP_S = 20.0
_LEAD_S = 10.0  # to write the session down and start the producer
_LAST_FRAMES_WITHIN_S = 30.0
# By a part of the command line.
_ROLES = {
    "ray::IngestWorker": "ingest workers",
    "postgres": "PostgreSQL",
    "kafka.Kafka": "Kafka",
    "multiprocessing": "producer",
    "ray": "Ray",
}


@dataclass(frozen=True, slots=True)
class SteadyFigures:
    """Delays in seconds, of all frames after the warm-up; CPUs in use and MB in the first and the
    last quarter, by process.
    """

    cars: int
    frames: int
    frames_per_s: float
    p50_s: float
    p99_s: float
    max_s: float
    cpus: dict[str, float]
    memory_mb: dict[str, tuple[float, float]]


def measure_steady(
    kafka: KafkaSettings,
    database: DatabaseSettings,
    *,
    duration_s: float,
    report: Callable[[str], None],
) -> SteadyFigures:
    """Drive ``CARS`` cars for ``duration_s`` seconds after a warm-up, with ingest running. The
    store is empty before.
    """
    report(
        f"{CARS} cars × {RATE_HZ} Hz for {duration_s:.0f} s, after {_WARM_UP_S:.0f} s to warm up"
    )
    frames = int((duration_s + _WARM_UP_S) * RATE_HZ)
    started_at_ms = round((time.time() + _LEAD_S) * 1000)
    values = serialized_session(frames, started_at_ms=started_at_ms)
    keys = session_keys(CARS, partitions=PARTITIONS)
    producer = multiprocessing.get_context("spawn").Process(
        target=play, args=(kafka, keys, values, started_at_ms / 1000)
    )
    producer.start()
    try:
        watch = _Watch(database.url.get_secret_value(), started_at_ms / 1000)
        watch.until(started_at_ms / 1000 + frames / RATE_HZ, CARS * frames)
    finally:
        producer.join(_LAST_FRAMES_WITHIN_S)
        producer.kill()
    return watch.figures(duration_s)


def play(kafka: KafkaSettings, keys: list[bytes], values: list[bytes], starts_at: float) -> None:
    """Produce each of ``values`` under every key, one tick after the other, from the instant
    ``starts_at`` on.
    """
    producer = Producer(
        kafka.client(
            {
                "linger.ms": 5,
                "compression.type": "lz4",
                "enable.idempotence": True,
                "queue.buffering.max.messages": 500_000,
                **QUIET,
            }
        )
    )
    cars = [
        (key, partition_of(key, PARTITIONS), headers(key.decode(), "bench", "protobuf"))
        for key in keys
    ]
    for tick, value in enumerate(values):
        if (wait_s := starts_at + tick * _TICK_S - time.time()) > 0:
            time.sleep(wait_s)
        for key, partition, of_car in cars:
            producer.produce(kafka.topic_telemetry, value, key, partition, headers=of_car)
        producer.poll(0)
    producer.flush(_LAST_FRAMES_WITHIN_S)


class _Watch:
    """Looks at the store from the outside, and weighs the processes."""

    def __init__(self, url: str, starts_at: float) -> None:
        self._url, self._starts_at = url, starts_at
        self._seen: dict[int, int] = {}
        self._delays_s: list[np.ndarray] = []
        self._weighed: list[tuple[float, Counter[str], Counter[str]]] = []  # when, CPU seconds, MB

    def until(self, ends_at: float, frames: int) -> None:
        """Watch until so many frames are visible, or they do not come after ``ends_at``."""
        weigh_at = self._starts_at + _WARM_UP_S
        with psycopg.connect(self._url, autocommit=True) as conn:
            while (
                sum(self._seen.values()) < frames and time.time() < ends_at + _LAST_FRAMES_WITHIN_S
            ):
                rows = conn.execute(
                    "SELECT id, frames FROM sessions WHERE key LIKE 'bench-%'", prepare=True
                ).fetchall()
                now = time.time()
                self._note(rows, now=now)
                if weigh_at <= now <= ends_at:
                    self._weigh(now=now)
                    weigh_at = now + _WEIGH_EVERY_S
                time.sleep(_LOOK_EVERY_S)

    def figures(self, duration_s: float) -> SteadyFigures:
        delays_s = np.concatenate(self._delays_s)
        p50_s, p99_s = np.quantile(delays_s, [0.5, 0.99])
        first_at, spent_before_s, _ = self._weighed[0]
        last_at, spent_s, _ = self._weighed[-1]
        memory_mb = [mb for _, _, mb in self._weighed]
        quarter = max(1, len(memory_mb) // 4)
        return SteadyFigures(
            cars=CARS,
            frames=len(delays_s),
            frames_per_s=len(delays_s) / duration_s,
            p50_s=float(p50_s),
            p99_s=float(p99_s),
            max_s=float(delays_s.max()),
            cpus={
                name: (s - spent_before_s[name]) / (last_at - first_at)
                for name, s in spent_s.items()
            },
            memory_mb={
                name: (_mean(name, memory_mb[:quarter]), _mean(name, memory_mb[-quarter:]))
                for name in memory_mb[0]
            },
        )

    def _note(self, rows: list[tuple[int, int]], *, now: float) -> None:
        """What became visible since the last look: frame n of a session was produced at the
        session's nth tick.
        """
        for session, frames in rows:
            before = self._seen.get(session, 0)
            if frames == before:
                continue
            self._seen[session] = frames
            produced_at = self._starts_at + np.arange(before, frames) * _TICK_S
            delays_s = now - produced_at[produced_at >= self._starts_at + _WARM_UP_S]
            if len(delays_s):
                self._delays_s.append(delays_s)

    def _weigh(self, *, now: float) -> None:
        spent_s, memory_mb = Counter[str](), Counter[str]()
        here = psutil.Process()
        for process in [here, *here.children(recursive=True)]:
            name = "bench" if process == here else _role(process)
            try:
                times, memory = process.cpu_times(), process.memory_full_info()
            except psutil.Error:
                continue  # it has ended
            spent_s[name] += times.user + times.system
            memory_mb[name] += memory.pss / 1e6
        self._weighed.append((now, spent_s, memory_mb))


def _role(process: psutil.Process) -> str:
    """What a process of ours is there for."""
    try:
        command = " ".join(process.cmdline())
    except psutil.Error:
        return "others"
    for part, role in _ROLES.items():
        if part in command:
            return role
    return "others"


def _mean(name: str, memory_mb: list[Counter[str]]) -> float:
    return statistics.mean(mb[name] for mb in memory_mb)
