"""Topics on a real broker: created once, never changed, and described in words."""

import socket
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from confluent_kafka.admin import NewTopic

from ingest.errors import BrokerUnavailable
from ingest.settings import KafkaSettings
from ingest.topics import Cluster, cluster_of, create_topics, describe_topics, open_admin


@pytest.fixture
def settings(kafka):
    """Topics that no other test has."""
    mine = uuid4().hex[:8]
    return KafkaSettings(
        _env_file=None,
        brokers=kafka.brokers,
        topic_telemetry=f"telemetry{mine}",
        topic_commands=f"commands{mine}",
        topic_laps=f"laps{mine}",
    )


def by_hand(settings, name, partitions, config):
    topic = NewTopic(name, partitions, 1, config=config)
    admin = open_admin(settings)  # an answer comes only while its client lives
    admin.create_topics([topic])[name].result(30)
    assert Cluster(settings, timeout_s=30).await_partitions(name) == partitions


def known(differences):
    """Without what a broker that does not tell its configuration leaves open."""
    return [d for d in differences if "unknown" not in d]


def test_topics_are_created_as_specified(settings):
    assert [o.created for o in create_topics(settings)] == [True, True, True]

    reports = describe_topics(settings)
    assert [r.partitions for r in reports] == [10, 3, 10]
    assert [known(r.differences) for r in reports] == [[], [], []]


def test_creating_again_changes_nothing(settings):
    create_topics(settings)
    again = create_topics(settings)

    assert [(o.created, o.problem, known(o.differences)) for o in again] == [(False, "", [])] * 3


def test_two_that_create_at_once(settings):
    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(lambda _: create_topics(settings), range(4)))

    assert {o.problem for each in outcomes for o in each} == {""}
    assert [sum(each[i].created for each in outcomes) for i in range(3)] == [1, 1, 1]


def test_a_topic_that_is_there_is_left_alone_and_its_differences_said(settings):
    by_hand(settings, settings.topic_laps, 4, {"retention.ms": "1000000"})
    laps = create_topics(settings)[2]

    assert (laps.created, laps.problem) == (False, "")
    assert "4 partitions, want 10" in laps.differences
    assert len(cluster_of(open_admin(settings), settings, timeout_s=10).topics[settings.topic_laps].partitions) == 4
    report = describe_topics(settings)[2]
    assert "retention.ms is 1000000, want 86400000" in report.differences or "unknown" in str(report)


def test_what_is_missing_is_said(settings):
    assert [str(r) for r in describe_topics(settings)][1] == f"{settings.topic_commands}: missing"


def test_topics_of_users_are_described_too(settings):
    anna = f"{settings.topic_telemetry}-user-anna"
    by_hand(settings, anna, 2, {})

    (report,) = [r for r in describe_topics(settings) if r.name == anna]
    assert "2 partitions, want 10" in report.differences


def test_nobody_answers():
    with socket.socket() as held:  # bound and not listening: nobody else's port either
        held.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{held.getsockname()[1]}"
        with pytest.raises(BrokerUnavailable, match=address):
            create_topics(KafkaSettings(_env_file=None, brokers=address), timeout_s=1)
