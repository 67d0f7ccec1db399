"""Offsets are the broker's half of exactly once: each names one record, and a reader hears of those
that are gone.
"""

import time

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, TopicPartition

from ingest.errors import OffsetsLost
from ingest.kafka.partition_consumer import PartitionConsumer
from ingest.kafka.topics import open_admin
from tests.contract.clients import numbered, produce, read
from tests.waiting import WITHIN_S

QUIET_S = 0.5  # with nothing to read


@pytest.fixture
def source(settings, partition):
    with PartitionConsumer(settings, partition) as source:
        yield source


def delete_before(settings, partition, offset):
    """What retention does, without waiting for it."""
    place = TopicPartition(partition.topic, partition.index, offset)
    admin = open_admin(settings)
    admin.delete_records([place], request_timeout=WITHIN_S)[place].result(WITHIN_S)


# --- where a log begins and ends
# ----------------------------------------------------------------------------------


def test_empty_partition_begins_where_it_ends(source):
    assert source.offsets() == (0, 0)


def test_end_is_after_the_last_record(settings, partition, source):
    for frame in numbered(3):
        produce(settings, partition, [frame])

    assert source.offsets() == (0, 3)


def test_end_is_after_the_last_record_of_a_batch(settings, partition, source):
    produce(settings, partition, numbered(100))

    assert source.offsets() == (0, 100)


def test_log_begins_after_what_was_deleted(settings, partition, source):
    produce(settings, partition, numbered(100))
    delete_before(settings, partition, 40)

    assert source.offsets() == (40, 100)
    source.read_from(40)
    assert read(source, 60) == (list(range(40, 100)), numbered(60, first=40))


# --- reading from an offset
# ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0, 1, 57, 99])
def test_reading_begins_at_the_offset(settings, partition, source, offset):
    """In the middle of a batch too, though brokers keep and send whole ones."""
    produce(settings, partition, numbered(100))
    source.read_from(offset)

    assert read(source, 100 - offset) == (
        list(range(offset, 100)),
        numbered(100 - offset, first=offset),
    )


def test_reading_at_the_end_waits_for_what_comes(settings, partition, source):
    produce(settings, partition, numbered(10))
    source.read_from(10)
    assert len(source.read(1, QUIET_S)) == 0

    produce(settings, partition, [b"new"])
    assert read(source, 1) == ([10], [b"new"])


def test_reading_of_an_empty_partition_waits_too(settings, partition, source):
    source.read_from(0)
    assert len(source.read(1, QUIET_S)) == 0

    produce(settings, partition, [b"new"])
    assert read(source, 1) == ([0], [b"new"])


def test_what_was_read_can_be_read_again(settings, partition, source):
    """After an error a worker goes back to where the store stands; what was fetched ahead is
    dropped.
    """
    produce(settings, partition, numbered(1_000))
    source.read_from(0)
    read(source, 600)
    source.read_from(200)

    assert read(source, 800) == (list(range(200, 1_000)), numbered(800, first=200))


def read_until_lost(source):
    """A consumer of Kafka's would go to either end of the log by itself."""
    deadline = time.monotonic() + WITHIN_S
    while time.monotonic() < deadline:
        assert len(source.read(100, QUIET_S)) == 0


def test_offset_beyond_the_end_is_lost(settings, partition, source):
    """The broker lost its last records, or the log is another one."""
    produce(settings, partition, numbered(10))
    source.read_from(11)

    with pytest.raises(OffsetsLost):
        read_until_lost(source)


def test_offset_before_the_beginning_is_lost(settings, partition, source):
    """Retention was quicker than the worker."""
    produce(settings, partition, numbered(100))
    delete_before(settings, partition, 40)
    source.read_from(39)

    with pytest.raises(OffsetsLost):
        read_until_lost(source)


# --- offsets of the group, which are for people
# -------------------------------------------------------------------


def committed(settings, partition, group):
    consumer = Consumer(settings.client({"group.id": group}))
    (place,) = consumer.committed(
        [TopicPartition(partition.topic, partition.index)], timeout=WITHIN_S
    )
    consumer.close()
    return place.offset


def test_group_remembers_what_it_was_reported(settings, partition, source):
    produce(settings, partition, numbered(10))
    for offset in (4, 7):
        source.commit(offset)
    source.__exit__()

    assert committed(settings, partition, settings.consumer_group) == 7
    assert committed(settings, partition, "another-group") < 0


def test_offset_of_the_group_is_there_for_whoever_requests(settings, partition, source):
    """As tools that show lag do: by group, without being a member."""
    source.commit(3)
    source.__exit__()

    asked = ConsumerGroupTopicPartitions(settings.consumer_group)
    admin = open_admin(settings)  # an answer comes only while its client lives
    answer = admin.list_consumer_group_offsets([asked])[settings.consumer_group].result(WITHIN_S)
    assert [(p.topic, p.partition, p.offset) for p in answer.topic_partitions] == [
        (partition.topic, 0, 3)
    ]
