"""Commits the offsets of partitions to the consumer group, for people and dashboards."""

import threading
import time
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from ingest.batching.partition_log import Partition
from ingest.kafka.topics import QUIET
from ingest.settings import KafkaSettings

_EVERY_S = 0.25
_AGAIN_AFTER_S = 2.0
_POLL_S = 0.05


class GroupOffsets:
    """The offsets that were not committed yet: all of them go in one request, one at a time.

    A consumer that reads nothing commits. One that reads would begin no further partition while it
    waits for the answer (librdkafka 2.16), and the group's broker may be away for long. In an
    administrator's client the same request may abort the whole process:
    https://github.com/confluentinc/librdkafka/issues/4605
    """

    def __init__(self, settings: KafkaSettings) -> None:
        own: dict[str, Any] = {"group.id": settings.consumer_group, "enable.auto.commit": False}
        own["on_commit"] = self._answered
        self._consumer = Consumer(settings.client(QUIET | own))
        self._lock = threading.Lock()
        self._offsets: dict[Partition, int] = {}
        self._sent: dict[Partition, int] = {}
        self._failed = False
        self._at = 0.0

    def note(self, partition: Partition, offset: int) -> None:
        """Have this offset committed soon."""
        with self._lock:
            self._offsets[partition] = offset

    def commit(self, *, now: float) -> None:
        """Commit what is due, without waiting. What could not be committed is due again."""
        self._take_answer(now, within_s=0.0)
        if self._offsets and not self._sent and now >= self._at:
            self._at = now + _EVERY_S
            self._send()

    def close(self, within_s: float) -> None:
        """Commit what is left, and wait for the answers so long."""
        gives_up_at = time.monotonic() + within_s
        while (self._offsets or self._sent) and (now := time.monotonic()) < gives_up_at:
            self.commit(now=now)
            self._take_answer(now, within_s=_POLL_S)
        self._consumer.close()

    def _send(self) -> None:
        with self._lock:
            self._sent, self._offsets = self._offsets, {}
        places = [TopicPartition(p.topic, p.index, offset) for p, offset in self._sent.items()]
        try:
            self._consumer.commit(offsets=places, asynchronous=True)
        except KafkaException as refused:
            self._answered(refused.args[0], places)

    def _take_answer(self, now: float, *, within_s: float) -> None:
        if self._sent:
            self._consumer.poll(within_s)  # calls `_answered`
        if self._failed:
            self._failed = False
            self._at = now + _AGAIN_AFTER_S

    def _answered(self, error: KafkaError | None, _: list[TopicPartition]) -> None:
        with self._lock:
            # A topic that was deleted has no offset to commit.
            if error and error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                self._offsets = self._sent | self._offsets
                self._failed = True
            self._sent = {}
