"""Produces the records of one session to Kafka: finds the topic, holds the producer, and replaces a
broken one.

The module knows no frames and no sequences. The caller calls `tend` and `poll` often and from one
thread. Only there are delivery reports handed out and producers replaced. The rule to remember: the
broker may have stored a record although its report failed. So a new producer produces all
unconfirmed records again, in order. The store drops duplicates.
"""

import random
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from ingest.backoff import Backoff
from ingest.collectors.delivery.broker_clock import THIS_PC
from ingest.collectors.delivery.records import SENT_AT, Headers, OutgoingRecord
from ingest.collectors.spool.memory import Spool
from ingest.errors import BrokerUnavailable, TopicUnavailable
from ingest.kafka.topics import QUIET, Cluster, TopicSpec, error_of, partition_of
from ingest.settings import KafkaSettings

log = structlog.get_logger()

FIND_TIMEOUT_S = 3.0
_RETRY = Backoff(first_s=0.5, longest_s=30.0)
#: An idempotent producer sends nothing while five messages or more are in flight. As long as
#: another one waits in it, its thread spins. That takes a quarter of a core behind a broker that is
#: 80 ms away.
_FEW_IN_FLIGHT = 4
_MOST_IN_FLIGHT = 10_000
PRODUCER = QUIET | {
    "enable.idempotence": True,
    "acks": "all",
    # librdkafka's thread spins while the maximum of requests is in flight and more messages wait.
    # That takes a whole core of the game's PC as long as brokers are slow to acknowledge. With one
    # request in flight it spins only where `hand_over` gives it too much. Frames that wait for it
    # travel together.
    "max.in.flight": 1,
    "compression.type": "lz4",
    # Frames wait until they are acknowledged; one that timed out would be a gap in the session.
    "message.timeout.ms": 0,
    # The spool holds the waiting records as well. This queue need only cover the round trip to the
    # broker.
    "queue.buffering.max.kbytes": 8192,
    # Each attempt makes a thread, and librdkafka resets its count of attempts after each. At its
    # default of 100 ms, an unreachable broker would cost the game's PC more than a reachable one.
    "reconnect.backoff.ms": 500,
    "reconnect.backoff.max.ms": 2000,
    "socket.keepalive.enable": True,
}


def find_partitions(settings: KafkaSettings, spec: TopicSpec, *, timeout_s: float) -> int:
    """Return the number of partitions of the topic, and create it if absent.

    Raises BrokerUnavailable or TopicUnavailable.
    """
    cluster = Cluster(settings, timeout_s=timeout_s)
    outcome = cluster.create(spec, compare=False)
    if outcome.problem:
        raise TopicUnavailable(spec.name, outcome.problem)
    if partitions := cluster.await_partitions(spec.name):
        return partitions
    raise TopicUnavailable(spec.name, f"no leader within {timeout_s:g} s")


class ResilientProducer:
    """Produces records of one key to one partition of ``topic``, chosen here unless ``partition``
    is given.

    ``shows_clock``: until the first of them is confirmed, records show this PC's clock in a header.
    ``confirmed`` is called once per record, in order. ``lost`` is called when the producer was
    replaced: the caller must then produce the unconfirmed records again.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        topic: TopicSpec,
        key: bytes,
        headers: Headers,
        *,
        partition: int | None = None,
        confirmed: Callable[[], None],
        lost: Callable[[], None],
        linger_ms: float,
        shows_clock: bool = False,
    ) -> None:
        self.partition, self._shows_clock = partition, shows_clock
        self.errors = 0
        self._settings, self._topic, self._key, self._headers = settings, topic, key, headers
        self._confirmed, self._lost = confirmed, lost
        more = {"linger.ms": linger_ms, "error_cb": self._on_error}
        self._config = settings.client(PRODUCER | more)
        self._producer: Producer | None = None
        self._broken: KafkaError | None = None
        self._search: Future[int] | None = None
        self._searcher = ThreadPoolExecutor(1, thread_name_prefix="find-topic")
        self._failures, self._retry_at = 0, 0.0
        self._silent = False

    @property
    def ready(self) -> bool:
        """Return whether there is a producer; records may wait in it for a broker."""
        return self._producer is not None

    def produce(self, record: OutgoingRecord) -> bool:
        """Pass a record to the producer; return False while its queue is full or the producer is
        broken.
        """
        if self._producer is None or self.partition is None or self._broken is not None:
            return False
        try:
            self._producer.produce(
                self._topic.name,
                record.value,
                self._key,
                self.partition,
                self._on_delivery,
                timestamp=record.timestamp_ms,
                headers=self._headers_now(),
            )
        except BufferError:
            return False
        except KafkaException as refused:
            self._break(error_of(refused))
            return False
        return True

    def _headers_now(self) -> Headers:
        if not self._shows_clock:
            return self._headers
        return [*self._headers, (SENT_AT, str(time.time_ns() // 1_000_000).encode())]

    def hand_over(self, spool: Spool) -> None:
        """Produce the next records; none while more than a few in flight are unacknowledged."""
        if spool.in_flight > _FEW_IN_FLIGHT:
            return
        while spool.in_flight < _MOST_IN_FLIGHT and (record := spool.take()) is not None:
            if not self.produce(record):
                spool.rewind(1)
                return

    def poll(self, timeout_s: float) -> None:
        """Hand out delivery reports, waiting for the first of them at most ``timeout_s``."""
        if self._producer is not None:
            self._poll_producer(self._producer, timeout_s)
        elif not timeout_s:
            return  # runs once a frame during the topic search: a wait for nothing takes 0.1 ms
        elif self._search is not None:
            wait([self._search], timeout_s)
        else:
            time.sleep(timeout_s)

    def tend(self, *, now: float) -> None:
        """Replace a broken producer; search the topic where there is no producer yet."""
        if self._broken is not None:
            self._abandon(now=now)
        if self._producer is None:
            self._connect(now=now)

    def close(self) -> None:
        """Drop the producer and its unacknowledged records."""
        self._drop_producer()
        self._searcher.shutdown(wait=False, cancel_futures=True)

    def _poll_producer(self, producer: Producer, timeout_s: float) -> None:
        try:
            producer.poll(timeout_s)
        except KafkaException as fatal:  # poll raises fatal errors; error_cb does not receive them
            self._break(error_of(fatal))

    def _connect(self, *, now: float) -> None:
        if self._search is None:
            if now >= self._retry_at:
                self._search = self._searcher.submit(
                    find_partitions, self._settings, self._topic, timeout_s=FIND_TIMEOUT_S
                )
        elif self._search.done():
            search, self._search = self._search, None
            self._conclude(search, now=now)

    def _conclude(self, search: "Future[int]", *, now: float) -> None:
        try:
            partitions = search.result()
            producer = Producer(self._config)
        except (BrokerUnavailable, TopicUnavailable, KafkaException) as failure:
            self._put_off(now=now)
            self._fall_silent(str(failure))
            return
        # The choice is made once, so that partitions added later move no running session. A smaller
        # topic is another topic.
        if self.partition is None or self.partition >= partitions:
            self.partition = partition_of(self._key, partitions)
        self._producer = producer

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        if self._broken is not None:
            return  # records after a failed one are produced again with it
        if error is not None:
            self._break(error)
            return
        THIS_PC.note(message.timestamp(), wall_ms=time.time_ns() // 1_000_000)
        if self._silent or self._failures:
            self._recover()
        self._shows_clock = False
        self._confirmed()

    def _on_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._fall_silent("not reachable")
        elif error.code() == KafkaError._AUTHENTICATION:
            self._fall_silent(error.str())

    def _break(self, error: KafkaError) -> None:
        if self._broken is None:
            self._broken = error
            self.errors += 1
            log.warning("producer failed", topic=self._topic.name, reason=error.str())

    def _abandon(self, *, now: float) -> None:
        self._drop_producer()
        self._broken = None
        self._put_off(now=now)
        self._lost()

    def _put_off(self, *, now: float) -> None:
        """Put the next attempt off. The first follows the first failure at once."""
        self._retry_at = now + _RETRY.pause_s(self._failures, jitter=random.random())
        self._failures += 1

    def _drop_producer(self) -> None:
        if self._producer is None:
            return
        # The reports of purged records mean nothing.
        self._broken = self._broken or KafkaError(KafkaError._DESTROY)
        self._producer.purge()
        self._poll_producer(self._producer, 0)
        self._producer = None

    def _fall_silent(self, reason: str) -> None:
        if not self._silent:
            self._silent = True
            log.warning("no broker, frames wait", brokers=self._settings.brokers, reason=reason)

    def _recover(self) -> None:
        if self._silent:
            log.info("broker answers again", brokers=self._settings.brokers)
        self._silent = False
        self._failures = 0
