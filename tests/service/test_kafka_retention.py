"""Kafka deletes what is too old, read or not: a worker that comes too late says so, in a row and aloud, and goes on."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from ingest.partition import Partition
from ingest.services.kafka import Kafka, Node
from ingest.services.process import ServiceUnavailable
from ingest.settings import KafkaSettings
from ingest.source import Source
from tests.contract.topics import new_partition, settings_of
from tests.service.audit import wait_for_frames
from tests.service.owner import drove, rows
from tests.service.test_worker import hosting, publish
from tests.waiting import wait_until

RETENTION_MS = 1_000
WITHIN_S = 30


@pytest.fixture
def hasty_kafka(service_folder: Path) -> Iterator[Kafka]:
    """A broker that looks every second for what to delete."""
    node = Node(settings={"log.retention.check.interval.ms": "1000", "log.initial.task.delay.ms": "500"})
    try:
        broker = Kafka.start(service_folder / "hasty", node=node)
    except ServiceUnavailable as missing:
        pytest.skip(f"no broker: {missing}")
    with broker:
        yield broker


@pytest.fixture
def settings(hasty_kafka: Kafka) -> KafkaSettings:
    return settings_of(hasty_kafka.brokers)


def test_retention_that_overtakes_a_stopped_worker_is_a_row(settings, database):
    config = {"retention.ms": str(RETENTION_MS), "segment.ms": "500", "file.delete.delay.ms": "0"}
    partition = new_partition(settings, **config)
    with hosting(settings, database.url):
        publish(settings, drove("a", *range(1, 101)))
        wait_for_frames(database.url, {"a": 100}, within_s=WITHIN_S)

    publish(settings, drove("a", *range(101, 201)))
    wait_until(lambda: first_offset(settings, partition) == 200)

    with structlog.testing.capture_logs() as said, hosting(settings, database.url):
        wait_until(lambda: lost(database) != [])
        publish(settings, drove("a", *range(201, 211)))
        wait_for_frames(database.url, {"a": 110}, within_s=WITHIN_S)

    assert lost(database) == [(settings.topic_telemetry, 0, 100, 199)]
    assert rows(database.url, "SELECT received::text FROM sessions") == [("{[1,101),[201,211)}",)]
    (loud,) = [line for line in said if line["log_level"] == "error"]
    assert (loud["event"], loud["next"], loud["first"]) == ("records were deleted before they were read", 100, 200)


def lost(database) -> list[tuple]:
    query = "SELECT topic, partition, from_offset, to_offset FROM gaps WHERE reason = 'retention'"
    return rows(database.url, query)


def first_offset(settings: KafkaSettings, partition: Partition) -> int:
    with Source(settings, partition) as source:
        first, _ = source.offsets()
    time.sleep(0.2)
    return first
