"""Kafka deletes what is too old, read or not: a worker that comes too late says so, in a row and
aloud, and goes on.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
import structlog
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource
from psycopg import sql

from ingest.batching.partition_log import Partition
from ingest.embedded.kafka.server import Kafka, Node
from ingest.embedded.process import ServiceUnavailable
from ingest.kafka.partition_consumer import PartitionConsumer
from ingest.kafka.topics import open_admin
from ingest.settings import KafkaSettings
from tests.contract.topics import new_partition, settings_of
from tests.service.audit import wait_for_frames
from tests.service.owner import drove, rows
from tests.service.test_worker import hosting, publish
from tests.waiting import WITHIN_S, wait_until

HASTY = {"retention.ms": "1000", "segment.ms": "500"}
PATIENT = {"retention.ms": "3600000", "segment.ms": "3600000"}


@pytest.fixture(scope="module")
def hasty_kafka(service_folder: Path) -> Iterator[Kafka]:
    """A broker that looks every second for what to delete."""
    node = Node(
        settings={"log.retention.check.interval.ms": "1000", "log.initial.task.delay.ms": "500"}
    )
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
    partition = new_partition(settings, **PATIENT)
    with hosting(settings, database.url):
        publish(settings, drove("a", *range(1, 101)))
        wait_for_frames(database.url, {"a": 100})

    publish(settings, drove("a", *range(101, 201)))
    lose_all(settings, partition, first=200)

    with structlog.testing.capture_logs() as said, hosting(settings, database.url):
        wait_until(lambda: lost(database) != [])
        publish(settings, drove("a", *range(201, 211)))
        wait_for_frames(database.url, {"a": 110})

    assert lost(database) == [(settings.topic_telemetry, 0, 100, 199)]
    assert rows(database.url, "SELECT received::text FROM sessions") == [("{[1,101),[201,211)}",)]
    (loud,) = [line for line in said if line["log_level"] == "error"]
    assert (loud["event"], loud["next"], loud["first"]) == (
        "records were deleted before they were read",
        100,
        200,
    )


def test_retention_that_overtakes_a_running_worker_is_a_row(settings, database, database_server):
    """Its database is away for longer than Kafka keeps what it was about to store."""
    partition = new_partition(settings, **PATIENT)
    with hosting(settings, database.url):
        publish(settings, drove("a", *range(1, 101)))
        wait_for_frames(database.url, {"a": 100})
        with away(database.url, database_server):
            publish(settings, drove("a", *range(101, 201)))
            lose_all(settings, partition, first=200)
        publish(settings, drove("a", *range(201, 211)))
        wait_for_frames(database.url, {"a": 110})

    assert lost(database) == [(settings.topic_telemetry, 0, 100, 199)]
    assert rows(database.url, "SELECT received::text FROM sessions") == [("{[1,101),[201,211)}",)]


@contextmanager
def away(url: str, server: str) -> Iterator[None]:
    """Nobody is connected to the database, or gets in, for as long as the block lasts."""
    name = urlsplit(url).path.lstrip("/")
    allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute(allow.format(sql.Identifier(name), sql.SQL("false")))
        conn.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s",
            [name],
        )
        yield
        conn.execute(allow.format(sql.Identifier(name), sql.SQL("true")))


def lose_all(settings: KafkaSettings, partition: Partition, *, first: int) -> None:
    """Retention takes all that is before ``first``, and then nothing more: what comes next may wait
    for its worker.
    """
    configure(settings, partition, HASTY)
    wait_until(lambda: first_offset(settings, partition) == first)
    configure(settings, partition, PATIENT)


def configure(settings: KafkaSettings, partition: Partition, config: Mapping[str, str]) -> None:
    entries = [
        ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        for name, value in config.items()
    ]
    topic = ConfigResource(ConfigResource.Type.TOPIC, partition.topic, incremental_configs=entries)
    admin = open_admin(settings)  # an answer comes only while its client lives
    admin.incremental_alter_configs([topic])[topic].result(WITHIN_S)


def lost(database) -> list[tuple]:
    query = "SELECT topic, partition, from_offset, to_offset FROM gaps WHERE reason = 'retention'"
    return rows(database.url, query)


def first_offset(settings: KafkaSettings, partition: Partition) -> int:
    with PartitionConsumer(settings, partition) as source:
        first, _ = source.offsets()
    time.sleep(0.2)
    return first
