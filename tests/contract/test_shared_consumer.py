"""One consumer for many partitions: each gets all of its records, and none waits for another."""

import pytest

from ingest.batching.partition_log import Partition
from ingest.errors import OffsetsLost
from ingest.kafka.partition_consumer import PartitionConsumer
from ingest.kafka.shared_consumer import SharedConsumers
from tests.contract.clients import numbered, produce, read
from tests.waiting import WITHIN_S, wait_until

MANY = 20_000


@pytest.fixture
def consumers(settings):
    consumers = SharedConsumers(settings)
    yield consumers
    consumers.close()


@pytest.fixture
def sharing(settings, consumers):
    """Makes readers that share a consumer."""
    return lambda place: PartitionConsumer(settings, place, consumers=consumers, batch_max_rows=1)


@pytest.fixture
def other(partition) -> Partition:
    return Partition(partition.topic, 1)


def test_a_partition_that_is_not_taken_stops_no_other_and_loses_nothing(
    settings, partition, other, sharing
):
    """It is paused, and what the client holds of it is dropped and fetched again."""
    produce(settings, partition, numbered(MANY))
    with sharing(partition) as slow, sharing(other) as quick:
        for source in (slow, quick):
            source.read_from(0)
        wait_until(lambda: slow.is_full)
        produce(settings, other, numbered(3))
        assert read(quick, 3) == ([0, 1, 2], numbered(3))
        assert slow.waiting < MANY / 2
        assert read(slow, MANY) == (list(range(MANY)), numbered(MANY))


def test_a_lost_offset_fails_its_partition_alone(settings, partition, other, sharing):
    produce(settings, other, numbered(3))
    with sharing(partition) as lost, sharing(other) as quick:
        lost.read_from(11)
        quick.read_from(0)
        with pytest.raises(OffsetsLost):
            lost.read(1, WITHIN_S)
        assert read(quick, 3) == ([0, 1, 2], numbered(3))


def test_the_later_of_two_readers_gets_the_records(settings, partition, other, sharing):
    """A worker may begin while the one before it is not done with its last batch."""
    produce(settings, partition, numbered(10))
    with sharing(partition) as later:
        with sharing(partition) as before:
            before.read_from(0)
            assert read(before, 10)[0] == list(range(10))
            later.read_from(4)
            assert read(later, 6)[0] == list(range(4, 10))
        produce(settings, partition, [b"new"])
        assert read(later, 1) == ([10], [b"new"])
