"""The disk of the database or of the broker is full: nothing that was acknowledged is lost, and it
ends when there is room.
"""

import contextlib
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from ingest.embedded.broker import Broker
from ingest.embedded.kafka.jars import kafka_jars
from ingest.embedded.kafka.server import Kafka, find_java
from ingest.embedded.postgres import Postgres
from ingest.embedded.process import ServiceUnavailable
from ingest.settings import KafkaSettings
from ingest.store.schema.migrations import migrate
from serve.local.supervision import supervised
from tests.service.audit import assert_each_frame_once, wait_for_frames
from tests.service.loop import filled, small_disk
from tests.service.owner import drove
from tests.service.test_worker import hosting, publish
from tests.service.traffic import Field
from tests.waiting import WITHIN_S, wait_until

FRAMES = 600


@pytest.fixture
def disk(service_folder: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A disk of 400 MB that every user may enter."""
    with small_disk(
        service_folder / f"disk-{request.node.name}".replace("[", "-").rstrip("]"), megabytes=400
    ) as disk:
        disk.chmod(0o755)
        yield disk


def no_more_rows(_: str) -> None:
    """The next table that grows finds no room."""


def no_more_log(url: str) -> None:
    """The next transaction finds no room for its log, which ends the server."""
    with contextlib.suppress(psycopg.Error), psycopg.connect(url, autocommit=True) as conn:
        conn.execute("CREATE TABLE begins_a_log_file ()")
        conn.execute("SELECT pg_switch_wal()")


def with_topics(brokers: str, name: str) -> KafkaSettings:
    """The settings of topics that are made with that name, of one partition each."""
    settings = KafkaSettings(brokers=brokers, topic_telemetry=name, topic_laps=f"{name}-laps")
    admin = AdminClient({"bootstrap.servers": brokers})
    for made in admin.create_topics(
        [NewTopic(topic, 1, 1) for topic in (name, settings.topic_laps)]
    ).values():
        made.result(WITHIN_S)
    return settings


@pytest.mark.parametrize("run_out", [no_more_rows, no_more_log])
def test_a_database_whose_disk_is_full_is_waited_for(
    disk: Path, kafka: Broker, run_out: Callable[[str], None]
) -> None:
    said: list[str] = []
    settings = with_topics(kafka.brokers, f"full-{uuid.uuid4().hex[:8]}")
    with (
        Postgres.start(disk / "postgres") as server,
        supervised({"the database": server}, said.append),
    ):
        with psycopg.connect(server.url) as conn:
            migrate(conn)
        publish(settings, drove("a", *range(1, FRAMES + 1)))
        with hosting(settings, server.url) as progress:
            wait_for_frames(server.url, {"a": FRAMES})
            with filled(disk):
                run_out(server.url)
                before = progress(0)["errors"]
                publish(settings, drove("a", *range(FRAMES + 1, 10 * FRAMES + 1)))
                wait_until(lambda: progress(0)["errors"] > before, "a refusal")
                assert progress(0)["state"] == "waiting"
                if run_out is no_more_log:
                    wait_until(lambda: said, "the server's end")
                else:
                    assert "make room on its disk" in progress(0)["last_error"]
            wait_for_frames(server.url, {"a": 10 * FRAMES})
        assert_each_frame_once(server.url, {"a": 10 * FRAMES})
    assert [line for line in said if "is back" in line] == said[-1:]


def test_a_broker_whose_disk_is_full_is_started_until_there_is_room(disk: Path, database) -> None:
    try:
        java, jars = find_java(), kafka_jars()
    except ServiceUnavailable as missing:
        pytest.skip(str(missing))
    said: list[str] = []
    field = Field(cars=1, frames=FRAMES)
    with (
        Kafka.start(disk / "kafka", java=java, jars=jars) as broker,
        supervised({"the broker": broker}, said.append),
    ):
        kafka = with_topics(broker.brokers, "telemetry")
        field.publish(kafka, "before")
        with hosting(kafka, database.url):
            wait_for_frames(database.url, field.expected("before"))
            with filled(disk), field.publishing(kafka, "meanwhile", duration_s=0):
                wait_until(lambda: said, "the broker's end")
                os.truncate(disk / "ballast", 0)
            wait_for_frames(database.url, field.expected("before") | field.expected("meanwhile"))
        assert_each_frame_once(database.url, field.expected("before") | field.expected("meanwhile"))
    assert "is back" in said[-1]
