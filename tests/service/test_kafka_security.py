"""Who may do what on a Kafka that asks: each user can do its work, and nothing else."""

import os
import time
from collections.abc import Callable

import pytest
import structlog
from confluent_kafka import (
    OFFSET_END,
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from pydantic import SecretStr

from ingest.batching.partition_log import Partition
from ingest.collectors.delivery.sender import Sender
from ingest.collectors.spool.folder import SpoolFolder
from ingest.embedded.certificates import CertificateAuthority
from ingest.embedded.kafka.cluster import ADMIN
from ingest.errors import BrokerUnavailable
from ingest.kafka.topics import describe_topics
from ingest.settings import CollectorSettings, DatabaseSettings, IngestSettings, KafkaSettings
from ingest.telemetry_pb2 import Session, TelemetryMessage
from ingest.workers.worker_threads import WorkerThreads
from tests.contract.test_live_end import reading
from tests.service.audit import assert_each_frame_once, wait_for_frames
from tests.service.secured import Secured
from tests.service.test_resend import Car, asking, healed, on_air
from tests.service.test_resend import delete_records as delete_before
from tests.service.test_worker import hosting
from tests.service.traffic import Field
from tests.waiting import WITHIN_S, wait_until

PARTITIONS = 10

TOPIC = KafkaError.TOPIC_AUTHORIZATION_FAILED
CLUSTER = KafkaError.CLUSTER_AUTHORIZATION_FAILED
GROUP = KafkaError.GROUP_AUTHORIZATION_FAILED


def admin_of(settings: KafkaSettings) -> AdminClient:
    return AdminClient(settings.client({"log_level": 0}))


def read(settings: KafkaSettings, topic: str) -> None:
    """Without a group, to the first record or the end."""
    config = {
        "group.id": "nobody",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "log_level": 0,
    }
    consumer = Consumer(settings.client(config))
    consumer.assign([TopicPartition(topic, 0, 0)])
    error = first_answer(consumer, unheeded=GROUP).error()
    if error and error.code() != KafkaError._PARTITION_EOF:
        raise KafkaException(error)


def join(settings: KafkaSettings, group: str) -> None:
    consumer = Consumer(
        settings.client({"group.id": group, "enable.auto.commit": False, "log_level": 0})
    )
    consumer.subscribe([settings.topic_telemetry])
    if error := first_answer(consumer).error():
        raise KafkaException(error)


def first_answer(consumer: Consumer, *, unheeded: int | None = None) -> Message:
    try:
        deadline = time.monotonic() + WITHIN_S
        while time.monotonic() < deadline:
            message = consumer.poll(0.2)
            if message is not None and not (message.error() and message.error().code() == unheeded):
                return message
        raise AssertionError("neither a record nor an error")
    finally:
        consumer.close()


def commit(settings: KafkaSettings, group: str) -> None:
    place = TopicPartition(settings.topic_telemetry, 0, 0)
    admin = admin_of(settings)
    admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, [place])])[
        group
    ].result(WITHIN_S)


def write(settings: KafkaSettings, topic: str) -> None:
    failed: list[KafkaError] = []
    producer = Producer(settings.client({"message.timeout.ms": 10_000, "log_level": 0}))
    producer.produce(
        topic,
        b"x",
        partition=0,
        on_delivery=lambda error, _: failed.append(error) if error else None,
    )
    assert producer.flush(WITHIN_S) == 0
    if failed:
        raise KafkaException(failed[0])


def alter(settings: KafkaSettings, topic: str) -> None:
    entry = ConfigEntry("retention.ms", "1", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])
    admin = admin_of(settings)
    admin.incremental_alter_configs([resource])[resource].result(WITHIN_S)


def look_at_config(settings: KafkaSettings, topic: str) -> None:
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    admin = admin_of(settings)
    admin.describe_configs([resource])[resource].result(WITHIN_S)


def describe(settings: KafkaSettings, topic: str) -> None:
    admin = admin_of(settings)
    admin.describe_topics(TopicCollection([topic]))[topic].result(WITHIN_S)


def create(settings: KafkaSettings, topic: str) -> None:
    admin = admin_of(settings)
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(WITHIN_S)


def grow(settings: KafkaSettings, topic: str) -> None:
    admin = admin_of(settings)
    admin.create_partitions([NewPartitions(topic, 20)])[topic].result(WITHIN_S)


def delete(settings: KafkaSettings, topic: str) -> None:
    admin = admin_of(settings)
    admin.delete_topics([topic])[topic].result(WITHIN_S)


def delete_records(settings: KafkaSettings, topic: str) -> None:
    place = TopicPartition(topic, 0, 1)
    admin = admin_of(settings)
    admin.delete_records([place])[place].result(WITHIN_S)


def grant(settings: KafkaSettings, user: str) -> None:
    everything = AclBinding(
        ResourceType.TOPIC, "telemetry", ResourcePatternType.LITERAL, f"User:{user}",
        "*", AclOperation.ALL,
        AclPermissionType.ALLOW,
    )  # fmt: skip
    admin = admin_of(settings)
    admin.create_acls([everything])[everything].result(WITHIN_S)


def rights_shown(settings: KafkaSettings) -> int:
    anything = AclBindingFilter(
        ResourceType.ANY,
        None,
        ResourcePatternType.ANY,
        None,
        None,
        AclOperation.ANY,
        AclPermissionType.ANY,
    )
    admin = admin_of(settings)
    return len(admin.describe_acls(anything).result(WITHIN_S))


def change_password(settings: KafkaSettings, user: str) -> None:
    change = UserScramCredentialUpsertion(
        user, ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096), b"x"
    )
    admin = admin_of(settings)
    admin.alter_user_scram_credentials([change])[user].result(WITHIN_S)


@pytest.mark.parametrize(
    ("user", "act", "on", "code"),
    [
        ("collector", read, "telemetry", TOPIC),
        ("collector", create, "mine", TOPIC),
        ("collector", alter, "telemetry", TOPIC),
        ("collector", look_at_config, "telemetry", TOPIC),
        ("collector", grow, "telemetry", TOPIC),
        ("collector", delete, "telemetry", TOPIC),
        ("collector", delete_records, "telemetry", TOPIC),
        ("collector", write, "laps", TOPIC),
        ("collector", write, "commands", TOPIC),
        ("collector", read, "status-reports", TOPIC),
        ("collector", delete, "commands", TOPIC),
        ("collector", alter, "commands", TOPIC),
        ("collector", describe, "laps", TOPIC),
        ("collector", join, "telemetry-processors", GROUP),
        ("collector", commit, "telemetry-processors", GROUP),
        ("collector", grant, "collector", CLUSTER),
        ("collector", change_password, "admin", CLUSTER),
        ("ingest", write, "telemetry", TOPIC),
        ("ingest", read, "commands", TOPIC),
        ("ingest", read, "laps", TOPIC),
        ("ingest", create, "mine", TOPIC),
        ("ingest", alter, "telemetry", TOPIC),
        ("ingest", delete, "telemetry", TOPIC),
        ("ingest", delete_records, "telemetry", TOPIC),
        ("ingest", commit, "somebody-else", GROUP),
        ("ingest", grant, "ingest", CLUSTER),
        ("bridge", write, "telemetry", TOPIC),
        ("bridge", write, "laps", TOPIC),
        ("bridge", describe, "commands", TOPIC),
        ("bridge", join, "telemetry-processors", GROUP),
    ],
)
def test_what_is_not_granted_is_refused(
    secured: Secured, user: str, act: Callable[[KafkaSettings, str], None], on: str, code: int
) -> None:
    with pytest.raises(KafkaException) as refused:
        act(secured.settings(user), on)

    assert refused.value.args[0].code() == code


@pytest.mark.parametrize(
    ("user", "act", "on"),
    [
        ("collector", write, "telemetry"),
        ("collector", describe, "telemetry"),
        ("collector", read, "commands"),
        ("collector", write, "status-reports"),
        ("ingest", write, "commands"),
        ("ingest", read, "telemetry"),
        ("ingest", describe, "telemetry"),
        ("ingest", write, "laps"),
        ("ingest", commit, "telemetry-processors"),
        ("bridge", read, "telemetry"),
        ("bridge", read, "laps"),
        ("admin", alter, "commands"),
    ],
)
def test_what_is_granted_works(
    secured: Secured, user: str, act: Callable[[KafkaSettings, str], None], on: str
) -> None:
    act(secured.settings(user), on)


def test_rights_are_shown_to_the_administrator_alone(secured):
    """Others get an empty answer: librdkafka hands out no error here."""
    assert rights_shown(secured.settings(ADMIN)) >= 10
    assert rights_shown(secured.settings("collector")) == 0


def test_session_arrives_with_the_least_rights(secured, database):
    """From a collector's sender, which is idempotent and makes no topic, to rows and to the
    announcement of its laps.
    """
    host = WorkerThreads(
        name="least",
        kafka=secured.settings("ingest"),
        database=DatabaseSettings(_env_file=None, url=database.url),
        ingest=IngestSettings(_env_file=None),
    )
    host.host([Partition("telemetry", index) for index in range(PARTITIONS)])
    try:
        with reading(secured.settings("bridge")) as delivered:
            field = Field(cars=1, frames=12_000)
            field.publish(secured.settings("collector"), "least")
            wait_for_frames(database.url, field.expected("least"))
            wait_until(lambda: laps_among(delivered) > 0)
    finally:
        host.stop()

    assert_each_frame_once(database.url, field.expected("least"))


def test_what_is_missing_is_requested_with_the_least_rights(secured, database, tmp_path):
    """Kafka deletes the first half of a session before anybody read it; the collector has it
    still.
    """
    collector, ingest = secured.settings("collector"), secured.settings("ingest")
    spool = SpoolFolder(tmp_path / "spool", max_bytes=100_000_000, keep_s=7200)
    with asking(ingest, database.url), on_air(collector, spool):
        car = Car(collector, spool, "halved")
        car.drive(100)
        car.await_acknowledged()
        delete_before(
            secured.settings(ADMIN), Partition("telemetry", car.sender.partition), before=OFFSET_END
        )
        car.drive(50)
        car.await_acknowledged()
        with hosting(ingest, database.url, partitions=PARTITIONS):
            wait_until(lambda: healed(database.url, "missing", 1))
        car.park()

    assert_each_frame_once(database.url, {"halved": 150})


def laps_among(values: list[bytes]) -> int:
    """How many messages tell of a lap; frames begin with another field."""
    return sum(
        TelemetryMessage.FromString(value).HasField("lap") for value in values if value[0] & 7 == 2
    )


@pytest.mark.parametrize("wrong", ["password", "authority"])
def test_who_cannot_come_in_is_reported_in_one_line(secured, tmp_path, wrong):
    """Without the password in it; and the sender asks again after ever longer pauses."""
    secret = "not-the-password-" + os.urandom(8).hex()
    if wrong == "password":
        settings, reason = (
            secured.settings("collector", password=SecretStr(secret)),
            "(?i)authentication failed",
        )
    else:
        stranger = str(CertificateAuthority(tmp_path).ca_file)
        settings, reason = (
            secured.settings("collector", ca_file=stranger),
            "certificate verify failed",
        )

    with pytest.raises(BrokerUnavailable, match=reason) as refused:
        describe_topics(settings, timeout_s=3)
    assert "\n" not in str(refused.value)
    assert secret not in str(refused.value)

    with structlog.testing.capture_logs() as said:
        sender = Sender(
            settings, CollectorSettings(_env_file=None, user_id="anna"), Session(id="s")
        )
        until = time.monotonic() + 5
        while time.monotonic() < until:
            sender.poll(0.1)
        sender.close(timeout_s=0)
    assert len(said) == 1
    assert said[0]["log_level"] == "warning"
    assert secret not in str(said)
    assert sender._delivery._uplink._failures >= 1
