"""Names, specifies and creates the topics, and compares them with their specification.

Also computes the partition of a key. Creating is safe to repeat and never changes an existing
topic. Differences from the specification are reported as text. Light enough for a game PC: no Ray,
no Arrow.
"""

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import structlog
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # their package does not mark its exports
    AdminClient,
    ClusterMetadata,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    TopicMetadata,
)

from ingest.codec.session_owner import NOBODY
from ingest.errors import BrokerUnavailable, SettingsError
from ingest.kafka.partitioner import partition_of
from ingest.settings import KafkaSettings

__all__ = [
    "Cluster",
    "TopicOutcome",
    "TopicReport",
    "TopicSpec",
    "cluster_of",
    "create_topics",
    "describe_topics",
    "open_admin",
    "partition_of",
    "telemetry_pattern",
    "telemetry_spec",
    "telemetry_topic",
    "topic_owner",
    "topic_specs",
]

log = structlog.get_logger()

HOUR_MS = 3_600_000
LONGEST_TOPIC_NAME = 249
#: librdkafka's own log lines would repeat, several times a second, a failure that is logged once
#: here.
QUIET = {"log_level": 2}


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """The specification of a topic.

    ``config`` has Kafka's names and values as Kafka writes them.
    """

    name: str
    partitions: int
    replication: int
    config: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TopicOutcome:
    """The result of creating a topic: new, existing (perhaps with differences), or failed
    (``problem``).
    """

    name: str
    created: bool
    problem: str = ""
    differences: tuple[str, ...] = ()

    def __str__(self) -> str:
        state = (
            f"failed: {self.problem}" if self.problem else "created" if self.created else "exists"
        )
        return f"{self.name}: {'; '.join([state, *self.differences])}"


@dataclass(frozen=True, slots=True)
class TopicReport:
    """A topic as it is. No partitions: it is missing.

    ``differences`` are sentences, empty where the topic is as specified.
    """

    name: str
    partitions: int
    differences: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}: {'; '.join(self.differences) or 'as specified'}"


def topic_specs(settings: KafkaSettings) -> tuple[TopicSpec, ...]:
    """Return the specifications of the shared topics."""
    return (
        telemetry_spec(settings, settings.topic_telemetry),
        _spec(settings, settings.topic_commands, 3, 24 * HOUR_MS),
        _spec(settings, settings.topic_laps, 10, 24 * HOUR_MS),
        _spec(settings, settings.topic_status_reports, 3, HOUR_MS),
    )


def telemetry_spec(settings: KafkaSettings, name: str) -> TopicSpec:
    """Return the specification of a topic of frames: a user needs one partition, all need ten."""
    partitions = 1 if topic_owner(settings, name) else 10
    return _spec(settings, name, partitions, HOUR_MS, {"compression.type": "lz4"})


def _spec(
    settings: KafkaSettings,
    name: str,
    partitions: int,
    retention_ms: int,
    more: Mapping[str, str] | None = None,
) -> TopicSpec:
    config = {
        # A frame carries its own time, and a game PC's broken clock must not decide which records
        # Kafka deletes.
        "message.timestamp.type": "LogAppendTime",
        "retention.ms": str(retention_ms),
        # Kafka deletes whole segments. Its default, a segment a week, would make an hour's
        # retention a week's.
        "segment.ms": str(retention_ms // 6),
        "min.insync.replicas": "1" if settings.replication == 1 else "2",
    }
    return TopicSpec(name, partitions, settings.replication, config | dict(more or {}))


def telemetry_topic(settings: KafkaSettings, user_id: str) -> str:
    """Return the topic that a user's collectors write to.

    Raises SettingsError where Kafka would refuse its name.
    """
    if not settings.topic_per_user:
        return settings.topic_telemetry
    name = f"{settings.topic_telemetry}-user-{user_id}"
    if len(name) > LONGEST_TOPIC_NAME or not re.fullmatch(r"[A-Za-z0-9._-]+", user_id):
        accepted = (
            f"want letters, digits and ._- that make a topic name of at most {LONGEST_TOPIC_NAME}"
        )
        raise SettingsError("USER_ID", user_id, accepted)
    return name


def topic_owner(settings: KafkaSettings, topic: str) -> str | None:
    """Return the user whose records a topic holds, proved by the topic's access rules.

    Returns `NOBODY` for a shared topic where each user has a topic, and None where headers name
    the user. A topic of one user names it in both cases.
    """
    user = topic.removeprefix(f"{settings.topic_telemetry}-user-")
    if user not in ("", topic):
        return user
    return NOBODY if settings.topic_per_user and topic == settings.topic_telemetry else None


def refuse_unproved_users(settings: KafkaSettings, auth_mode: str) -> None:
    """Refuse an access mode with logins on topics that prove no user. Raises SettingsError."""
    if auth_mode != "none" and not settings.topic_per_user:
        raise SettingsError(
            "KAFKA_TOPIC_PER_USER",
            "false",
            f"want true with AUTH_MODE={auth_mode}: on a shared topic anyone may write as anybody",
        )


def telemetry_pattern(settings: KafkaSettings) -> str:
    """Return the regular expression of all topics of frames, for Python's re and a Kafka
    subscription.
    """
    return f"^{settings.topic_telemetry.replace('.', '[.]')}(-user-.+)?$"


def create_topics(settings: KafkaSettings, *, timeout_s: float = 10.0) -> list[TopicOutcome]:
    """Create the missing topics of `topic_specs`; one outcome each. Raises BrokerUnavailable."""
    cluster = Cluster(settings, timeout_s=timeout_s)
    return [cluster.create(spec) for spec in topic_specs(settings)]


def describe_topics(settings: KafkaSettings, *, timeout_s: float = 10.0) -> list[TopicReport]:
    """Return how the topics differ from their specifications, users' topics included.

    Raises BrokerUnavailable.
    """
    cluster = Cluster(settings, timeout_s=timeout_s)
    of_users = re.compile(telemetry_pattern(settings))
    more = sorted(
        name
        for name in cluster.topics()
        if of_users.match(name) and name != settings.topic_telemetry
    )
    specs = [*topic_specs(settings), *(telemetry_spec(settings, name) for name in more)]
    return [cluster.compare(spec) for spec in specs]


class Cluster:
    """A client of the brokers that creates and describes topics.

    No answer takes longer than ``timeout_s``.
    """

    def __init__(self, settings: KafkaSettings, *, timeout_s: float) -> None:
        self._settings, self._timeout_s = settings, timeout_s
        self._admin = open_admin(settings)

    def topics(self) -> Mapping[str, TopicMetadata]:
        """Return all topics by name: a request for one by name would create it. Raises
        BrokerUnavailable.
        """
        found: Mapping[str, TopicMetadata] = cluster_of(
            self._admin, self._settings, timeout_s=self._timeout_s
        ).topics
        return found

    def create(self, spec: TopicSpec, *, compare: bool = True) -> TopicOutcome:
        """Create a topic and wait until the brokers know it.

        With ``compare``, the outcome states how an existing topic differs. Raises
        BrokerUnavailable.
        """
        created = False
        if spec.name not in self.topics():
            refusal = self._refusal(
                NewTopic(spec.name, spec.partitions, spec.replication, config=dict(spec.config))
            )
            # "Exists" means that another process was quicker: as good as creating it here.
            if refusal is not None and refusal.code() != KafkaError.TOPIC_ALREADY_EXISTS:
                return TopicOutcome(spec.name, False, problem=refusal.str())
            created = refusal is None
            # A controller answers before its brokers know the topic: the next request to them would
            # report it missing.
            self.await_partitions(spec.name)
        if created:
            log.info(
                "topic created",
                topic=spec.name,
                partitions=spec.partitions,
                replication=spec.replication,
            )
        return TopicOutcome(
            spec.name, created, differences=self.compare(spec).differences if compare else ()
        )

    def compare(self, spec: TopicSpec) -> TopicReport:
        """Return how a topic differs from ``spec``, as text. Raises BrokerUnavailable."""
        topic = self.topics().get(spec.name)
        if topic is None:
            return TopicReport(spec.name, 0, ("missing",))
        differences = (
            *shape_differences(spec, topic),
            *config_differences(spec, self._config(spec.name)),
        )
        return TopicReport(spec.name, len(topic.partitions), differences)

    def await_partitions(self, name: str) -> int:
        """Return how many partitions a topic has, once the brokers know; 0 on timeout.

        Raises BrokerUnavailable.
        """
        deadline = time.monotonic() + self._timeout_s
        while time.monotonic() < deadline:
            topic = self.topics().get(name)
            if topic is not None and topic.error is None and topic.partitions:
                return len(topic.partitions)
            time.sleep(0.05)
        return 0

    def _refusal(self, topic: NewTopic) -> KafkaError | None:
        limits = {"operation_timeout": self._timeout_s, "request_timeout": self._timeout_s}
        try:
            self._admin.create_topics([topic], **limits)[topic.topic].result()
        except KafkaException as refused:
            return error_of(refused)
        return None

    def _config(self, name: str) -> Mapping[str, str] | str:
        """Return the topic's configuration, or the reason why it is not available.

        Small brokers do not answer, and strict ones refuse.
        """
        resource = ConfigResource(ConfigResource.Type.TOPIC, name)
        try:
            answers = self._admin.describe_configs([resource], request_timeout=self._timeout_s)
            entries: Iterable[ConfigEntry] = answers[resource].result().values()
        except KafkaException as refused:
            return error_of(refused).str()
        return {entry.name: entry.value for entry in entries if entry.value is not None}


class _Admin(AdminClient):
    """An AdminClient that remembers why the brokers are silent; its own error shows only that they
    are.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self.reason = ""
        super().__init__(settings.client(QUIET | {"error_cb": self._on_error}))

    def _on_error(self, error: KafkaError) -> None:
        # "All brokers are down" comes last and explains least.
        if not self.reason or error.code() != KafkaError._ALL_BROKERS_DOWN:
            self.reason = error.str()


def open_admin(settings: KafkaSettings) -> AdminClient:
    """Return a client for creating and describing topics; it connects when it is used.

    Raises BrokerUnavailable where no client can be made: a certificate cannot be read.
    """
    try:
        return _Admin(settings)
    except KafkaException as refused:
        raise BrokerUnavailable(settings.brokers, error_of(refused).str()) from None


def cluster_of(admin: AdminClient, settings: KafkaSettings, *, timeout_s: float) -> ClusterMetadata:
    """Return brokers and topics. Raises BrokerUnavailable when no broker answers within
    ``timeout_s``.
    """
    try:
        return admin.list_topics(timeout=timeout_s)
    except KafkaException as silent:
        admin.poll(0)  # delivers the reason: a refused connection, a wrong password
        reason = admin.reason if isinstance(admin, _Admin) else ""
        raise BrokerUnavailable(settings.brokers, reason or error_of(silent).str()) from None


def shape_differences(spec: TopicSpec, topic: TopicMetadata) -> Iterable[str]:
    """Yield the differences in the number of partitions and of their copies, as text."""
    if len(topic.partitions) != spec.partitions:
        yield f"{len(topic.partitions)} partitions, want {spec.partitions}"
    copies = min((len(p.replicas) for p in topic.partitions.values()), default=spec.replication)
    if copies != spec.replication:
        yield f"replication {copies}, want {spec.replication}"


def config_differences(spec: TopicSpec, config: Mapping[str, str] | str) -> Iterable[str]:
    """Yield the differences in the configuration, as text; a ``str`` gives the reason why it is
    unknown.
    """
    if isinstance(config, str):
        yield f"config unknown: {config}"
        return
    for name, want in spec.config.items():
        if name not in config:
            yield f"{name} unknown, want {want}"
        elif config[name].lower() != want.lower():
            yield f"{name} is {config[name]}, want {want}"


def error_of(exception: KafkaException) -> KafkaError:
    """Return the librdkafka error inside its exception."""
    error: KafkaError = exception.args[0]
    return error
