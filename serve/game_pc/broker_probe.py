"""Probes the broker of a game PC: its availability, this user's rights on its topics, and its
clock.

Needs only the rights that a collector needs. Rule: no record goes to the topic of the frames. To
read the broker's clock, the probe sends answers without a command to the topic of the status
reports. Every reader of that topic skips them.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from confluent_kafka import (
    TIMESTAMP_LOG_APPEND_TIME,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicCollection,
)
from confluent_kafka.admin import AclOperation, AdminClient  # type: ignore[attr-defined]

from ingest.collectors.delivery.producer import PRODUCER
from ingest.kafka.topics import cluster_of, error_of, open_admin
from ingest.settings import KafkaSettings
from ingest.telemetry_pb2 import CommandMessage, StatusReport

_PROBES = 4


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as this user sees it. No partitions: it does not exist, or is hidden.

    ``may_write`` is None where the broker does not report the right.
    """

    name: str
    partitions: int
    may_write: bool | None


@dataclass(frozen=True, slots=True)
class Offset:
    """The time by which the broker's clock is ahead of ours, give or take ``within_ms``."""

    ahead_ms: float
    within_ms: float


class BrokerProbe:
    """Probes the broker, or cluster, that ``settings`` name. No answer takes longer than
    ``timeout_s``.
    """

    def __init__(self, settings: KafkaSettings, *, timeout_s: float) -> None:
        self._settings, self._timeout_s = settings, timeout_s
        self._admin: AdminClient = open_admin(settings)

    def brokers(self) -> int:
        """Return the number of brokers. Raises BrokerUnavailable."""
        return len(cluster_of(self._admin, self._settings, timeout_s=self._timeout_s).brokers)

    def topic(self, name: str) -> Topic:
        """Return the partitions of a topic and the right to write to it.

        Raises BrokerUnavailable.
        """
        found = cluster_of(self._admin, self._settings, timeout_s=self._timeout_s).topics.get(name)
        if found is None or found.error is not None:
            return Topic(name, 0, None)
        return Topic(name, len(found.partitions), self._may_write(name))

    def clock_offset(self, topic: str) -> Offset | str:
        """Return the offset of the broker's clock, or the reason why it is not available."""
        producer = Producer(self._settings.client(PRODUCER | {"linger.ms": 0}))
        offsets: list[Offset] = []
        for _ in range(_PROBES):
            seen = self._probe(producer, topic)
            if isinstance(seen, str):
                return seen
            offsets.append(seen)
        # The quickest answer is the most precise. The first one also includes the time to connect.
        return min(offsets, key=lambda offset: offset.within_ms)

    def _probe(self, producer: Producer, topic: str) -> Offset | str:
        answers: list[tuple[KafkaError | None, Message]] = []
        value = CommandMessage(status_report=StatusReport(state="doctor")).SerializeToString()
        sent_s = time.time()
        try:
            producer.produce(topic, value, on_delivery=lambda *answer: answers.append(answer))
            producer.flush(self._timeout_s)
        except KafkaException as refused:
            return error_of(refused).str()
        if not answers:
            producer.purge()
            return f"no answer within {self._timeout_s:g} s"
        return _offset(answers, sent_s=sent_s, answered_s=time.time())

    def _may_write(self, name: str) -> bool | None:
        limits = {"include_authorized_operations": True, "request_timeout": self._timeout_s}
        try:
            described = self._admin.describe_topics(TopicCollection([name]), **limits)[name].result(
                self._timeout_s
            )
        except (KafkaException, TimeoutError):
            return None
        return (
            described.authorized_operations
            and AclOperation.WRITE in described.authorized_operations
        )


def _offset(
    answers: Sequence[tuple[KafkaError | None, Message]], *, sent_s: float, answered_s: float
) -> Offset | str:
    ((error, message),) = answers
    if error is not None:
        return error.str()
    kind, broker_ms = message.timestamp()
    if kind != TIMESTAMP_LOG_APPEND_TIME:
        return f"topic {message.topic()} keeps the time of who writes"
    middle_ms = (sent_s + answered_s) * 500
    return Offset(broker_ms - middle_ms, (answered_s - sent_s) * 500 + 1)
