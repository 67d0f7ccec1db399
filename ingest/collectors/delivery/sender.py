"""Sends the frames of one session to Kafka, numbered and in order, each until it is acknowledged.

Every collector sends with it. The module knows no game and no file. One thread uses it. The rule to
remember: a frame goes into the session's spool first. A refused frame keeps its number, so that the
loss shows in the store as a gap.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from ingest.collectors.delivery import records
from ingest.collectors.delivery.broker_clock import THIS_PC
from ingest.collectors.delivery.pump import DeliveryPump
from ingest.collectors.delivery.records import OutgoingRecord
from ingest.collectors.delivery.statistics import Statistics
from ingest.collectors.spool.memory import MemorySpool, OpenSpool, SpooledSession
from ingest.settings import CollectorSettings, KafkaSettings
from ingest.telemetry_pb2 import Session, TelemetryFrame

log = structlog.get_logger()

POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Unacknowledged:
    """Unacknowledged frames of a closed sender; Kafka may have some of them."""

    frames: int
    first_sequence: int
    last_sequence: int

    def __str__(self) -> str:
        return (
            f"{self.frames} frames not acknowledged, sequences {self.first_sequence} to"
            f" {self.last_sequence}"
        )


class Sender:
    """Sends one session through the spool that ``open_spool`` opens: in memory, or on disk for a
    game.

    ``shows_clock``: the frames' times are of this PC's clock, as a game's are, and the first
    records show it. ``facts.id`` is the session's key; the sender makes one where it is empty.
    ``facts.started_at`` becomes the first frame's time where it is 0. ``linger_ms``: 0 for a live
    game, 20 for speed. ``clock`` is monotonic, in seconds.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        collector: CollectorSettings,
        facts: Session,
        *,
        open_spool: OpenSpool = MemorySpool,
        linger_ms: float = 0.0,
        shows_clock: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._facts = _completed(facts, collector.user_id)
        self.key = self._facts.id
        self._encoding: records.Encoding = "protobuf" if collector.protobuf_enabled else "json"
        self._encode = records.frame_encoder(self._encoding)
        self._spool = open_spool(SpooledSession(self.key, self._facts.user_id, self._encoding))
        self._delivery = DeliveryPump(
            kafka, self._spool, linger_ms=linger_ms, shows_clock=shows_clock, clock=clock
        )
        self._sequence = self._refused = 0
        self._closed = False

    @property
    def partition(self) -> int | None:
        """Return the partition of the session; None until the topic has been found."""
        return self._delivery.partition

    @property
    def has_room(self) -> bool:
        """Return whether `send` would go through without a wait."""
        return self._spool.has_room

    @property
    def statistics(self) -> Statistics:
        """Return the counts so far."""
        errors = self._refused + self._spool.dropped
        return Statistics(
            self._sequence,
            self._delivery.frames,
            errors,
            self._delivery.statistics,
            THIS_PC.ahead_ms,
        )

    def send(self, frame: TelemetryFrame) -> None:
        """Set ``frame.sequence`` and send the frame; wait while the spool has no room for it."""
        self.keep(frame)
        self.poll(0)

    def keep(self, frame: TelemetryFrame) -> None:
        """Set the sequence and spool the frame like `send`; the next `poll` produces it."""
        if self._closed:
            raise ValueError(f"the sender of session {self.key} is closed")
        while not self._spool.has_room:
            self.poll(POLL_S)
        if not self._sequence:
            self._facts.started_at = self._facts.started_at or frame.timestamp
            self._add_facts(frame.timestamp)
        self._sequence += 1
        frame.sequence = self._sequence
        self._add(frame)

    def describe(self, facts: Session) -> None:
        """Send the session's new facts if they differ from the old ones.

        Key, user and start stay.
        """
        changed = Session()
        changed.CopyFrom(facts)
        changed.id, changed.user_id, changed.started_at = (
            self.key,
            self._facts.user_id,
            self._facts.started_at,
        )
        if changed == self._facts:
            return
        self._facts = changed
        if self._sequence:
            self._add_facts(changed.started_at)

    def poll(self, timeout_s: float) -> None:
        """Produce records and handle delivery reports; wait at most ``timeout_s`` for reports. Call
        it often.
        """
        self._delivery.poll(timeout_s)

    def close(self, *, timeout_s: float) -> Unacknowledged | None:
        """Wait at most ``timeout_s`` until all is acknowledged. Return the unacknowledged frames;
        None without any.
        """
        self._delivery.await_all(timeout_s=timeout_s)
        left = self._spool.waiting
        self._delivery.close()
        self._closed = True
        if not left:
            return None
        first, last = self._delivery.last_sequence + 1, self._sequence
        log.warning(
            "frames not acknowledged", session=self.key, frames=left, first=first, last=last
        )
        return Unacknowledged(left, first, last)

    def _add_facts(self, timestamp_ms: int) -> None:
        self._queue(
            OutgoingRecord(
                0, max(0, timestamp_ms), records.facts_value(self._facts, self._encoding)
            )
        )

    def _add(self, frame: TelemetryFrame) -> None:
        try:
            value = self._encode(frame)
        except ValueError as wrong:
            self._refuse(str(wrong))
            return
        self._queue(OutgoingRecord(self._sequence, max(0, frame.timestamp), value))

    def _queue(self, record: OutgoingRecord) -> None:
        if len(record.value) > records.LARGEST_RECORD_BYTES:
            self._refuse(f"{len(record.value)} bytes, at most {records.LARGEST_RECORD_BYTES}")
            return
        self._spool.append(record)

    def _refuse(self, reason: str) -> None:
        self._refused += 1
        log.warning("record refused", session=self.key, sequence=self._sequence, reason=reason)


def _completed(facts: Session, user_id: str) -> Session:
    """Return a copy that has a user and a key."""
    complete = Session()
    complete.CopyFrom(facts)
    complete.user_id = facts.user_id or user_id
    complete.id = facts.id or records.new_session_key(complete.user_id, now=datetime.now(UTC))
    return complete
