"""Topics: created once, never changed by us, described in words; they grow, and one that was made
anew is another one.
"""

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
from confluent_kafka.admin import NewPartitions, NewTopic

from ingest.batching.partition_log import Partition
from ingest.errors import BrokerUnavailable
from ingest.kafka.partition_consumer import PartitionConsumer
from ingest.kafka.topics import Cluster, cluster_of, create_topics, describe_topics, open_admin
from ingest.settings import KafkaSettings
from tests.contract.clients import disconnect, numbered, produce, read
from tests.contract.topics import await_leader, delete_topic, new_partition
from tests.waiting import WITHIN_S, wait_until


def by_hand(settings, name, partitions, config):
    topic = NewTopic(name, partitions, 1, config=config)
    admin = open_admin(settings)  # an answer comes only while its client lives
    admin.create_topics([topic])[name].result(WITHIN_S)
    assert Cluster(settings, timeout_s=WITHIN_S).await_partitions(name) == partitions


def test_topics_are_created_as_specified(settings):
    assert [o.created for o in create_topics(settings)] == [True] * 4

    reports = describe_topics(settings)
    assert [r.partitions for r in reports] == [10, 3, 10, 3]
    assert [r.differences for r in reports] == [()] * 4


def test_creating_again_changes_nothing(settings):
    create_topics(settings)
    again = create_topics(settings)

    assert [(o.created, o.problem, o.differences) for o in again] == [(False, "", ())] * 4


def test_two_that_create_at_once(settings):
    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(lambda _: create_topics(settings), range(4)))

    assert {o.problem for each in outcomes for o in each} == {""}
    assert [sum(each[i].created for each in outcomes) for i in range(3)] == [1, 1, 1]


def test_a_topic_that_is_there_is_left_alone_and_its_differences_reported(settings):
    by_hand(settings, settings.topic_laps, 4, {"retention.ms": "1000000"})
    laps = create_topics(settings)[2]

    assert (laps.created, laps.problem) == (False, "")
    assert {"4 partitions, want 10", "retention.ms is 1000000, want 86400000"} <= set(
        laps.differences
    )
    assert (
        len(
            cluster_of(open_admin(settings), settings, timeout_s=WITHIN_S)
            .topics[settings.topic_laps]
            .partitions
        )
        == 4
    )


def test_what_is_missing_is_reported(settings):
    assert [str(r) for r in describe_topics(settings)][1] == f"{settings.topic_commands}: missing"


def test_topics_of_users_are_described_too(settings):
    anna = f"{settings.topic_telemetry}-user-anna"
    by_hand(settings, anna, 2, {})

    (report,) = [r for r in describe_topics(settings) if r.name == anna]
    assert "2 partitions, want 1" in report.differences


def test_nobody_answers():
    with socket.socket() as held:  # bound and not listening: nobody else's port either
        held.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{held.getsockname()[1]}"
        with pytest.raises(BrokerUnavailable, match=address):
            create_topics(KafkaSettings(_env_file=None, brokers=address), timeout_s=1)


def grow(settings, name, partitions):
    admin = open_admin(settings)  # an answer comes only while its client lives
    admin.create_partitions([NewPartitions(name, partitions)], request_timeout=WITHIN_S)[
        name
    ].result(WITHIN_S)
    wait_until(
        lambda: len(Cluster(settings, timeout_s=WITHIN_S).topics()[name].partitions) == partitions
    )


def test_topic_that_grows_keeps_its_records_and_takes_new_ones(settings, partition):
    produce(settings, partition, numbered(10))
    added = Partition(partition.topic, 11)
    grow(settings, partition.topic, 12)
    await_leader(settings, added)
    produce(settings, partition, [b"old"])
    # a producer looks for new partitions every five minutes, and a session of theirs has a new one
    disconnect()
    produce(settings, added, [b"new"])

    with PartitionConsumer(settings, partition) as source:
        source.read_from(0)
        assert read(source, 11) == (list(range(11)), [*numbered(10), b"old"])
    with PartitionConsumer(settings, added) as source:
        source.read_from(0)
        assert read(source, 1) == ([0], [b"new"])


def test_topic_that_was_recreated_has_another_id_and_is_empty(settings, partition):
    """The same name and the same offsets, and none of the records."""
    produce(settings, partition, numbered(10))
    with PartitionConsumer(settings, partition) as source:
        first = source.identify()
        assert first is not None
        assert source.identify() == first

    delete_topic(settings, partition.topic)
    new_partition(settings)

    with PartitionConsumer(settings, partition) as source:
        assert source.identify() not in (first, None)
        assert source.offsets() == (0, 0)


def test_requesting_a_topic_does_not_make_it(settings):
    """A mistyped name is an error, and not a topic of one partition."""
    admin = open_admin(settings)
    admin.list_topics(settings.topic_commands, timeout=WITHIN_S)

    assert settings.topic_commands not in admin.list_topics(timeout=WITHIN_S).topics
