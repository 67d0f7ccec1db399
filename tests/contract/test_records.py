"""What is written to a broker is what is read from it: whole, in order, and where the key says."""

import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from ingest.batching.partition_log import Partition
from ingest.collectors.delivery.producer import PRODUCER
from ingest.collectors.delivery.records import LARGEST_RECORD_BYTES, headers
from ingest.kafka.partition_consumer import PartitionConsumer
from ingest.kafka.topics import QUIET, partition_of
from tests.contract.clients import numbered, produce, read
from tests.waiting import WITHIN_S

EVERY_BYTE = bytes(range(256))
OFTEN = 500


@pytest.fixture
def source(settings, partition):
    with PartitionConsumer(settings, partition) as source:
        source.read_from(0)
        yield source


def first_record(settings, partition):
    """With all that a Source does not hand on."""
    consumer = Consumer(settings.client({"group.id": settings.consumer_group}))
    consumer.assign([TopicPartition(partition.topic, partition.index, 0)])
    record = consumer.poll(WITHIN_S)
    consumer.close()
    assert record is not None
    assert record.error() is None
    return record


def test_record_arrives_whole(settings, partition):
    produce(
        settings,
        partition,
        [EVERY_BYTE],
        key=EVERY_BYTE,
        headers=headers("spa", "anna", "protobuf"),
    )
    record = first_record(settings, partition)

    assert (record.partition(), record.offset()) == (partition.index, 0)
    assert (record.key(), record.value()) == (EVERY_BYTE, EVERY_BYTE)
    assert record.headers() == [
        ("sessionId", b"spa"),
        ("userId", b"anna"),
        ("encoding", b"protobuf"),
    ]


def test_record_may_lack_key_and_value(settings, partition, source):
    """Nobody of ours writes one; whoever does must not stop a partition."""
    produce(settings, partition, [None], key=None)
    records = source.read(1, WITHIN_S)

    assert (records.keys, records.values) == ([None], [None])


def test_users_are_those_of_keys_that_can_be_sessions(settings, partition, source):
    """A long key is a dead letter, and not remembered; a name that would forge a line of a log is
    no name.
    """
    for key, user in ((b"spa", "anna"), (b"ring", "anna\nERROR forged"), (b"k" * 500_000, "bob")):
        produce(settings, partition, [b"frame"], key=key, headers=headers("spa", user, "protobuf"))
    read(source, 3)

    assert source.users == {"spa": "anna", "ring": ""}


def test_the_broker_dates_records(settings, partition):
    """A game PC's broken clock must not decide what is deleted."""
    produce(settings, partition, [b"frame"], timestamp=1)
    _, at_ms = first_record(settings, partition).timestamp()

    assert at_ms == pytest.approx(time.time() * 1000, abs=60_000)


def test_partition_keeps_its_order(settings, partition, source):
    """Over many batches, and as many reads."""
    values = numbered(20_000)

    assert produce(settings, partition, values) == list(range(20_000))
    assert read(source, 20_000) == (list(range(20_000)), values)


def test_partitions_are_logs_of_their_own(settings, partition, source):
    other = Partition(partition.topic, 7)

    assert produce(settings, partition, [b"a"]) == produce(settings, other, [b"b"]) == [0]
    assert read(source, 1) == ([0], [b"a"])


def test_cars_that_share_a_partition_keep_their_order(settings, partition, source):
    keys = [b"a", b"b", b"c"]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda key: produce(settings, partition, numbered(2_000), key=key), keys))
    records = source.read(6_000, WITHIN_S)

    for car in keys:
        driven = [
            value for key, value in zip(records.keys, records.values, strict=True) if key == car
        ]
        assert driven == numbered(2_000)


def test_frames_that_come_one_by_one(settings, partition, source):
    """A batch each, every one acknowledged before the next."""
    producer = Producer(settings.client(PRODUCER | {"linger.ms": 0}))
    for value in numbered(OFTEN):
        producer.produce(partition.topic, value, b"spa", partition.index)
        assert producer.flush(WITHIN_S) == 0

    assert read(source, OFTEN) == (list(range(OFTEN)), numbered(OFTEN))


def test_largest_record_of_ours_is_taken(settings, partition, source):
    value = random.Random(7).randbytes(LARGEST_RECORD_BYTES)
    produce(settings, partition, [value])

    assert read(source, 1) == ([0], [value])


def test_record_that_is_too_large_is_refused_alone(settings, partition, source):
    """The error says that it will never be taken, and the next one is."""
    too_large = Producer(settings.client(PRODUCER | {"message.max.bytes": 8_000_000}))
    refusals = []
    too_large.produce(
        partition.topic,
        random.Random(7).randbytes(3_000_000),
        on_delivery=lambda error, _: refusals.append(error),
    )
    assert too_large.flush(WITHIN_S) == 0

    assert [error and error.code() for error in refusals] == [KafkaError.MSG_SIZE_TOO_LARGE]
    produce(settings, partition, [b"next"])
    assert read(source, 1) == ([0], [b"next"])


def test_every_key_finds_its_partition(settings, partition):
    """Also where the client chooses it: librdkafka's murmur2 is ours."""
    producer = Producer(
        settings.client(PRODUCER | {"partitioner": "murmur2_random", "linger.ms": 50})
    )
    dice, found = random.Random(7), {}
    keys = {dice.randbytes(length) for length in range(1, 60) for _ in range(20)}
    for key in keys:
        producer.produce(
            partition.topic,
            b"",
            key,
            on_delivery=lambda _, m: found.update({m.key(): m.partition()}),
        )
    assert producer.flush(WITHIN_S) == 0

    assert found == {key: partition_of(key, 10) for key in keys}


@pytest.fixture
def transaction(settings):
    """A producer in the middle of a transaction; nobody of ours is one, and a topic is open to
    others.
    """
    producer = Producer(
        settings.client(QUIET | {"transactional.id": settings.topic_telemetry, "linger.ms": 0})
    )
    producer.init_transactions(WITHIN_S)
    producer.begin_transaction()
    return producer


def write_in(transaction, partition, *values):
    for value in values:
        transaction.produce(partition.topic, value, b"spa", partition.index)
    transaction.flush(WITHIN_S)


def test_aborted_records_are_not_read(partition, source, transaction):
    """They and the mark of the abort keep their offsets."""
    write_in(transaction, partition, *numbered(3))
    transaction.abort_transaction(WITHIN_S)
    transaction.begin_transaction()
    write_in(transaction, partition, b"kept")
    transaction.commit_transaction(WITHIN_S)

    assert read(source, 1) == ([4], [b"kept"])


def test_committed_records_leave_a_hole_behind_them(partition, source, transaction):
    """The mark of the commit has an offset, and no record."""
    write_in(transaction, partition, *numbered(3))
    transaction.commit_transaction(WITHIN_S)
    transaction.begin_transaction()
    write_in(transaction, partition, b"next")
    transaction.commit_transaction(WITHIN_S)

    assert read(source, 4) == ([0, 1, 2, 4], [*numbered(3), b"next"])


def test_open_transaction_is_waited_for(partition, source, transaction):
    write_in(transaction, partition, b"0")
    assert len(source.read(1, 1.0)) == 0

    transaction.commit_transaction(WITHIN_S)
    assert read(source, 1) == ([0], [b"0"])
