"""Which topic bears a name: one that was deleted and made anew is another log, though its name and offsets look the same.

Kafka gives every topic an id that never comes again. Brokers that tell none are believed: then a name is a topic.
"""

import threading
from concurrent.futures import Future
from functools import lru_cache

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import TopicDescription  # type: ignore[attr-defined]

from ingest.errors import BrokerUnavailable
from ingest.kafka.topics import error_of, open_admin
from ingest.settings import KafkaSettings

Question = Future[TopicDescription]

_NO_IDS = (KafkaError._UNSUPPORTED_FEATURE, KafkaError.UNSUPPORTED_VERSION)
_NO_ID = "A" * 22  # sixteen zero bytes: the broker is older than ids


class TopicId:
    """The id that the brokers have for the topic of this name. Asking needs the right to describe it, as reading does.

    May be shared between threads. One question is under way at a time: while brokers are away, each costs librdkafka a
    whole CPU until it times out (it looks for the controller without a pause), and those that come back need it.
    """

    def __init__(self, settings: KafkaSettings, topic: str) -> None:
        self._brokers, self._topic = settings.brokers, topic
        self._admin = open_admin(settings)
        self._asking = threading.Lock()
        self._question: Question | None = None

    def ask(self, timeout_s: float) -> Question:
        """The question that is under way, or a new one; `heard` takes the answer."""
        with self._asking:
            if self._question is None or self._question.done():
                asked = self._admin.describe_topics(TopicCollection([self._topic]), request_timeout=timeout_s)
                self._question = asked[self._topic]
            return self._question

    def heard(self, question: Question) -> str | None:
        """The answer, waited for; None where the brokers have no ids. Raises BrokerUnavailable if there is none."""
        try:
            id = str(question.result().topic_id)
        except KafkaException as failure:
            error = error_of(failure)
            if error.code() in _NO_IDS:
                return None
            raise BrokerUnavailable(self._brokers, f"topic {self._topic}: {error.str()}") from failure
        return None if id == _NO_ID else id


@lru_cache(maxsize=256)
def identity_of(settings: KafkaSettings, topic: str) -> TopicId:
    """The one of this process: all partitions of a topic have the same."""
    return TopicId(settings, topic)
