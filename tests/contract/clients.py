"""Clients as the code configures them, for asking a broker what it keeps."""

import functools
import gc
import time
from collections.abc import Sequence
from typing import Any

from confluent_kafka import KafkaException, Message, Producer

from ingest.batching.partition_log import Partition
from ingest.collectors.delivery.producer import PRODUCER
from ingest.kafka.partition_consumer import PartitionConsumer
from ingest.settings import KafkaSettings
from tests.contract.topics import settings_of
from tests.waiting import WITHIN_S, wait_until


@functools.cache
def _collectors_producer(brokers: str) -> Producer:
    # Half a second goes by until an idempotent producer has its number: one for all tests, then.
    return Producer(settings_of(brokers).client(PRODUCER | {"linger.ms": 50}))


def disconnect() -> None:
    """End the producers, and all clients that nobody holds. The port of a server that dies before
    them is taken for a minute.
    """
    _collectors_producer.cache_clear()
    gc.collect()  # a client that calls its owner back lives as long as its owner


def produce(
    settings: KafkaSettings,
    partition: Partition,
    values: Sequence[bytes | None],
    *,
    key: bytes | None = b"spa",
    **more: Any,
) -> list[int]:
    """Write as a collector does, all values in as few batches as they fit in; the acknowledged
    offsets, in order.

    ``more`` goes to each record. Raises KafkaException for a record that was refused.
    """
    producer = _collectors_producer(settings.brokers)
    told: list[Message | KafkaException] = []
    for value in values:
        producer.produce(
            partition.topic,
            value,
            key,
            partition.index,
            on_delivery=lambda error, message: told.append(
                KafkaException(error) if error else message
            ),
            **more,
        )
    wait_until(lambda: producer.poll(0.1) >= 0 and len(told) == len(values))
    return [_offset(each) for each in told]


def _offset(told: Message | KafkaException) -> int:
    if isinstance(told, KafkaException):
        raise told
    return int(told.offset())


def numbered(count: int, *, first: int = 0) -> list[bytes]:
    """Values that say where they belong."""
    return [str(number).encode() for number in range(first, first + count)]


def read(source: PartitionConsumer, count: int) -> tuple[list[int], list[bytes | None]]:
    """Offsets and values of the next ``count`` records; of fewer, if no more come in time."""
    offsets, values = [], []
    deadline = time.monotonic() + WITHIN_S
    while len(values) < count and time.monotonic() < deadline:
        records = source.read(count - len(values), 0.2)
        offsets += records.offsets.tolist()
        values += records.values
    return offsets, values
