"""Finds where the logs of partitions begin and end."""

import threading
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import Future
from functools import lru_cache
from typing import Any

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from ingest.batching.partition_log import Partition
from ingest.errors import BrokerUnavailable
from ingest.kafka.topics import error_of, open_admin
from ingest.settings import KafkaSettings

_FIRST = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_END = OffsetSpec.latest()  # type: ignore[no-untyped-call]
# What a client with metadata of before gives or gets.
_STALE = {
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._NOENT,  # no leader found, which is so for a partition that was added
}

_Failures = dict[Partition, KafkaError]


class LogOffsets:
    """The offsets of the logs of one Kafka. May be shared between threads.

    They come by an administrator's client. A consumer that reads in one thread takes no call of
    another (confluent_kafka 2.16), and behind its fetch an answer waits for records.

    librdkafka 2.16 uses the leader that it found first, for a quarter of an hour. A broker that was
    restarted since refuses that, and so does a new leader; an added partition has none there. So a
    new client repeats the request.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._admin: AdminClient | None = None

    def of(self, partition: Partition, *, within_s: float) -> tuple[int, int]:
        """Return the earliest offset that is left, and the offset after the last to be read.

        Raises BrokerUnavailable.
        """
        found = []
        for spec in (_FIRST, _END):
            offsets, failures = self._found([partition], spec, within_s)
            if partition not in offsets:
                reason = f"{partition}: {failures[partition].str()}"
                raise BrokerUnavailable(self._settings.brokers, reason)
            found.append(offsets[partition])
        return found[0], found[1]

    def ends(
        self, partitions: Collection[Partition], *, within_s: float
    ) -> tuple[dict[Partition, int], str]:
        """Return the ends of those logs that answer, and a reason if some do not."""
        if not partitions:
            return {}, ""
        ends, failures = self._found(partitions, _END, within_s)
        return ends, next((error.str() for error in failures.values()), "")

    def _found(
        self, partitions: Iterable[Partition], spec: OffsetSpec, within_s: float
    ) -> tuple[dict[Partition, int], _Failures]:
        admin = self._client()
        found, failures = _request(admin, partitions, spec, within_s)
        stale = [place for place, error in failures.items() if error.code() in _STALE]
        if not stale:
            return found, failures
        again, refused = _request(self._client(instead_of=admin), stale, spec, within_s)
        others = {place: error for place, error in failures.items() if place not in stale}
        return found | again, others | refused

    def _client(self, instead_of: AdminClient | None = None) -> AdminClient:
        with self._lock:
            if self._admin is None or self._admin is instead_of:
                self._admin = open_admin(self._settings)
            return self._admin


@lru_cache(maxsize=8)
def log_offsets(settings: KafkaSettings) -> LogOffsets:
    """Return this process's LogOffsets of a Kafka."""
    return LogOffsets(settings)


def _request(
    admin: AdminClient, partitions: Iterable[Partition], spec: OffsetSpec, within_s: float
) -> tuple[dict[Partition, int], _Failures]:
    answers: Mapping[TopicPartition, Future[Any]] = admin.list_offsets(
        {TopicPartition(p.topic, p.index): spec for p in partitions},
        request_timeout=within_s,
        isolation_level=IsolationLevel.READ_COMMITTED,
    )
    found, failures = dict[Partition, int](), _Failures()
    for answered, answer in answers.items():
        place = Partition(answered.topic, answered.partition)
        try:
            found[place] = answer.result().offset
        except KafkaException as failure:
            failures[place] = error_of(failure)
    return found, failures
