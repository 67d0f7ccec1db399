"""Identifies the topic behind a name by its id.

A topic that was deleted and made again is another log, though its name and offsets look the same.
Kafka gives every topic an id that never recurs. Where brokers report no ids, the name identifies
the topic.
"""

import threading
from concurrent.futures import Future
from functools import lru_cache

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    TopicDescription,
)

from ingest.errors import BrokerUnavailable
from ingest.kafka.topics import error_of, open_admin
from ingest.settings import KafkaSettings

TopicQuery = Future[TopicDescription]

_NO_IDS = (KafkaError._UNSUPPORTED_FEATURE, KafkaError.UNSUPPORTED_VERSION)
_NO_ID = "A" * 22  # sixteen zero bytes: the broker is older than ids


class TopicId:
    """The id that the brokers have for the topic of this name.

    The query needs the right to describe the topic, as reading does. May be shared between threads.

    One query is under way at a time. While brokers are away, each query costs librdkafka a whole
    CPU until it times out. It looks for the controller without a pause. Brokers that come back need
    that CPU.
    """

    def __init__(self, settings: KafkaSettings, topic: str) -> None:
        self._brokers, self._topic = settings.brokers, topic
        self._admin = admin_of(settings)
        self._lock = threading.Lock()
        self._query: TopicQuery | None = None

    def query(self, timeout_s: float) -> TopicQuery:
        """Return the query that is under way, or a new one.

        The next method waits for its answer.
        """
        with self._lock:
            if self._query is None or self._query.done():
                futures = self._admin.describe_topics(
                    TopicCollection([self._topic]), request_timeout=timeout_s
                )
                self._query = futures[self._topic]
            return self._query

    def result_of(self, query: TopicQuery) -> str | None:
        """Wait for the answer and return the id; None where the brokers have no ids.

        Raises BrokerUnavailable where no answer arrives.
        """
        id = id_in(query)
        if isinstance(id, KafkaException):
            reason = f"topic {self._topic}: {error_of(id).str()}"
            raise BrokerUnavailable(self._brokers, reason) from id
        return id


def id_in(query: TopicQuery) -> str | KafkaException | None:
    """Wait for the answer and return the id: None where brokers have no ids, or the failure."""
    try:
        id = str(query.result().topic_id)
    except KafkaException as failure:
        return None if error_of(failure).code() in _NO_IDS else failure
    return None if id == _NO_ID else id


@lru_cache(maxsize=8)
def admin_of(settings: KafkaSettings) -> AdminClient:
    """Return this process's client: one for each of many topics would be threads for each."""
    return open_admin(settings)


@lru_cache(maxsize=256)
def identity_of(settings: KafkaSettings, topic: str) -> TopicId:
    """Return this process's TopicId for a topic: all partitions of the topic share it."""
    return TopicId(settings, topic)
