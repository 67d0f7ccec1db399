"""What every collector sends with: one session's frames to Kafka, numbered, in order, each until it is acknowledged.

Knows no game and no file. One thread uses it. The rule to remember: `send` never drops a frame; where there is no room
it waits, and a frame that is refused keeps its number, so that the loss shows in the store as a gap.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from ingest.collectors import records
from ingest.collectors.outbox import Outbox, Record
from ingest.collectors.statistics import ProducerStatistics, Statistics
from ingest.collectors.uplink import Uplink
from ingest.settings import CollectorSettings, KafkaSettings
from ingest.telemetry_pb2 import Session, TelemetryFrame
from ingest.topics import telemetry_spec, telemetry_topic

log = structlog.get_logger()

#: A quarter of an hour at 60 Hz, in some 15 MB.
CAPACITY_RECORDS = 50_000
POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Unacknowledged:
    """Frames that a closed sender leaves behind; Kafka may have some of them."""

    frames: int
    first_sequence: int
    last_sequence: int

    def __str__(self) -> str:
        return f"{self.frames} frames not acknowledged, sequences {self.first_sequence} to {self.last_sequence}"


class Sender:
    """Sends one session.

    ``facts.id`` is the session's key, made up where it is empty; ``facts.started_at`` the first frame's time where it is
    0. ``linger_ms``: 0 or 1 for a live game, 20 for speed. ``clock`` is monotonic, in seconds.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        collector: CollectorSettings,
        facts: Session,
        *,
        linger_ms: float = 1.0,
        capacity: int = CAPACITY_RECORDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._facts = _completed(facts, collector.user_id)
        self.key = self._facts.id
        self._encoding: records.Encoding = "protobuf" if collector.protobuf_enabled else "json"
        self._encode = records.frame_encoder(self._encoding)
        self._clock = clock
        self._outbox = Outbox(capacity)
        self._uplink = Uplink(
            kafka,
            telemetry_spec(kafka, telemetry_topic(kafka, self._facts.user_id)),
            self.key.encode(),
            records.headers(self.key, self._facts.user_id, self._encoding),
            confirmed=self._confirmed,
            lost=self._lost,
            linger_ms=linger_ms,
        )
        self._sequence = self._refused = 0
        self._published = self._messages = self._bytes = 0
        self._closed = False

    @property
    def partition(self) -> int | None:
        """The partition of the session; None until the topic has been found."""
        return self._uplink.partition

    @property
    def has_room(self) -> bool:
        """`send` would not wait."""
        return not self._outbox.full

    @property
    def statistics(self) -> Statistics:
        producer = ProducerStatistics(self._messages, self._bytes, self._uplink.errors)
        return Statistics(self._sequence, self._published, self._refused, producer)

    def send(self, frame: TelemetryFrame) -> None:
        """Number the frame (``frame.sequence`` is set) and send it; waits while there is no room for it."""
        if self._closed:
            raise ValueError(f"the sender of session {self.key} is closed")
        while self._outbox.full:
            self.poll(POLL_S)
        if not self._sequence:
            self._facts.started_at = self._facts.started_at or frame.timestamp
            self._add_facts(frame.timestamp)
        self._sequence += 1
        frame.sequence = self._sequence
        self._add(frame)
        self.poll(0)

    def describe(self, facts: Session) -> None:
        """Facts have become known or have changed; they are sent if they differ. Key, user and start stay."""
        changed = Session()
        changed.CopyFrom(facts)
        changed.id, changed.user_id, changed.started_at = self.key, self._facts.user_id, self._facts.started_at
        if changed == self._facts:
            return
        self._facts = changed
        if self._sequence:
            self._add_facts(changed.started_at)

    def poll(self, timeout_s: float) -> None:
        """Keep things moving; waits at most ``timeout_s`` for news from the broker. Call it often."""
        uplink, outbox = self._uplink, self._outbox
        uplink.tend(now=self._clock())
        while outbox.unsent and uplink.produce(outbox.unsent[0]):
            outbox.sent()
        uplink.poll(timeout_s)

    def close(self, *, timeout_s: float) -> Unacknowledged | None:
        """Wait until all is acknowledged, at most ``timeout_s``. Returns what is not; None when nothing is left."""
        deadline = self._clock() + timeout_s
        while self._outbox and (left_s := deadline - self._clock()) > 0:
            self.poll(min(POLL_S, left_s))
        self._uplink.close()
        self._closed = True
        left = self._outbox.frames()
        if not left:
            return None
        unacknowledged = Unacknowledged(len(left), left[0], left[-1])
        log.warning("frames not acknowledged", session=self.key, frames=len(left), first=left[0], last=left[-1])
        return unacknowledged

    def _add_facts(self, timestamp_ms: int) -> None:
        self._queue(Record(0, max(0, timestamp_ms), records.facts_value(self._facts, self._encoding)))

    def _add(self, frame: TelemetryFrame) -> None:
        try:
            value = self._encode(frame)
        except ValueError as wrong:
            self._refuse(str(wrong))
            return
        self._queue(Record(self._sequence, max(0, frame.timestamp), value))

    def _queue(self, record: Record) -> None:
        if len(record.value) > records.LARGEST_RECORD_BYTES:
            self._refuse(f"{len(record.value)} bytes, at most {records.LARGEST_RECORD_BYTES}")
            return
        self._outbox.add(record)

    def _refuse(self, reason: str) -> None:
        self._refused += 1
        log.warning("record refused", session=self.key, sequence=self._sequence, reason=reason)

    def _confirmed(self) -> None:
        record = self._outbox.confirm()
        self._messages += 1
        self._bytes += len(record.value)
        if record.sequence:
            self._published += 1

    def _lost(self) -> None:
        again = self._outbox.rewind()
        log.info("producing again what was not confirmed", session=self.key, records=again)


def _completed(facts: Session, user_id: str) -> Session:
    """A copy that has a user and a key."""
    complete = Session()
    complete.CopyFrom(facts)
    complete.user_id = facts.user_id or user_id
    complete.id = facts.id or records.new_session_key(complete.user_id, now=datetime.now(UTC))
    return complete
