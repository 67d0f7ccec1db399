"""Delivers a session's spool to Kafka: takes records in order, produces them, and acknowledges them
to the spool.

The module knows no frames. One thread uses it. Between spool and broker only a window of records is
in memory. After a producer breaks, a new one produces the window again.
"""

import time
from collections.abc import Callable

import structlog

from ingest.collectors.delivery import records
from ingest.collectors.delivery.producer import ResilientProducer
from ingest.collectors.delivery.statistics import ProducerStatistics
from ingest.collectors.spool.memory import Spool
from ingest.kafka.topics import telemetry_spec, telemetry_topic
from ingest.settings import KafkaSettings

log = structlog.get_logger()

_POLL_S = 0.1


class DeliveryPump:
    """Delivers the records in ``spool``, each at the next `poll`, whether the disk has synced it or
    not.

    ``shows_clock``: the frames' times are of this PC's clock, and the first records show it.
    ``clock`` is monotonic, in seconds.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        spool: Spool,
        *,
        linger_ms: float,
        shows_clock: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.frames = self.last_sequence = 0  # acknowledged
        self._spool, self._clock = spool, clock
        self._messages = self._bytes = 0
        session = spool.session
        self._uplink = ResilientProducer(
            kafka,
            telemetry_spec(kafka, telemetry_topic(kafka, session.user_id)),
            session.key.encode(),
            records.headers(session.key, session.user_id, session.encoding),
            partition=spool.partition,
            confirmed=self._confirmed,
            lost=self._lost,
            linger_ms=linger_ms,
            shows_clock=shows_clock,
        )

    @property
    def partition(self) -> int | None:
        """Return the partition of the session; None until the topic has been found."""
        return self._uplink.partition

    @property
    def statistics(self) -> ProducerStatistics:
        """Return the counts so far."""
        return ProducerStatistics(self._messages, self._bytes, self._uplink.errors)

    def poll(self, timeout_s: float) -> None:
        """Produce records and handle delivery reports; wait at most ``timeout_s`` for reports. Call
        it often.
        """
        now = self._clock()
        self._spool.tend(now=now)
        self._uplink.tend(now=now)
        self._uplink.poll(0)
        if self._has_place():
            self._uplink.hand_over(self._spool)
        if timeout_s:
            self._uplink.poll(timeout_s)

    def await_all(self, *, timeout_s: float) -> bool:
        """Wait at most ``timeout_s`` until all records are acknowledged; return if so."""
        deadline = self._clock() + timeout_s
        while not (done := self._spool.drained) and (left_s := deadline - self._clock()) > 0:
            self.poll(min(_POLL_S, left_s))
        return done

    def close(self) -> None:
        """Close the producer and the spool. Unacknowledged records stay in the spool, if it
        outlives the process.
        """
        self._uplink.close()
        self._spool.close()

    def _has_place(self) -> bool:
        """Return whether the partition is known and saved, so that a later run will know it too."""
        partition = self._uplink.partition
        if partition is not None and self._spool.partition != partition:
            self._spool.choose(partition)
        return partition is not None and self._spool.partition == partition

    def _confirmed(self) -> None:
        record = self._spool.acknowledge()
        self._messages += 1
        self._bytes += len(record.value)
        if record.sequence:
            self.frames += 1
            self.last_sequence = record.sequence

    def _lost(self) -> None:
        again = self._spool.rewind()
        log.info(
            "producing again what was not confirmed", session=self._spool.session.key, records=again
        )
