"""Requests frames that ingest lacks: missing sequences of a session, and records lost with a
partition's log.

Collectors keep sent frames for a while (SPOOL_KEEP_S). Ingest names a session's missing sequences
to the collectors of its user, for a resend. The requests repeat after longer and longer pauses,
until the frames have come or are kept no more.

The contents of a lost log are unknown. So every collector gets a request for session reports, and
states how far it sent each of its sessions. The statement goes to the session's partition, after
all frames sent before it. The worker that reads it records the gaps. Reports are also
requested at the start and once in a while. That finds gaps that no
later frame would show. A repeated or useless request costs some bytes.

Does not depend on Ray; `run` outlives brokers and databases.
"""

import threading
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
import structlog
from confluent_kafka import KafkaError, Message, Producer

from ingest.batching.sequence_set import SequenceSet
from ingest.control.retry_schedule import RetrySchedule
from ingest.errors import BrokerUnavailable
from ingest.kafka.topics import QUIET, Cluster, partition_of, topic_specs
from ingest.settings import DatabaseSettings, IngestSettings, KafkaSettings
from ingest.telemetry_pb2 import Command, CommandMessage, ReportSessions, Resend, SequenceRange

log = structlog.get_logger()

LOOK_EVERY_S = 1.0
REPORTS_EVERY_S = 600.0
_WAIT_AFTER_FAILURE_S = 5.0
_ANSWER_WITHIN_S = 5.0
_RANGES_AT_ONCE = 500  # of a session; the next request names the others
_ROWS_AT_ONCE = 10_000

Connection = psycopg.Connection[Any]

_PRODUCER = QUIET | {"linger.ms": 5, "acks": "all", "message.timeout.ms": 10_000}

# A row keeps its range until all of it has come; only the missing part is requested. A session may
# lack every other frame. So its received sequences are read once, and subtracted only from those of
# its ten thousand gaps that they overlap.
_MISSING = """
WITH open AS (
    SELECT g.id, g.session_id, int8range(g.from_sequence, g.to_sequence, '[]') AS range
      FROM gaps g JOIN sessions s ON s.id = g.session_id
     WHERE g.resolved_at IS NULL AND s.user_id <> ''
       AND g.seen_at > now() - %(keep_s)s * interval '1 second'
     ORDER BY g.id DESC LIMIT %(rows)s
),
there AS MATERIALIZED (
    SELECT s.id, s.key, s.user_id, s.received * int8multirange(range_merge(range_agg(open.range)))
           AS received
      FROM open JOIN sessions s ON s.id = open.session_id GROUP BY s.id
)
SELECT open.id, key, user_id,
       CASE WHEN received && range THEN int8multirange(range) - received ELSE int8multirange(range)
       END::text
  FROM open JOIN there ON there.id = open.session_id
 ORDER BY open.id DESC
"""

_LOST = """
SELECT id FROM gaps WHERE resolved_at IS NULL AND session_id IS NULL
   AND seen_at > now() - %(keep_s)s * interval '1 second'
"""

# The contents of a lost log are unknown. Its loss is repaired when nothing is missing of any
# session that was being written to it then, or has been since. Each such session's collector must
# have stated it after the loss.
_RESOLVE_LOST = """
UPDATE gaps g SET resolved_at = clock_timestamp()
 WHERE g.resolved_at IS NULL AND g.session_id IS NULL
   AND g.seen_at > now() - %(keep_s)s * interval '1 second'
   AND EXISTS (SELECT FROM sessions s
                WHERE s.topic = g.topic AND s.partition = g.partition AND s.reported_at > g.seen_at)
   AND NOT EXISTS (SELECT FROM sessions s
                    WHERE s.topic = g.topic AND s.partition = g.partition
                      AND s.updated_at > g.seen_at - interval '5 minutes'
                      AND (s.reported_at IS NULL OR s.reported_at <= g.seen_at
                           OR NOT s.received @> int8range(1, s.last_sequence + 1)))
RETURNING g.topic, g.partition, g.from_offset, g.to_offset
"""


@dataclass(frozen=True, slots=True)
class Missing:
    """A row of the table gaps: sequences of a session that its user's collectors may have.

    ``ranges`` include both ends.
    """

    id: int
    session_key: str
    user_id: str
    ranges: tuple[tuple[int, int], ...]


def resend_commands(missing: Iterable[Missing]) -> list[Command]:
    """Return one resend command for each session."""
    by_session: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for gap in missing:
        by_session.setdefault((gap.user_id, gap.session_key), []).extend(gap.ranges)
    return [
        Command(
            id=_new_id(), user_id=user_id, session_id=session, resend=Resend(ranges=_named(ranges))
        )
        for (user_id, session), ranges in by_session.items()
        if ranges
    ]


def _named(ranges: Sequence[tuple[int, int]]) -> list[SequenceRange]:
    first = sorted(ranges)[:_RANGES_AT_ONCE]
    return [SequenceRange(from_sequence=start, to_sequence=end) for start, end in first]


def _new_id() -> str:
    return uuid.uuid4().hex[:16]


class GapRecovery:
    """Requests resends and session reports for a cluster.

    One instance is enough; two request twice.
    """

    def __init__(
        self, kafka: KafkaSettings, database: DatabaseSettings, ingest: IngestSettings
    ) -> None:
        self._kafka, self._database = kafka, database
        self._values = {"keep_s": ingest.spool_keep_s, "rows": _ROWS_AT_ONCE}
        self._resend_schedule, self._report_schedule = RetrySchedule(), RetrySchedule()
        self._reports_due_at = 0.0
        self._failure = ""
        self._producer: Producer | None = None
        self._partitions = 0

    def run(self, stop: threading.Event) -> None:
        """Look for gaps and request resends until ``stop`` is set."""
        while not stop.is_set():
            try:
                self._look_until(stop)
            except (psycopg.Error, BrokerUnavailable) as failure:
                self._note(str(failure).partition("\n")[0])
            except Exception as failure:
                # Nothing else requests resends: gaps would stay open without a notice.
                log.exception("gap recovery failed, will go on")
                self._note(repr(failure))
            stop.wait(_WAIT_AFTER_FAILURE_S)

    def _look_until(self, stop: threading.Event) -> None:
        with self._connection() as conn:
            while not stop.wait(LOOK_EVERY_S):
                self.look(conn, now=time.monotonic())
                self._failure = ""

    def look(self, conn: Connection, *, now: float) -> None:
        """Request the frames that are due. Raises psycopg.Error or BrokerUnavailable."""
        self._resolve_lost(conn)
        missing = [_missing(*row) for row in conn.execute(_MISSING, self._values)]
        lost = [id for (id,) in conn.execute(_LOST, self._values)]
        due = self._resend_schedule.due([gap.id for gap in missing], now=now)
        lost_due = self._report_schedule.due(lost, now=now)
        request_reports = bool(lost_due) or now >= self._reports_due_at
        if due or request_reports:
            commands = resend_commands(gap for gap in missing if gap.id in due)
            self._request(commands, request_reports=request_reports, now=now)
        if self._producer is not None:
            self._producer.poll(0)

    def _resolve_lost(self, conn: Connection) -> None:
        for topic, partition, first, last in conn.execute(_RESOLVE_LOST, self._values):
            log.info(
                "nothing is missing of a lost log",
                topic=topic,
                partition=partition,
                first=first,
                last=last,
            )

    def _request(self, commands: Sequence[Command], *, request_reports: bool, now: float) -> None:
        producer, partitions = self._ready()
        for command in commands:
            key = command.user_id.encode()
            partition = partition_of(key, partitions)
            _produce(producer, self._kafka.topic_commands, command, key, partition)
            _log_request(command)
        if request_reports:
            self._reports_due_at = now + REPORTS_EVERY_S
            for partition in range(partitions):
                command = Command(id=_new_id(), report_sessions=ReportSessions())
                _produce(producer, self._kafka.topic_commands, command, None, partition)

    def _ready(self) -> tuple[Producer, int]:
        """Return a producer, and the number of partitions of the topic.

        Creates the topic where it is missing: its broker may be new.
        """
        cluster = Cluster(self._kafka, timeout_s=_ANSWER_WITHIN_S)
        name = self._kafka.topic_commands
        (spec,) = (spec for spec in topic_specs(self._kafka) if spec.name == name)
        problem = cluster.create(spec, compare=False).problem
        partitions = cluster.await_partitions(name) if not problem else 0
        if not partitions:
            reason = f"topic {name}: {problem or 'has no leader'}"
            raise BrokerUnavailable(self._kafka.brokers, reason)
        if self._producer is None:
            self._producer = Producer(self._kafka.client(_PRODUCER | {"error_cb": lambda _: None}))
        return self._producer, partitions

    def _connection(self) -> Connection:
        return psycopg.connect(
            self._database.url.get_secret_value(),
            autocommit=True,
            application_name="purple-sector gap-recovery",
            connect_timeout=3,
            tcp_user_timeout=10_000,
        )

    def _note(self, failure: str) -> None:
        if failure != self._failure:
            log.warning("cannot request missing frames, will try again", error=failure)
        self._failure = failure


def _missing(id: int, session_key: str, user_id: str, ranges: str) -> Missing:
    holes = SequenceSet.from_multirange(ranges).ranges
    return Missing(id, session_key, user_id, tuple((start, end - 1) for start, end in holes))


def _produce(
    producer: Producer, topic: str, command: Command, key: bytes | None, partition: int
) -> None:
    value = CommandMessage(command=command).SerializeToString()
    try:
        producer.produce(topic, value, key, partition, on_delivery=_note_delivery)
    except BufferError:
        log.warning("a command was not sent: the broker takes none")  # it will be sent again
    producer.poll(0)


def _log_request(command: Command) -> None:
    ranges = command.resend.ranges
    frames = sum(r.to_sequence - r.from_sequence + 1 for r in ranges)
    first = ranges[0].from_sequence
    log.info("frames requested", session=command.session_id, frames=frames, first=first)


def _note_delivery(error: KafkaError | None, _: Message) -> None:
    if error is not None:
        log.warning("a command did not arrive, it will be sent again", reason=error.str())
