"""Consumes the topic `commands`, on which ingest and people send commands to collectors.

`parse_command` is pure: it separates orders to this user from others and from invalid ones.
The rule to remember: no record on the topic stops a collector. It counts invalid commands, and logs
each kind once.
"""

import random
import time
from collections.abc import Callable, Iterable
from math import isfinite

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, TopicPartition
from google.protobuf.message import DecodeError

from ingest.backoff import Backoff
from ingest.errors import BrokerUnavailable
from ingest.kafka.topics import QUIET, error_of, partition_of
from ingest.settings import KafkaSettings
from ingest.telemetry_pb2 import Command, CommandMessage, SequenceRange

log = structlog.get_logger()

LARGEST_COMMAND_BYTES = 64 * 1024
MOST_RANGES = 1_000
HIGHEST_RATE_HZ = 500.0
_SEQUENCES_END = 2**53

_LOOK_EVERY_S = 300.0  # interval of the check whether the topic has grown
_RETRY = Backoff(first_s=0.5, longest_s=30.0)
_LOOK_WITHIN_S = 1.0  # the client goes on connecting after this timeout
_CONSUMER = QUIET | {
    "enable.auto.commit": False,
    # Our offset is gone where the topic was made again, or where this PC slept for longer than a
    # day. After such a sleep the commands of the last day leave things as they were meant to be.
    "auto.offset.reset": "earliest",
    # The broker answers a fetch when a command comes, or after this time: waiting costs the game PC
    # nothing.
    "fetch.wait.max.ms": 10_000,
    "queued.max.messages.kbytes": 1024,
    # With the default backoff it tries so often that an unreachable broker costs ten times as much
    # as a reachable one.
    "reconnect.backoff.ms": 2_000,
    "reconnect.backoff.max.ms": 10_000,
    "socket.keepalive.enable": True,
}


class InvalidCommand(ValueError):
    """A command that no collector can obey; its text is the kind of mistake, without the command's
    content.
    """


def parse_command(value: bytes | None, user_id: str) -> Command | None:
    """Return the command in a record; None where it is for another user. Raises InvalidCommand."""
    if not value or len(value) > LARGEST_COMMAND_BYTES:
        raise InvalidCommand("empty" if not value else "too large")
    try:
        message = CommandMessage.FromString(value)
    except DecodeError:
        raise InvalidCommand("no command") from None
    if not message.HasField("command"):
        raise InvalidCommand("no command")
    command = message.command
    order = command.WhichOneof("order")
    if command.user_id not in ("", user_id):
        return None
    if order is None:
        raise InvalidCommand("an order that is not known")
    if not command.user_id and order != "report_sessions":
        # A mistake, or malice: it would pause all collectors.
        raise InvalidCommand("an order to everybody")
    _check(command, order)
    return command


def _check(command: Command, order: str) -> None:
    if order == "resend":
        if not command.session_id:
            raise InvalidCommand("resend without a session")
        _check_ranges(command.resend.ranges)
    elif order == "sample_rate":
        rate_hz = command.sample_rate.rate
        if not (isfinite(rate_hz) and 0 <= rate_hz <= HIGHEST_RATE_HZ):
            raise InvalidCommand("a sample rate that no game has")


def _check_ranges(ranges: Iterable[SequenceRange]) -> None:
    given = list(ranges)
    if not given or len(given) > MOST_RANGES:
        raise InvalidCommand("resend of too many ranges" if given else "resend of nothing")
    if not all(0 < r.from_sequence <= r.to_sequence < _SEQUENCES_END for r in given):
        raise InvalidCommand("resend of a range that is none")


class CommandConsumer:
    """Reads the commands for ``user_id`` from the user's partition, starting at its live end.

    One thread uses it; ``clock`` is monotonic. Raises BrokerUnavailable where no client can be
    made, for example where a certificate cannot be read.
    """

    def __init__(
        self, settings: KafkaSettings, user_id: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.ignored: dict[str, int] = {}
        self._topic, self._user_id, self._clock = settings.topic_commands, user_id, clock
        more = {"group.id": f"{settings.client_id}-commands", "error_cb": lambda _: None}
        try:
            self._consumer = Consumer(settings.client(_CONSUMER | more))
        except KafkaException as refused:
            raise BrokerUnavailable(settings.brokers, error_of(refused).str()) from None
        self._place: TopicPartition | None = None
        self._partitions: int | None = None  # None: not known yet
        self._look_at = 0.0
        self._failures = 0

    @property
    def listening(self) -> bool:
        """Return whether it receives commands from now on; brokers may be away for a while."""
        return self._place is not None

    @property
    def reached(self) -> bool:
        """Return whether a broker has answered, with or without commands on it."""
        return self._partitions is not None

    def poll(self, timeout_s: float) -> Command | None:
        """Return the next command; wait at most ``timeout_s``, or a little longer while no broker
        answers.
        """
        if self._clock() >= self._look_at:
            self._look()
        if self._place is None:
            time.sleep(timeout_s)
            return None
        message = self._consumer.poll(timeout_s)
        return None if message is None or message.error() else self._has_answered(message)

    def close(self) -> None:
        """Close the consumer."""
        self._consumer.close()

    def _has_answered(self, message: Message) -> Command | None:
        try:
            return parse_command(message.value(), self._user_id)
        except InvalidCommand as mistake:
            kind = str(mistake)
            if kind not in self.ignored:
                partition, offset = message.partition(), message.offset()
                log.warning("command ignored", kind=kind, partition=partition, offset=offset)
            self.ignored[kind] = self.ignored.get(kind, 0) + 1
            return None

    def _find_partition(self) -> int:
        """Listen on the partition of the user, and return the number of partitions; 0 without a
        topic.
        """
        topic = self._consumer.list_topics(timeout=_LOOK_WITHIN_S).topics.get(self._topic)
        partitions = len(topic.partitions) if topic is not None else 0
        if partitions:
            place = partition_of(self._user_id.encode(), partitions)
            self._listen_on(place, new_from=self._partitions)
        return partitions

    def _look(self) -> None:
        """Find the partition with the user's commands, by key, and find it again when the topic has
        grown.
        """
        try:
            partitions = self._find_partition()
        except KafkaException:
            self._look_at = self._clock() + _RETRY.pause_s(self._failures, jitter=random.random())
            self._failures += 1
            return
        if not partitions and self._partitions is None:
            log.info("there are no commands yet", topic=self._topic)
        self._partitions = partitions
        self._failures = 0
        self._look_at = self._clock() + (_LOOK_EVERY_S if partitions else _LOOK_EVERY_S / 10)

    def _listen_on(self, partition: int, *, new_from: int | None) -> None:
        if self._place is not None and self._place.partition == partition:
            return
        place = TopicPartition(self._topic, partition, OFFSET_BEGINNING)
        # A partition that was missing at the check before has no commands older than that check.
        if new_from is None or partition < new_from:
            # The end offset is queried now: left to the client, it would be the end of some time
            # later.
            _, place.offset = self._consumer.get_watermark_offsets(place, timeout=_LOOK_WITHIN_S)
        self._consumer.assign([place])
        self._place = place
