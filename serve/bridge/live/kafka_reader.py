"""Reads Kafka's live end, and passes its records to an asyncio loop.

It has two threads. One reads records and passes them on as they come. The other looks for topics
and partitions, so that a slow metadata answer delays no frame. It reads by `assign`, without a
consumer group: every bridge sees every record. The rule: a partition that exists at the start is
read from its end, a later one from its beginning.
"""

import asyncio
import re
import threading
import time
from collections.abc import Callable

import structlog
from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    TIMESTAMP_LOG_APPEND_TIME,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from ingest.codec.record_format import InvalidRecord, session_of
from ingest.codec.record_headers import behind_of, read_headers
from ingest.codec.session_owner import owner_fault
from ingest.collectors.delivery.records import RESENT
from ingest.kafka.topics import topic_owner
from ingest.settings import KafkaSettings
from serve.bridge.live.hub import LiveRecord

log = structlog.get_logger()

Place = tuple[str, int]  # topic and partition
Deliver = Callable[[list[LiveRecord]], None]

_LOOK_EVERY_S = 3.0
_MOST_AT_ONCE = 500
# The most bytes that may wait for the loop. Above it the reader waits (backpressure), and records
# stay in librdkafka's bounded queue. The limit is in bytes, because a record may have a megabyte.
_MOST_AHEAD_BYTES = 4 * 2**20
_OBJECTS_BYTES = 500  # the memory of a record beside its value


def record_of(message: Message, owner: str | None = None) -> LiveRecord | None:
    """Return a record with the names that its key and headers carry, and the time of its append.

    ``owner`` is the user of its topic, as `topic_owner` returns it. An invalid name is empty.
    Return None for a resend that ingest requested. It is old, and a session that ended must not
    become live again because of it.
    """
    headers = read_headers(message) or []
    if RESENT in headers:
        return None
    kind, time_ms = message.timestamp()
    # A topic that keeps its producers' times has no time of the broker.
    appended_ms = time_ms if kind == TIMESTAMP_LOG_APPEND_TIME else time.time_ns() // 1_000_000
    session, user = _name(message.key()), _name(dict(headers).get("userId"))
    behind_ms = behind_of(headers, (kind, time_ms))
    value = message.value() or b""
    if owner is None:
        return LiveRecord(session, user, value, appended_ms, behind_ms)
    fault = owner_fault(owner, session, header=user)
    return LiveRecord(session, owner, value, appended_ms, behind_ms, proved=True, fault=fault)


def _name(value: str | bytes | None) -> str:
    try:
        return session_of(value.encode() if isinstance(value, str) else value)
    except InvalidRecord:
        return ""


class LiveReader:
    """Reads telemetry and laps from the live end until `stop`."""

    def __init__(
        self, settings: KafkaSettings, loop: asyncio.AbstractEventLoop, deliver: Deliver
    ) -> None:
        self._settings = settings
        self._loop = loop
        self._deliver = deliver
        self._wanted = re.compile(
            f"({re.escape(settings.topic_telemetry)}(-user-.+)?|{re.escape(settings.topic_laps)})"
        )
        self._owners: dict[str, str | None] = {}  # of topics
        self._stopping = threading.Event()
        self._look_now = threading.Event()
        self._ahead_bytes = 0
        self._room = threading.Condition()
        self._found: frozenset[Place] | None = None
        self._assigned: frozenset[Place] = frozenset()
        self._threads = [
            threading.Thread(target=self._read, name="live-reader", daemon=True),
            threading.Thread(target=self._look, name="live-topics", daemon=True),
        ]
        self.reachable = False

    def start(self) -> None:
        """Start to read. Records arrive in calls of ``deliver`` on the loop."""
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Stop reading and wait for both threads."""
        self._stopping.set()
        self._look_now.set()
        for thread in self._threads:
            thread.join(timeout_s)

    @property
    def partitions(self) -> int:
        """Return the number of partitions that are being read."""
        return len(self._assigned)

    def _look(self) -> None:
        """Keep ``_found`` up to date, in the topics thread."""
        admin = AdminClient(self._settings.client({"error_cb": _ignore, "log_level": 0}))
        while not self._stopping.is_set():
            self._found = self._places(admin) or self._found
            # Until the broker has answered once, query often: a viewer may wait for a broker that
            # is just starting.
            self._look_now.wait(_LOOK_EVERY_S if self.reachable else 0.5)
            self._look_now.clear()

    def _places(self, admin: AdminClient) -> frozenset[Place] | None:
        try:
            topics = admin.list_topics(timeout=_LOOK_EVERY_S).topics
        except KafkaException as failure:
            self._note_reachable(False, str(failure.args[0]))
            return None
        self._note_reachable(True)
        return frozenset(
            (name, index)
            for name, topic in topics.items()
            if self._wanted.fullmatch(name)
            for index in topic.partitions
        )

    def _note_error(self, error: KafkaError) -> None:
        """Note at once that the last connection to a broker is gone, in the reader thread.

        A broker that restarts within `_LOOK_EVERY_S` is otherwise never seen as away.
        """
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._note_reachable(False, error.str())
            self._look_now.set()

    def _note_reachable(self, reachable: bool, reason: str = "") -> None:
        if not reachable and (self.reachable or self._found is None):
            self._found = self._found or frozenset()
            log.warning("broker_away", brokers=self._settings.brokers, reason=reason)
        if reachable and not self.reachable:
            log.info("broker_reached", brokers=self._settings.brokers)
        self.reachable = reachable

    def _read(self) -> None:
        """Read records and pass them on, in the reader thread."""
        own = {"group.id": f"{self._settings.client_id}-bridge", "error_cb": self._note_error}
        consumer = Consumer(self._settings.client(_CONSUMER | own))
        try:
            while not self._stopping.is_set():
                self._follow(consumer)
                first = consumer.poll(0.1)
                if first is not None:
                    self._hand_over([first, *consumer.consume(_MOST_AT_ONCE, 0)])
        finally:
            consumer.close()

    def _follow(self, consumer: Consumer) -> None:
        """Assign the partitions that were found, and only those."""
        found = self._found
        if found is None or found == self._assigned:
            return
        start = OFFSET_BEGINNING if self._assigned else OFFSET_END
        new, gone = found - self._assigned, self._assigned - found
        if new:
            consumer.incremental_assign([TopicPartition(*place, start) for place in sorted(new)])
        if gone:
            consumer.incremental_unassign([TopicPartition(*place) for place in sorted(gone)])
        self._assigned = found
        log.info("partitions_followed", new=len(new), gone=len(gone), all=len(found))

    def _hand_over(self, messages: list[Message]) -> None:
        records = [r for m in messages if m.error() is None and (r := self._record(m)) is not None]
        if not records:
            return
        size_bytes = sum(len(record.value) + _OBJECTS_BYTES for record in records)
        with self._room:
            # A batch that is larger than the limit is passed when nothing else waits.
            while self._ahead_bytes and self._ahead_bytes + size_bytes > _MOST_AHEAD_BYTES:
                self._room.wait(0.5)
                if self._stopping.is_set():
                    return
            self._ahead_bytes += size_bytes
        try:
            self._loop.call_soon_threadsafe(self._arrive, records, size_bytes)
        except RuntimeError:  # the loop is closed: nothing is left to deliver to
            self._stopping.set()

    def _record(self, message: Message) -> LiveRecord | None:
        topic = message.topic() or ""
        if topic not in self._owners:
            self._owners[topic] = topic_owner(self._settings, topic)
        return record_of(message, self._owners[topic])

    def _arrive(self, records: list[LiveRecord], size_bytes: int) -> None:
        try:
            self._deliver(records)
        finally:
            with self._room:
                self._ahead_bytes -= size_bytes
                self._room.notify()


def _ignore(_: KafkaError) -> None:
    """Ignore a client's error. The topics thread logs an unreachable broker once; every client
    would log it again.
    """


_CONSUMER = {
    "enable.auto.commit": False,
    "auto.offset.reset": "latest",
    # With a minimum of one byte the broker answers a fetch when a record is there. The wait is only
    # the poll's length.
    "fetch.min.bytes": 1,
    "fetch.wait.max.ms": 100,
    "fetch.error.backoff.ms": 50,
    "socket.nagle.disable": True,
    "queued.min.messages": 1000,
    "fetch.queue.backoff.ms": 20,
    "queued.max.messages.kbytes": 8 * 1024,
    "reconnect.backoff.ms": 50,
    "reconnect.backoff.max.ms": 1000,
    "log_level": 0,
}
