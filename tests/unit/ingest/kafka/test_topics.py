"""What topics are called, how they should be, and how a difference reads."""

import re

import pytest
from confluent_kafka.admin import PartitionMetadata, TopicMetadata

from ingest.errors import SettingsError
from ingest.kafka.topics import (
    TopicOutcome,
    TopicReport,
    config_differences,
    refuse_unproved_users,
    shape_differences,
    telemetry_pattern,
    telemetry_spec,
    telemetry_topic,
    topic_owner,
    topic_specs,
)
from ingest.settings import KafkaSettings


def kafka(**given):
    return KafkaSettings(_env_file=None, **given)


def topic(partitions, copies):
    found = TopicMetadata()
    for index in range(partitions):
        found.partitions[index] = PartitionMetadata()
        found.partitions[index].replicas = list(range(copies))
    return found


def test_specification_of_the_topics():
    telemetry, commands, laps, reports = topic_specs(kafka())

    assert [
        (t.name, t.partitions, t.replication) for t in (telemetry, commands, laps, reports)
    ] == [
        ("telemetry", 10, 1),
        ("commands", 3, 1),
        ("laps", 10, 1),
        ("status-reports", 3, 1),
    ]
    assert telemetry.config["retention.ms"] == "3600000"
    assert telemetry.config["compression.type"] == "lz4"
    assert commands.config["retention.ms"] == laps.config["retention.ms"] == "86400000"


def test_the_broker_stamps_records():
    """A game PC whose clock is wrong must not decide what Kafka deletes."""
    assert {t.config["message.timestamp.type"] for t in topic_specs(kafka())} == {"LogAppendTime"}


def test_production_keeps_two_copies_in_step():
    assert {t.config["min.insync.replicas"] for t in topic_specs(kafka(replication=1))} == {"1"}
    assert {t.config["min.insync.replicas"] for t in topic_specs(kafka(replication=3))} == {"2"}
    assert {t.replication for t in topic_specs(kafka(replication=3))} == {3}


@pytest.mark.parametrize("name", ["telemetry", "telemetry-user-anna", "telemetry-user-anna.b_2"])
def test_pattern_finds_topics_of_frames(name):
    assert re.match(telemetry_pattern(kafka()), name)


@pytest.mark.parametrize(
    "name", ["telemetry2", "telemetry-user-", "old-telemetry", "laps", "telemetry-users"]
)
def test_pattern_leaves_other_topics_alone(name):
    assert not re.match(telemetry_pattern(kafka()), name)


def test_pattern_takes_a_dot_for_a_dot():
    pattern = telemetry_pattern(kafka(topic_telemetry="race.frames"))

    assert re.match(pattern, "race.frames-user-anna")
    assert not re.match(pattern, "race-frames")


def test_a_user_has_a_topic_only_where_that_is_wanted():
    assert telemetry_topic(kafka(), "anna") == "telemetry"
    assert telemetry_topic(kafka(topic_per_user=True), "anna") == "telemetry-user-anna"


def test_a_topic_of_a_user_has_one_partition():
    """A thousand users would be ten thousand otherwise."""
    assert telemetry_spec(kafka(), "telemetry-user-anna").partitions == 1


@pytest.mark.parametrize("user", ["a" * 240, "Änne", "a b", ""])
def test_a_topic_name_that_kafka_refuses_is_refused_here(user):
    with pytest.raises(SettingsError, match="USER_ID"):
        telemetry_topic(kafka(topic_per_user=True), user)


@pytest.mark.parametrize("user", ["anna", "a.b_C-d", "x-user-y"])
@pytest.mark.parametrize("per_user", [True, False])
def test_a_topic_of_a_user_names_its_owner(user, per_user):
    settings = kafka(topic_per_user=per_user)

    assert topic_owner(settings, telemetry_topic(kafka(topic_per_user=True), user)) == user


def test_a_shared_topic_has_no_owner():
    assert topic_owner(kafka(), "telemetry") is None
    assert topic_owner(kafka(topic_per_user=True), "telemetry") == ""


@pytest.mark.parametrize("topic", ["laps", "telemetry-user-"])
@pytest.mark.parametrize("per_user", [True, False])
def test_other_topics_have_no_owner_to_prove(topic, per_user):
    assert topic_owner(kafka(topic_per_user=per_user), topic) is None


@pytest.mark.parametrize("mode", ["keys", "jwt"])
def test_logins_need_topics_that_prove_users(mode):
    with pytest.raises(SettingsError, match="KAFKA_TOPIC_PER_USER.*AUTH_MODE=" + mode):
        refuse_unproved_users(kafka(), mode)
    refuse_unproved_users(kafka(topic_per_user=True), mode)
    refuse_unproved_users(kafka(), "none")


def test_differences_are_reported_in_words():
    spec = topic_specs(kafka())[0]
    config = spec.config | {"retention.ms": "604800000"}

    assert list(shape_differences(spec, topic(4, copies=3))) == [
        "4 partitions, want 10",
        "replication 3, want 1",
    ]
    assert list(config_differences(spec, config)) == ["retention.ms is 604800000, want 3600000"]
    assert list(config_differences(spec, "Broker: not allowed")) == [
        "config unknown: Broker: not allowed"
    ]


def test_a_topic_as_specified_has_no_differences():
    spec = topic_specs(kafka())[0]

    assert list(shape_differences(spec, topic(10, copies=1))) == []
    assert list(config_differences(spec, spec.config)) == []


def test_outcomes_and_reports_read_as_one_line():
    assert str(TopicOutcome("laps", True)) == "laps: created"
    assert str(TopicOutcome("laps", False)) == "laps: exists"
    assert (
        str(TopicOutcome("laps", False, differences=("4 partitions, want 10",)))
        == "laps: exists; 4 partitions, want 10"
    )
    assert str(TopicOutcome("laps", False, problem="not allowed")) == "laps: failed: not allowed"
    assert str(TopicReport("laps", 0, ("missing",))) == "laps: missing"
    assert str(TopicReport("laps", 10)) == "laps: as specified"
