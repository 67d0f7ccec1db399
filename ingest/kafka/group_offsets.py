"""Commits the offsets of partitions to the consumer group, for people and dashboards."""

import threading
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition

from ingest.batching.partition_log import Partition
from ingest.kafka.topic_id import admin_of
from ingest.settings import KafkaSettings

_EVERY_S = 0.25
_AGAIN_AFTER_S = 2.0
_WITHIN_S = 10.0


class GroupOffsets:
    """The offsets that were not committed yet: all of them go in one request, one at a time.

    An administrator's client commits. While a consumer waits for the answer to its commit, it
    begins to read no further partition (librdkafka 2.16), and the group's broker may be away for
    long.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._admin, self._group = admin_of(settings), settings.consumer_group
        self._lock = threading.Lock()
        self._offsets: dict[Partition, int] = {}
        self._sent: dict[Partition, int] = {}
        self._answer: Future[Any] | None = None
        self._at = 0.0

    def note(self, partition: Partition, offset: int) -> None:
        """Have this offset committed soon."""
        with self._lock:
            self._offsets[partition] = offset

    def commit(self, *, now: float) -> None:
        """Commit what is due, without waiting. What could not be committed is due again."""
        if self._answer is not None:
            if not self._answer.done():
                return
            self._take_answer(now)
        if self._offsets and now >= self._at:
            self._at = now + _EVERY_S
            self._send()

    def close(self, within_s: float) -> None:
        """Commit what is left, and wait for the answers so long."""
        for _ in range(2):  # what is under way, and what came since
            self.commit(now=float("inf"))
            if self._answer is not None:
                with suppress(TimeoutError, KafkaException):
                    self._answer.result(within_s)

    def _send(self) -> None:
        with self._lock:
            self._sent, self._offsets = self._offsets, {}
        places = [TopicPartition(p.topic, p.index, offset) for p, offset in self._sent.items()]
        self._answer = self._admin.alter_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(self._group, places)], request_timeout=_WITHIN_S
        )[self._group]

    def _take_answer(self, now: float) -> None:
        answer, self._answer = self._answer, None
        assert answer is not None
        if answer.exception() is not None:
            self._at = now + _AGAIN_AFTER_S
            with self._lock:
                self._offsets = self._sent | self._offsets
