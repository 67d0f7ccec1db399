"""The records that the benches send: a simulated field, serialized once."""

import itertools
import time

from confluent_kafka import Producer

from ingest.collectors.delivery.records import Headers, headers
from ingest.collectors.simulator.circuit import aldermoor_park
from ingest.collectors.simulator.frames import drive
from ingest.kafka.topics import QUIET, partition_of
from ingest.settings import KafkaSettings


def serialized_session(
    frames: int, *, seed: int = 1, started_at_ms: int | None = None
) -> list[bytes]:
    """The values of a session of ``frames`` frames at 60 Hz, by default one that ends about now."""
    if started_at_ms is None:
        started_at_ms = time.time_ns() // 1_000_000 - frames * 1000 // 60
    values = []
    for sequence, frame in enumerate(
        itertools.islice(drive(aldermoor_park(), seed=seed, started_at_ms=started_at_ms), frames),
        start=1,
    ):
        frame.sequence = sequence
        values.append(frame.SerializeToString())
    return values


def session_keys(count: int, *, partitions: int) -> list[bytes]:
    """Keys of ``count`` sessions that spread evenly over the partitions."""
    keys: list[list[bytes]] = [[] for _ in range(partitions)]
    each = -(-count // partitions)
    for number in itertools.count():
        key = f"bench-{number}".encode()
        home = keys[partition_of(key, partitions)]
        if len(home) < each:
            home.append(key)
        if all(len(k) == each for k in keys):
            return [k for home in keys for k in home][:count]
    raise AssertionError("unreachable")


def publish(
    kafka: KafkaSettings, keys: list[bytes], values: list[bytes], *, partitions: int
) -> None:
    """Every value under every key, the sessions interleaved in stretches as they would be live,
    acknowledged by all.
    """
    producer = Producer(
        kafka.client(
            {
                "linger.ms": 20,
                "compression.type": "lz4",
                "enable.idempotence": True,
                "queue.buffering.max.messages": 500_000,
                **QUIET,
            }
        )
    )
    places = [(key, partition_of(key, partitions)) for key in keys]
    headers_of = {key: headers(key.decode(), "bench", "protobuf") for key in keys}
    for start in range(0, len(values), 600):
        for key, partition in places:
            for value in values[start : start + 600]:
                _produce(producer, kafka.topic_telemetry, key, value, partition, headers_of[key])
    left = producer.flush(120)
    if left:
        raise RuntimeError(f"{left} records were not acknowledged")


def _produce(
    producer: Producer, topic: str, key: bytes, value: bytes, partition: int, headers: Headers
) -> None:
    while True:
        try:
            producer.produce(topic, value=value, key=key, partition=partition, headers=headers)
            return
        except BufferError:
            producer.poll(0.1)
