"""What a broker keeps when it ends, and what it deletes while it runs."""

import pytest
from confluent_kafka import Consumer, TopicPartition

from ingest.kafka.log_offsets import LogOffsets
from ingest.kafka.partition_consumer import PartitionConsumer
from ingest.kafka.topics import Cluster
from tests.contract.clients import disconnect, numbered, produce, read
from tests.contract.topics import await_leader, new_partition, settings_of
from tests.waiting import WITHIN_S, wait_until

KEPT = 1_000


@pytest.fixture
def settings(own_broker):
    return settings_of(own_broker.brokers)


def commit(settings, partition, offset):
    consumer = Consumer(settings.client({"group.id": settings.consumer_group}))
    place = TopicPartition(partition.topic, partition.index, offset)
    consumer.commit(offsets=[place], asynchronous=False)
    consumer.close()


def committed(settings, partition):
    consumer = Consumer(settings.client({"group.id": settings.consumer_group}))
    (place,) = consumer.committed(
        [TopicPartition(partition.topic, partition.index)], timeout=WITHIN_S
    )
    consumer.close()
    return place.offset


def identify(settings, partition):
    with PartitionConsumer(settings, partition) as source:
        return source.identify()


def test_what_was_acknowledged_outlives_the_broker(own_broker, settings, partition):
    """Records, the topic with its id, and the offset of the group: after kill -9, and after an
    orderly end.
    """
    produce(settings, partition, numbered(KEPT))
    commit(settings, partition, 700)
    topic_id = identify(settings, partition)

    for end in (own_broker.kill, own_broker.stop):
        disconnect()
        end()
        own_broker.restart()
        wait_until(
            lambda: partition.topic in Cluster(settings, timeout_s=WITHIN_S).topics(),
            within_s=WITHIN_S,
        )
        await_leader(settings, partition)

        with PartitionConsumer(settings, partition) as source:
            assert source.offsets() == (0, KEPT)
            source.read_from(0)
            assert read(source, KEPT) == (list(range(KEPT)), numbered(KEPT))
        assert identify(settings, partition) == topic_id
        assert committed(settings, partition) == 700
    assert produce(settings, partition, [b"next"]) == [KEPT]


def test_retention_deletes_what_is_old_and_no_offset_is_given_twice(own_broker, settings):
    partition = new_partition(settings, **{"retention.ms": "1000", "segment.ms": "500"})
    produce(settings, partition, numbered(100))

    with PartitionConsumer(settings, partition) as source:
        wait_until(lambda: source.offsets() == (100, 100), within_s=WITHIN_S)
    assert produce(settings, partition, [b"next"]) == [100]


def test_ends_are_found_again_after_the_broker_was_restarted(own_broker, settings, partition):
    """The client of the first request knows the leader's epoch of before."""
    offsets = LogOffsets(settings)
    produce(settings, partition, numbered(10))
    assert offsets.ends([partition], within_s=WITHIN_S) == ({partition: 10}, "")

    disconnect()
    own_broker.stop()
    own_broker.restart()
    wait_until(lambda: offsets.ends([partition], within_s=WITHIN_S) == ({partition: 10}, ""))
    assert offsets.of(partition, within_s=WITHIN_S) == (0, 10)
    assert offsets.ends([], within_s=WITHIN_S) == ({}, "")
