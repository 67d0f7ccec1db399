"""A partition whose log is not the one that was read: a topic deleted and made anew, a broker that lost its disk."""

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from ingest.partition import Partition
from ingest.settings import DatabaseSettings, IngestSettings, KafkaSettings
from ingest.telemetry_pb2 import TelemetryFrame
from ingest.worker import Assignment, PartitionWorker

FRAMES = 300
STARTED_AT_MS = 1_750_000_000_000
WITHIN_S = 30
NO_TELEMETRY = b"\xff\xff\xff"


@pytest.fixture
def partition(kafka) -> Iterator[Partition]:
    partition = Partition(f"replaced-{uuid.uuid4().hex[:8]}", 0)
    create(kafka.brokers, partition.topic)
    yield partition
    delete(kafka.brokers, partition.topic)


def test_topic_that_was_made_anew_is_read_from_its_start(kafka, database, partition):
    """The store is ahead of the broker: what the new log holds is not what was read, and all of it is stored."""
    produce(kafka.brokers, partition.topic, "before", FRAMES)
    with working(kafka, database, partition):
        wait_until(lambda: stored(database, "before") == FRAMES)

    make_anew(kafka.brokers, partition.topic)
    produce(kafka.brokers, partition.topic, "after", FRAMES // 2)

    with working(kafka, database, partition):
        wait_until(lambda: stored(database, "after") == FRAMES // 2)
    assert stored(database, "before") == FRAMES


def test_bad_record_where_the_old_log_had_one_stops_nothing(kafka, database, partition):
    """Dead letters are kept by their offset, and the new log begins at 0 again."""
    produce(kafka.brokers, partition.topic, "before", FRAMES, first=NO_TELEMETRY)
    with working(kafka, database, partition):
        wait_until(lambda: stored(database, "before") == FRAMES)

    make_anew(kafka.brokers, partition.topic)
    produce(kafka.brokers, partition.topic, "after", FRAMES // 2, first=NO_TELEMETRY * 2)

    with working(kafka, database, partition):
        wait_until(lambda: stored(database, "after") == FRAMES // 2)
    assert rows(database, 'SELECT "offset", value FROM dead_letters') == [(0, NO_TELEMETRY * 2)]


def create(brokers: str, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": brokers})  # an answer comes only while its client lives
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(10)


def make_anew(brokers: str, topic: str) -> None:
    delete(brokers, topic)
    create(brokers, topic)


def delete(brokers: str, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": brokers})
    admin.delete_topics([topic])[topic].result(10)
    wait_until(lambda: topic not in admin.list_topics(timeout=5).topics)


def produce(brokers: str, topic: str, session: str, frames: int, *, first: bytes | None = None) -> None:
    producer = Producer({"bootstrap.servers": brokers, "acks": "all"})
    if first is not None:
        producer.produce(topic, first, session)
    for number in range(1, frames + 1):
        frame = TelemetryFrame(timestamp=STARTED_AT_MS + 16 * number, lap_time=16 * number, lap_number=1, rpm=1)
        frame.sequence = number
        producer.produce(topic, frame.SerializeToString(), session)
    assert producer.flush(20) == 0


@contextmanager
def working(kafka, database, partition: Partition) -> Iterator[None]:
    """A worker of the partition, until the block ends."""
    task = Assignment(
        partition,
        "test",
        KafkaSettings(_env_file=None, brokers=kafka.brokers),
        DatabaseSettings(_env_file=None, url=database.url),
        IngestSettings(_env_file=None, batch_max_age_ms=50),
    )
    worker, stop = PartitionWorker(task, on_laps=lambda _: None), threading.Event()
    thread = threading.Thread(target=worker.run, args=[stop])
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def stored(database, session: str) -> int:
    query = "SELECT count(*) FROM telemetry t JOIN sessions s ON s.id = t.session_id WHERE s.key = %s"
    return rows(database, query, [session])[0][0]


def rows(database, query: str, values: list | None = None) -> list[tuple]:
    with psycopg.connect(database.url) as conn:
        return conn.execute(query, values).fetchall()


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)
