"""A partition whose log is not the one that was read: a topic deleted and made anew, a broker that
lost its disk.
"""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from ingest.batching.partition_log import Partition
from ingest.settings import DatabaseSettings, IngestSettings, KafkaSettings
from ingest.telemetry_pb2 import TelemetryFrame
from ingest.workers.partition_worker import Assignment, PartitionWorker
from tests.meanwhile import meanwhile
from tests.waiting import WITHIN_S, wait_until

FRAMES = 300
STARTED_AT_MS = 1_750_000_000_000
LOOKED_S = 2.5  # a worker has looked at its topic since, and heard the answer
NO_TELEMETRY = b"\xff\xff\xff"


@pytest.fixture
def partition(kafka) -> Iterator[Partition]:
    partition = Partition(f"replaced-{uuid.uuid4().hex[:8]}", 0)
    create(kafka.brokers, partition.topic)
    yield partition
    delete(kafka.brokers, partition.topic)


def test_topic_that_was_recreated_is_read_from_its_start(kafka, database, partition):
    """The store is ahead of the broker: what the new log holds is not what was read, and all of it
    is stored.
    """
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


def test_new_topic_that_has_grown_beyond_the_old_one_is_read_from_its_start(
    kafka, database, partition
):
    """Its offsets look as if the worker had only been slow; its id does not. What the old one still
    held, nobody knows.
    """
    produce(kafka.brokers, partition.topic, "before", FRAMES)
    with working(kafka, database, partition):
        wait_until(lambda: stored(database, "before") == FRAMES)

    make_anew(kafka.brokers, partition.topic)
    produce(kafka.brokers, partition.topic, "after", 2 * FRAMES)

    with working(kafka, database, partition):
        wait_until(lambda: position(database) == 2 * FRAMES)
    assert each_once(database, "before", FRAMES)
    assert each_once(database, "after", 2 * FRAMES)
    assert replaced(database) == [(FRAMES, None)]


def test_topic_recreated_between_two_reads_is_noticed(kafka, database, partition):
    """It is there again before the worker misses it, and longer than the old one: every frame of
    both is stored once.
    """
    with working(kafka, database, partition):
        produce(kafka.brokers, partition.topic, "before", FRAMES)
        wait_until(lambda: stored(database, "before") == FRAMES)
        time.sleep(LOOKED_S)
        make_anew(kafka.brokers, partition.topic)
        produce(kafka.brokers, partition.topic, "after", 2 * FRAMES)
        wait_until(lambda: stored(database, "after") == 2 * FRAMES)

    assert each_once(database, "before", FRAMES)
    assert each_once(database, "after", 2 * FRAMES)
    assert replaced(database) == []


def test_what_was_not_stored_of_the_old_topic_is_a_row(kafka, database, partition):
    """A running worker knows how far the log went that is gone."""
    with working(kafka, database, partition, batch_max_age_ms=60_000):
        produce(kafka.brokers, partition.topic, "before", FRAMES)
        time.sleep(LOOKED_S)
        make_anew(kafka.brokers, partition.topic)
        wait_until(lambda: replaced(database) == [(0, FRAMES - 1)])

    assert rows(database, "SELECT next_offset FROM partition_offsets") == [(0,)]
    assert rows(database, "SELECT count(*) FROM telemetry") == [(0,)]


def test_session_that_goes_on_in_the_new_topic_is_one_session(kafka, database, partition):
    """Its last frames of before are sent again, as after every failure: the store has them
    already.
    """
    produce(kafka.brokers, partition.topic, "s", FRAMES)
    with working(kafka, database, partition):
        wait_until(lambda: stored(database, "s") == FRAMES)

    make_anew(kafka.brokers, partition.topic)
    produce(kafka.brokers, partition.topic, "s", 2 * FRAMES, begin=FRAMES - 20)

    with working(kafka, database, partition):
        wait_until(lambda: stored(database, "s") == 2 * FRAMES)
    assert each_once(database, "s", 2 * FRAMES)


def test_store_without_topic_ids_takes_the_id_that_it_finds(kafka, database, partition):
    """It was filled before ids were kept: nothing is read anew."""
    produce(kafka.brokers, partition.topic, "s", FRAMES)
    with working(kafka, database, partition):
        wait_until(lambda: stored(database, "s") == FRAMES)
    with psycopg.connect(database.url) as conn:
        conn.execute("UPDATE partition_offsets SET topic_id = NULL")

    produce(kafka.brokers, partition.topic, "s", FRAMES + 1, begin=FRAMES + 1)
    with working(kafka, database, partition):
        wait_until(lambda: stored(database, "s") == FRAMES + 1)
    assert replaced(database) == []
    assert rows(
        database, "SELECT next_offset FROM partition_offsets WHERE topic_id IS NOT NULL"
    ) == [(FRAMES + 1,)]


def create(brokers: str, topic: str) -> None:
    # An answer comes only while its client lives.
    admin = AdminClient({"bootstrap.servers": brokers})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(WITHIN_S)


def make_anew(brokers: str, topic: str) -> None:
    delete(brokers, topic)
    create(brokers, topic)


def delete(brokers: str, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": brokers})
    admin.delete_topics([topic])[topic].result(WITHIN_S)
    wait_until(lambda: topic not in admin.list_topics(timeout=WITHIN_S).topics)


def produce(
    brokers: str, topic: str, session: str, last: int, *, begin: int = 1, first: bytes | None = None
) -> None:
    producer = Producer({"bootstrap.servers": brokers, "acks": "all"})
    if first is not None:
        producer.produce(topic, first, session)
    for number in range(begin, last + 1):
        frame = TelemetryFrame(
            timestamp=STARTED_AT_MS + 16 * number, lap_time=16 * number, lap_number=1, rpm=1
        )
        frame.sequence = number
        producer.produce(topic, frame.SerializeToString(), session)
    assert producer.flush(WITHIN_S) == 0


@contextmanager
def working(kafka, database, partition: Partition, *, batch_max_age_ms: int = 50) -> Iterator[None]:
    """A worker of the partition, until the block ends."""
    task = Assignment(
        partition,
        "test",
        KafkaSettings(_env_file=None, brokers=kafka.brokers),
        DatabaseSettings(_env_file=None, url=database.url),
        IngestSettings(_env_file=None, batch_max_age_ms=batch_max_age_ms),
    )
    with meanwhile(PartitionWorker(task, on_laps=lambda _: None).run):
        yield


def stored(database, session: str) -> int:
    query = (
        "SELECT count(*) FROM telemetry t JOIN sessions s ON s.id = t.session_id WHERE s.key = %s"
    )
    return rows(database, query, [session])[0][0]


def each_once(database, session: str, frames: int) -> bool:
    query = """
        SELECT count(*), count(DISTINCT sequence), min(sequence), max(sequence), s.received::text
          FROM telemetry t JOIN sessions s ON s.id = t.session_id WHERE s.key = %s GROUP BY s.id
    """
    return rows(database, query, [session]) == [
        (frames, frames, 1, frames, f"{{[1,{frames + 1})}}")
    ]


def replaced(database) -> list[tuple]:
    """The losses that a topic made anew has left."""
    return rows(database, "SELECT from_offset, to_offset FROM gaps WHERE reason = 'replaced'")


def position(database) -> int:
    return rows(database, "SELECT next_offset FROM partition_offsets")[0][0]


def rows(database, query: str, values: list | None = None) -> list[tuple]:
    with psycopg.connect(database.url) as conn:
        return conn.execute(query, values).fetchall()
