"""Reads one Kafka partition from an offset that the store names.

The partition is assigned, never subscribed. A consumer group would move partitions about, and its
offsets are not trusted here. They are committed all the same, after the rows are, because people
look there for lag.
"""

import threading
import time
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import structlog
from confluent_kafka import (
    TIMESTAMP_LOG_APPEND_TIME,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from ingest.batching.partition_log import Headers, Partition, Records
from ingest.codec.record_format import MAX_KEY_BYTES, has_controls
from ingest.codec.record_headers import HeaderReader, behind_of, read_headers
from ingest.errors import BrokerUnavailable, OffsetsLost, TopicReplaced
from ingest.kafka.topic_id import TopicQuery, identity_of
from ingest.kafka.topics import QUIET, topic_owner
from ingest.settings import KafkaSettings

log = structlog.get_logger()

_REMEMBERED = 20_000  # users of sessions
_AT_ONCE = 1_000  # messages: few enough that each next lot reuses memory in the processor's cache
_LOOK_EVERY_S = 1.0
_LOOK_WITHIN_S = 1.0
_LOOK_AGAIN_AFTER_S = 15.0  # after a timeout: the brokers have other things to do
_ANSWER_WITHIN_S = 5.0

_CONSUMER: dict[str, Any] = {
    **QUIET,
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",  # a lost offset is a gap to record, not a place to guess
    "check.crcs": True,
    "isolation.level": "read_committed",
    # Rows may wait to be fetched together. A fetch for every frame of a live session would keep the
    # broker busy, and viewers waiting.
    "fetch.min.bytes": 64 * 1024,
    "fetch.wait.max.ms": 100,
    "fetch.message.max.bytes": 4 * 1024 * 1024,
    # Kafka is the queue: hold little more than the next batch here.
    "queued.min.messages": 40_000,
    "fetch.queue.backoff.ms": 10,  # by default fetching pauses for a second once so many wait
    "queued.max.messages.kbytes": 16 * 1024,
    "socket.keepalive.enable": True,
    "reconnect.backoff.max.ms": 2_000,
    "topic.metadata.refresh.interval.ms": 10_000,
}


class PartitionConsumer:
    """A consumer of one partition. Not safe to share between threads."""

    def __init__(self, settings: KafkaSettings, partition: Partition) -> None:
        self.partition = partition
        #: The user whose topic this is; see `topic_owner`.
        self.owner = topic_owner(settings, partition.topic)
        self.users: dict[str, str] = {}
        #: The users that headers name on a topic whose owner is known otherwise, by session.
        self.claims: dict[str, str] = {}
        #: How far the clocks of collectors are behind the broker's, by session, where that is a
        #: fault.
        self.behind_ms: dict[str, int] = {}
        self.topic_id: str | None = None
        self.known_end: int | None = None  # end of the log with that id, at the last check
        self._identity = identity_of(settings, partition.topic)
        self._query: TopicQuery | None = None
        self._end_at_query: int | None = None
        self._look_at = 0.0
        self._brokers = settings.brokers
        self._seen: set[bytes] = set()
        self._warned = threading.Event()
        self._header_reader = HeaderReader(settings, partition)
        self._consumer = Consumer(
            settings.client(
                _CONSUMER | {"group.id": settings.consumer_group, "error_cb": self._warn}
            )
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._header_reader.close()
        self._consumer.close()

    def identify(self) -> str | None:
        """Return the id of the topic; None where the brokers have no ids.

        Call this before every other request about the topic. Raises BrokerUnavailable.
        """
        self.topic_id = self._identity.result_of(self._identity.query(_ANSWER_WITHIN_S))
        return self.topic_id

    def look(self, *, now: float) -> None:
        """Check once in a while, without waiting, that the topic is still the one that was
        identified.

        Raises TopicReplaced. Nothing else would detect a replaced topic once the new log has grown
        beyond the offset to read next.
        """
        if self._query is None:
            if self.topic_id is not None and now >= self._look_at:
                self._look_at = now + _LOOK_EVERY_S
                self._end_at_query = self._end()
                self._query = self._identity.query(_LOOK_WITHIN_S)
        elif self._query.done():
            query, self._query = self._query, None
            if not self._check_topic(query):
                self._look_at = now + _LOOK_AGAIN_AFTER_S

    def offsets(self, timeout_s: float = _ANSWER_WITHIN_S) -> tuple[int, int]:
        """Return the earliest offset that is left, and the offset after the last. Raises
        BrokerUnavailable.
        """
        place = TopicPartition(self.partition.topic, self.partition.index)
        try:
            first, end = self._consumer.get_watermark_offsets(place, timeout=timeout_s)
        except KafkaException as error:
            raise BrokerUnavailable(self._brokers, error.args[0].str()) from error
        return first, end

    def read_from(self, offset: int) -> None:
        """Read from ``offset`` on; records that were fetched before are dropped."""
        self._consumer.assign([TopicPartition(self.partition.topic, self.partition.index, offset)])
        self._seen.clear()

    def read(self, max_records: int, timeout_s: float) -> Records:
        """Return up to ``max_records`` records, in order, after ``timeout_s`` at the latest.

        There may be none. Raises OffsetsLost.
        """
        values: list[bytes | None] = []
        keys: list[bytes | None] = []
        offsets: list[int] = []
        stamps: list[tuple[int, int]] = []
        gives_up_at = time.monotonic() + timeout_s
        while (wanted := min(_AT_ONCE, max_records - len(values))) and (
            left_s := gives_up_at - time.monotonic()
        ) > 0:
            messages = self._consumer.consume(wanted, left_s)
            if any(map(Message.error, messages)):
                messages = self._without_errors(messages)
            elif messages:
                self._warned.clear()
            keys_here = list(map(Message.key, messages))
            self._note_users(keys_here, messages)
            keys += keys_here
            values += map(Message.value, messages)
            offsets += map(Message.offset, messages)  # type: ignore[arg-type]  # every record has an offset
            stamps += map(Message.timestamp, messages)
        return Records(values, keys, np.array(offsets, dtype=np.int64), _appended_ms(stamps))

    def headers_at(self, offsets: Sequence[int]) -> dict[int, Headers]:
        """Return the headers of these records, which were just read.

        Omits those that do not arrive within a second.
        """
        return self._header_reader.headers_at(offsets)

    def commit(self, offset: int) -> None:
        """Commit to the group the offset that the store has reached.

        The commit is for people and dashboards; nothing here reads it.
        """
        place = TopicPartition(self.partition.topic, self.partition.index, offset)
        self._consumer.commit(offsets=[place], asynchronous=True)

    def _check_topic(self, query: TopicQuery) -> bool:
        """Return whether an answer arrived. Raises TopicReplaced if it names another topic."""
        try:
            topic_id = self._identity.result_of(query)
        except BrokerUnavailable:
            return False  # unreachable, or between two topics: the next answer will show which
        if topic_id != self.topic_id:
            raise TopicReplaced(self.partition)
        self.known_end = self._end_at_query
        return True

    def _end(self) -> int | None:
        """Return the offset after the last record that the broker has reported."""
        place = TopicPartition(self.partition.topic, self.partition.index)
        known = self._consumer.get_watermark_offsets(place, cached=True)
        return known[1] if known and known[1] >= 0 else None

    def _without_errors(self, messages: list[Message]) -> list[Message]:
        for message in messages:
            error = message.error()
            if error and error.code() in (
                KafkaError._AUTO_OFFSET_RESET,
                KafkaError.OFFSET_OUT_OF_RANGE,
            ):
                raise OffsetsLost(self.partition)
            if error and error.code() != KafkaError._PARTITION_EOF:
                self._warn(error)
        return [m for m in messages if not m.error()]

    def _note_users(self, keys: list[bytes | None], messages: list[Message]) -> None:
        """Remember the user of each new key: without facts only a header has it."""
        for key in set(keys) - self._seen:
            # A longer key names no session, and many keys of a megabyte each are too much to
            # remember.
            if key is None or len(key) > MAX_KEY_BYTES:
                continue
            message = messages[keys.index(key)]
            headers = read_headers(message)
            if headers is None:
                continue  # its next record may have some
            self._seen.add(key)
            user = _text(dict(headers).get("userId") or b"")
            if behind_ms := behind_of(headers, message.timestamp()):
                self.behind_ms[_text(key)] = behind_ms
            self._note_user(_text(key), "" if has_controls(user) else user)  # as in facts
        if len(self._seen) > _REMEMBERED:
            # Sessions end without a notice. One that goes on is noted again; the newest may still
            # wait to be stored.
            self._seen &= set(keys)
            self.users = dict(list(self.users.items())[-_REMEMBERED // 2 :])
            self.claims = dict(list(self.claims.items())[-_REMEMBERED // 2 :])
            self.behind_ms = dict(list(self.behind_ms.items())[-_REMEMBERED // 2 :])

    def _note_user(self, session: str, header: str) -> None:
        if self.owner is None:
            self.users[session] = header
        else:
            self.users[session] = self.owner
            self.claims[session] = header

    def _warn(self, error: KafkaError) -> None:
        if not self._warned.is_set():
            self._warned.set()
            log.warning(
                "kafka trouble",
                partition=str(self.partition),
                brokers=self._brokers,
                error=error.str(),
            )


def _appended_ms(stamps: list[tuple[int, int]]) -> npt.NDArray[np.int64]:
    """Return the broker's time of receipt for each record.

    Returns 0 where the topic keeps the time of the producer's clock, which may be wrong.
    """
    kinds_and_times = np.array(stamps, dtype=np.int64).reshape(-1, 2)
    return np.where(kinds_and_times[:, 0] == TIMESTAMP_LOG_APPEND_TIME, kinds_and_times[:, 1], 0)


def _text(value: bytes | str) -> str:
    text = value.decode(errors="replace") if isinstance(value, bytes) else value
    return text[:256]
