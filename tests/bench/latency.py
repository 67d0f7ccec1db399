"""A collector's produce call → a viewer's socket: 10 sessions at 60 Hz, a viewer each.

The first seconds do not count: a broker that has just started is compiling itself.
"""

import asyncio
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import websockets
from confluent_kafka import Producer

from ingest.settings import KafkaSettings
from ingest.telemetry_pb2 import Session, TelemetryFrame, TelemetryMessage
from ingest.topics import QUIET, partition_of

SESSIONS = 10
RATE_HZ = 60
PARTITIONS = 10
WARM_UP_S = 10.0


@dataclass(frozen=True, slots=True)
class LatencyFigures:
    """Milliseconds from the call to the socket."""

    frames: int
    received: int
    p50: float
    p99: float
    max: float


def measure_latency(
    kafka: KafkaSettings, socket_url: str, *, duration_s: float, tell: Callable[[str], None]
) -> LatencyFigures:
    """Play ``duration_s`` seconds to viewers that are all connected before the first frame."""
    tell(f"{SESSIONS} sessions × {RATE_HZ} Hz for {duration_s:.0f} s, a viewer each")
    return asyncio.run(_measure(kafka, socket_url, duration_s))


async def _measure(kafka: KafkaSettings, socket_url: str, duration_s: float) -> LatencyFigures:
    keys = [f"latency-{time.time_ns()}-{i}" for i in range(SESSIONS)]
    sent_at: dict[tuple[str, int], float] = {}
    taken_ms: list[float] = []
    viewers = [asyncio.create_task(_watch(socket_url, key, sent_at, taken_ms)) for key in keys]
    await asyncio.sleep(2)
    producer = await _connected_producer(kafka, keys)
    await _play(producer, kafka.topic_telemetry, keys, {}, WARM_UP_S)
    await _play(producer, kafka.topic_telemetry, keys, sent_at, duration_s)
    await asyncio.sleep(1)
    for viewer in viewers:
        viewer.cancel()
    await asyncio.gather(*viewers, return_exceptions=True)
    cuts = statistics.quantiles(taken_ms, n=100)
    return LatencyFigures(len(sent_at), len(taken_ms), cuts[49], cuts[98], max(taken_ms))


async def _watch(url: str, key: str, sent_at: dict[tuple[str, int], float], taken_ms: list[float]) -> None:
    async with websockets.connect(f"{url}?session={key}", compression=None) as socket:
        async for data in socket:
            now = time.perf_counter()
            message = TelemetryMessage.FromString(data if isinstance(data, bytes) else data.encode())
            frames = [message.telemetry] if message.HasField("telemetry") else list(message.frames)
            taken_ms += [(now - sent_at[key, f.sequence]) * 1000 for f in frames if (key, f.sequence) in sent_at]


async def _connected_producer(kafka: KafkaSettings, keys: list[str]) -> Producer:
    """A producer that knows its brokers, as a collector's does after its session's facts: they are its first records."""
    producer = Producer(
        kafka.client({"linger.ms": 0, "acks": "all", "enable.idempotence": True, "compression.type": "lz4", **QUIET})
    )
    for key in keys:
        facts = TelemetryMessage(session_id=key, session=Session(id=key))
        producer.produce(kafka.topic_telemetry, facts.SerializeToString(), key, partition_of(key.encode(), PARTITIONS))
    await asyncio.to_thread(producer.flush, 10)
    await asyncio.sleep(1)
    return producer


async def _play(
    producer: Producer, topic: str, keys: list[str], sent_at: dict[tuple[str, int], float], duration_s: float
) -> None:
    begin = time.perf_counter()
    for tick in range(int(duration_s * RATE_HZ)):
        for i, key in enumerate(keys):
            # Cars are not in step with one another.
            due = begin + (tick + i / len(keys)) / RATE_HZ
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            value = _frame(tick).SerializeToString()
            sent_at[key, tick + 1] = time.perf_counter()
            producer.produce(topic, value, key, partition_of(key.encode(), PARTITIONS))
        producer.poll(0)
    producer.flush(5)


def _frame(tick: int) -> TelemetryFrame:
    now_ms = time.time_ns() // 1_000_000
    return TelemetryFrame(timestamp=now_ms, sequence=tick + 1, lap_number=1, lap_time=tick * 16, speed=200)
