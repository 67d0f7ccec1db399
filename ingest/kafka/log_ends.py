"""Finds where the logs of partitions end."""

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from ingest.batching.partition_log import Partition
from ingest.kafka.topics import error_of, open_admin
from ingest.settings import KafkaSettings

_END = OffsetSpec.latest()  # type: ignore[no-untyped-call]
_STALE = {
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.NOT_LEADER_FOR_PARTITION,
}


class LogEnds:
    """The ends of the logs of one Kafka. Not safe to share between threads.

    librdkafka 2.16 uses the leader that it found first, for a quarter of an hour. A broker that was
    restarted since refuses that, and so does a new leader. So a new client repeats the request.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._admin: AdminClient | None = None

    def of(
        self, partitions: Iterable[Partition], *, within_s: float
    ) -> tuple[dict[Partition, int], str]:
        """Return the ends of those logs that answer, and a reason if some do not."""
        places = [TopicPartition(p.topic, p.index) for p in partitions]
        if not places:
            return {}, ""
        ends, failures = self._request(places, within_s)
        stale = [place for place, error in failures.items() if error.code() in _STALE]
        if stale:
            self._admin = None
            answered, refused = self._request(stale, within_s)
            ends |= answered
            failures = {p: e for p, e in failures.items() if p not in stale} | refused
        return ends, next((error.str() for error in failures.values()), "")

    def _request(
        self, places: Iterable[TopicPartition], within_s: float
    ) -> tuple[dict[Partition, int], dict[TopicPartition, KafkaError]]:
        self._admin = self._admin or open_admin(self._settings)
        answers: Mapping[TopicPartition, Future[Any]] = self._admin.list_offsets(
            dict.fromkeys(places, _END), request_timeout=within_s
        )
        ends, failures = dict[Partition, int](), dict[TopicPartition, KafkaError]()
        for place, answer in answers.items():
            try:
                ends[Partition(place.topic, place.partition)] = answer.result().offset
            except KafkaException as failure:
                failures[place] = error_of(failure)
        return ends, failures
