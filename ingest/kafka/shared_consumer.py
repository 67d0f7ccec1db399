"""Reads many partitions with one Kafka consumer, in one thread, and delivers to each its records.

A consumer costs four threads and a request ten times a second, whatever comes by it. So the
partitions of an actor share one. A partition whose records are not taken is paused, and the others
go on. The partitions are assigned, never subscribed: a consumer group would move them about.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from itertools import groupby
from typing import Any, Protocol

import structlog
from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicCollection,
    TopicPartition,
)

from ingest.batching.partition_log import Partition
from ingest.errors import BrokerUnavailable, OffsetsLost, TopicReplaced
from ingest.kafka.group_offsets import GroupOffsets
from ingest.kafka.topic_id import admin_of, id_in
from ingest.kafka.topics import QUIET
from ingest.settings import KafkaSettings

log = structlog.get_logger()

_AT_ONCE = 1_000  # messages: few enough that each next lot reuses memory in the processor's cache
_READ_S = 0.05  # how long a read may wait: short, so that a partition begins and ends on time
_LAST_COMMIT_WITHIN_S = 2.0
_LOOK_EVERY_S = 1.0
_LOOK_WITHIN_S = 1.0
_LOOK_AGAIN_AFTER_S = 15.0  # after a timeout: the brokers have other things to do
_BEGIN_AGAIN_S = 1.0

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
    "fetch.message.max.bytes": 1024 * 1024,
    # Kafka is the queue: hold little more than the next batches here. These are for all partitions
    # together, and what is here of a partition is dropped when it is paused.
    "queued.min.messages": 20_000,
    "fetch.queue.backoff.ms": 10,  # by default fetching pauses for a second once so many wait
    "queued.max.messages.kbytes": 16 * 1024,
    "socket.keepalive.enable": True,
    "reconnect.backoff.max.ms": 2_000,
    "topic.metadata.refresh.interval.ms": 10_000,
}


class Receiver(Protocol):
    """Takes the records of one partition. Its methods run in the reader's thread, and do not
    wait.
    """

    partition: Partition
    topic_id: str | None
    known_end: int | None

    @property
    def is_full(self) -> bool:
        """Return whether to pause."""

    @property
    def has_room(self) -> bool:
        """Return whether a pause is over."""

    def begin(self, claim: int) -> None:
        """Take note that the records of this claim come now."""

    def deliver(self, messages: list[Message], *, now: float) -> None:
        """Take the next records."""

    def fail(self, failure: Exception) -> None:
        """Take note that no records will come any more."""


class SharedConsumer:
    """A consumer and its thread. All methods may be called from any thread, and do not wait.

    Only the thread calls the consumer. Its methods exclude each other (confluent_kafka 2.16): while
    one thread reads without a pause, a call by another thread never begins.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self.topic_ids: dict[str, str | None] = {}  # of each topic that it has read
        self.users = 0
        self._settings = settings
        self._lock = threading.Lock()
        self._commands: list[Callable[[], None]] = []
        self._group = GroupOffsets(settings)
        self._receivers: dict[Partition, Receiver] = {}
        self._paused: dict[Partition, Receiver] = {}
        self._topics = _TopicWatch(settings)
        self._warned = ""
        self._stopping = threading.Event()
        self._consumer = self._opened()
        self._thread = threading.Thread(target=self._run, name="kafka reader", daemon=True)
        self._thread.start()

    def _opened(self) -> Consumer:
        group = {"group.id": self._settings.consumer_group}
        return Consumer(self._settings.client(_CONSUMER | group | {"error_cb": self._warn}))

    def read_from(self, receiver: Receiver, offset: int, claim: int) -> None:
        """Deliver the records from ``offset`` on; those of earlier claims come no more."""
        self._command(lambda: self._begin(receiver, offset, claim))

    def leave(self, receiver: Receiver) -> None:
        """Read this partition no longer for ``receiver``."""
        self._command(lambda: self._end(receiver))

    def commit(self, partition: Partition, offset: int) -> None:
        """Commit an offset to the group soon, together with others."""
        self._group.note(partition, offset)

    def close(self) -> None:
        """Stop reading, and commit what waits. Waits for a moment."""
        self._stopping.set()
        self._thread.join()

    def _command(self, command: Callable[[], None]) -> None:
        with self._lock:
            self._commands.append(command)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._turn()
            except Exception as failure:
                log.exception("reading failed, will begin again")
                self._begin_again(failure)
        try:
            self._group.close(_LAST_COMMIT_WITHIN_S)
            self._consumer.close()
        except Exception:
            log.exception("closing a consumer failed")

    def _turn(self) -> None:
        self._run_commands()
        self._resume()
        if messages := self._consumer.consume(_AT_ONCE, _READ_S):
            self._deliver(messages, now=time.monotonic())
        now = time.monotonic()
        for place in self._topics.replaced(self._receivers, self._known_end, now=now):
            self._receivers[place].fail(TopicReplaced(place))
        self._group.commit(now=now)

    def _begin_again(self, failure: Exception) -> None:
        """Drop the consumer, and let everybody claim again."""
        receivers, self._receivers, self._paused = self._receivers, {}, {}
        for receiver in receivers.values():
            receiver.fail(BrokerUnavailable(self._settings.brokers, repr(failure)))
        with suppress(Exception):
            self._consumer.close()
        self._stopping.wait(_BEGIN_AGAIN_S)
        self._consumer = self._opened()

    def _run_commands(self) -> None:
        if self._commands:
            with self._lock:
                commands, self._commands = self._commands, []
            for command in commands:
                command()

    def _begin(self, receiver: Receiver, offset: int, claim: int) -> None:
        place = receiver.partition
        if place in self._receivers:
            self._unassign(place)
        self._receivers[place] = receiver
        receiver.begin(claim)
        try:
            self._consumer.incremental_assign([TopicPartition(place.topic, place.index, offset)])
        except KafkaException as error:
            del self._receivers[place]
            receiver.fail(BrokerUnavailable(self._settings.brokers, error.args[0].str()))

    def _end(self, receiver: Receiver) -> None:
        # Its successor may read the partition already.
        if self._receivers.get(receiver.partition) is receiver:
            del self._receivers[receiver.partition]
            self._unassign(receiver.partition)

    def _unassign(self, place: Partition) -> None:
        if self._paused.pop(place, None):
            self._consumer.resume([TopicPartition(place.topic, place.index)])
        self._consumer.incremental_unassign([TopicPartition(place.topic, place.index)])

    def _resume(self) -> None:
        """Read on where there is room again."""
        for place, receiver in tuple(self._paused.items()):
            if receiver.has_room:
                del self._paused[place]
                self._consumer.resume([TopicPartition(place.topic, place.index)])

    def _deliver(self, messages: list[Message], *, now: float) -> None:
        if any(map(Message.error, messages)):
            messages = self._without_errors(messages)
        for place, of_place in _by_partition(messages):
            receiver = self._receivers.get(place)
            if receiver is None:
                continue
            receiver.deliver(of_place, now=now)
            if receiver.is_full and place not in self._paused:
                self._paused[place] = receiver
                self._consumer.pause([TopicPartition(place.topic, place.index)])

    def _without_errors(self, messages: list[Message]) -> list[Message]:
        for message in messages:
            error = message.error()
            if error and error.code() in (
                KafkaError._AUTO_OFFSET_RESET,
                KafkaError.OFFSET_OUT_OF_RANGE,
            ):
                self._lost(Partition(message.topic() or "", message.partition() or 0))
            elif error and error.code() != KafkaError._PARTITION_EOF:
                self._warn(error)
        return [m for m in messages if not m.error()]

    def _lost(self, place: Partition) -> None:
        if receiver := self._receivers.get(place):
            receiver.fail(OffsetsLost(place))

    def _known_end(self, place: Partition) -> int | None:
        """Return the offset after the last record that the broker has reported."""
        known = self._consumer.get_watermark_offsets(
            TopicPartition(place.topic, place.index), cached=True
        )
        return known[1] if known and known[1] >= 0 else None

    def _warn(self, error: KafkaError) -> None:
        if error.str() != self._warned:
            self._warned = error.str()
            log.warning("kafka trouble", brokers=self._settings.brokers, error=error.str())


class _TopicWatch:
    """Checks once in a while, without waiting, that topics are still those that were identified.

    Nothing else would detect a replaced topic once the new log has grown beyond the offset to read
    next. One query is for all topics: see `ingest.kafka.topic_id` for what one costs while brokers
    are away.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._admin = admin_of(settings)
        self._look_at: dict[str, float] = {}
        self._queries: Mapping[str, Future[Any]] = {}
        self._ends: dict[Partition, int | None] = {}

    def replaced(
        self,
        receivers: Mapping[Partition, Receiver],
        known_end: Callable[[Partition], int | None],
        *,
        now: float,
    ) -> list[Partition]:
        """Return the partitions whose topic has another id; begin the next look if it is due."""
        if self._queries:
            if not all(query.done() for query in self._queries.values()):
                return []
            return self._answered(receivers, now=now)
        topics = {
            place.topic
            for place, receiver in receivers.items()
            if receiver.topic_id is not None and now >= self._look_at.get(place.topic, 0.0)
        }
        if topics:
            self._ends = {place: known_end(place) for place in receivers if place.topic in topics}
            self._queries = self._admin.describe_topics(
                TopicCollection(sorted(topics)), request_timeout=_LOOK_WITHIN_S
            )
        return []

    def _answered(self, receivers: Mapping[Partition, Receiver], *, now: float) -> list[Partition]:
        found = {topic: id_in(query) for topic, query in self._queries.items()}
        self._queries = {}
        # Unreachable, or between two topics: the next answer will show which.
        self._look_at = {
            topic: now + (_LOOK_AGAIN_AFTER_S if isinstance(id, KafkaException) else _LOOK_EVERY_S)
            for topic, id in found.items()
        }
        replaced = []
        for place, end in self._ends.items():
            receiver, id = receivers.get(place), found[place.topic]
            if receiver is None or isinstance(id, KafkaException):
                continue
            if id == receiver.topic_id:
                receiver.known_end = end
            else:
                replaced.append(place)
        return replaced


class SharedConsumers:
    """The consumers of one process: one, and another for each topic that was made anew.

    librdkafka keeps the leader epoch of a topic, and takes the lower one of a new topic with the
    same name for stale. (https://github.com/confluentinc/librdkafka/issues/4898) So a consumer
    reads a topic with one id only.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._consumers: list[SharedConsumer] = []

    def obtain(self, topic: str, topic_id: str | None) -> SharedConsumer:
        """Return the consumer for a topic; give it back by `release`."""
        with self._lock:
            fitting = (c for c in self._consumers if c.topic_ids.get(topic, topic_id) == topic_id)
            consumer = next(fitting, None)
            if consumer is None:
                consumer = SharedConsumer(self._settings)
                self._consumers.append(consumer)
            consumer.topic_ids[topic] = topic_id
            consumer.users += 1
            return consumer

    def release(self, consumer: SharedConsumer) -> None:
        """Give a consumer back. One that nobody uses is closed, but for the newest."""
        with self._lock:
            consumer.users -= 1
            if consumer.users or consumer is self._consumers[-1]:
                return
            self._consumers.remove(consumer)
        threading.Thread(target=consumer.close, name="kafka reader ends", daemon=True).start()

    def close(self) -> None:
        """Close all consumers. Waits for a moment."""
        with self._lock:
            consumers, self._consumers = self._consumers, []
        for consumer in consumers:
            consumer.close()


def _by_partition(messages: list[Message]) -> Iterable[tuple[Partition, list[Message]]]:
    """Group messages by partition, each in order."""
    if not messages:
        return ()
    topics, indices = list(map(Message.topic, messages)), list(map(Message.partition, messages))
    if topics.count(topics[0]) == indices.count(indices[0]) == len(messages):
        return ((Partition(topics[0] or "", indices[0] or 0), messages),)
    found: dict[Any, list[Message]] = {}
    places = zip(topics, indices, strict=True)
    for place, run in groupby(zip(places, messages, strict=True), key=lambda pair: pair[0]):
        found.setdefault(place, []).extend(message for _, message in run)
    return [(Partition(*place), of_place) for place, of_place in found.items()]
