"""Sends a person's commands to collectors on the topic `commands`, and receives their answers.

Answers come on a topic of their own, so that no collector needs the right to command others.
`ingest.control.gap_recovery` does the same for ingest, which requests frames. Rule: a command goes
to all collectors of one user; a collector that is not connected does not receive it.
"""

import time
import uuid
from functools import partial

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from ingest.errors import BrokerUnavailable, TopicUnavailable
from ingest.kafka.topics import QUIET, Cluster, error_of, partition_of
from ingest.settings import KafkaSettings
from ingest.telemetry_pb2 import Command, CommandMessage, GetStatus, StatusReport

_CONSUMER = QUIET | {
    "enable.auto.commit": False,
    "auto.offset.reset": "latest",
    "group.id": "telling",
}


class CollectorClient:
    """A client of the collectors of ``user_id``.

    Raises BrokerUnavailable and TopicUnavailable. No step takes longer than ``timeout_s``.
    """

    def __init__(self, settings: KafkaSettings, user_id: str, *, timeout_s: float = 10.0) -> None:
        self._settings, self._user_id, self._timeout_s = settings, user_id, timeout_s
        self._place = self._partition(settings.topic_commands)

    def send(self, command: Command) -> None:
        """Put the command on the topic; its id and user are filled in."""
        command.id, command.user_id = command.id or uuid.uuid4().hex[:16], self._user_id
        value, key = CommandMessage(command=command).SerializeToString(), self._user_id.encode()
        place, producer = self._place, self._producer()
        refused: list[str] = []
        note_refusal = partial(_note_refusal, refused)
        producer.produce(place.topic, value, key, place.partition, on_delivery=note_refusal)
        if producer.flush(self._timeout_s + 1) or refused:
            reason = ", ".join(refused) or "no acknowledgement"
            raise BrokerUnavailable(self._settings.brokers, reason)

    def _producer(self) -> Producer:
        within_ms = int(self._timeout_s * 1000)
        return Producer(
            self._settings.client(QUIET | {"acks": "all", "message.timeout.ms": within_ms})
        )

    def get_status(self, *, within_s: float) -> list[StatusReport]:
        """Return the collectors' answers that arrive within that time, in order of arrival; perhaps
        none.
        """
        place = self._partition(self._settings.topic_status_reports)
        consumer = Consumer(self._settings.client(_CONSUMER))
        try:
            _, place.offset = consumer.get_watermark_offsets(place, timeout=self._timeout_s)
            consumer.assign([place])
            command = Command(id=uuid.uuid4().hex[:16], get_status=GetStatus())
            self.send(command)
            return _answers(consumer, command, until=time.monotonic() + within_s)
        except KafkaException as failure:
            raise BrokerUnavailable(self._settings.brokers, error_of(failure).str()) from failure
        finally:
            consumer.close()

    def _partition(self, topic: str) -> TopicPartition:
        """Return the partition with the user's records. Raises TopicUnavailable."""
        partitions = Cluster(self._settings, timeout_s=self._timeout_s).await_partitions(topic)
        if not partitions:
            raise TopicUnavailable(topic, "it is not there: purple-sector topics create")
        return TopicPartition(topic, partition_of(self._user_id.encode(), partitions))


def _answers(consumer: Consumer, command: Command, *, until: float) -> list[StatusReport]:
    answers = []
    while (left_s := until - time.monotonic()) > 0:
        message = consumer.poll(left_s)
        answer = _answer(message) if message is not None and message.error() is None else None
        # Other users' collectors read the command too: they must not answer in this user's name.
        if answer is not None and (answer.command_id, answer.user_id) == (
            command.id,
            command.user_id,
        ):
            answers.append(answer)
    return answers


def _answer(message: Message) -> StatusReport | None:
    """Return the answer in a record; None where it is something else, or unreadable."""
    try:
        parsed = CommandMessage.FromString(message.value() or b"")
    except ValueError:  # DecodeError is one
        return None
    return parsed.status_report if parsed.HasField("status_report") else None


def _note_refusal(refused: list[str], error: KafkaError | None, _: Message) -> None:
    if error:
        refused.append(error.str())
