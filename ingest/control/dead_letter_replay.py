"""Replays dead letters: sends them to their topic again, as ordinary records.

A record that is good now is stored; a record that is still bad becomes a dead letter again. Each is
sent once. Its row is marked before it is sent, so that two replays at once send nothing twice. A
dead letter that came from a replay is left alone unless it is requested.

A record keeps the headers that it came with. Where they are unknown, the headers that a collector
writes are made from key, user and value. One more header gives the record's former place. Another
marks the record as not live, as on resent frames.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from psycopg.rows import class_row

from ingest.codec.record_format import MAX_VALUE_BYTES, Kind, kind_of
from ingest.collectors.delivery.records import RESENT, Encoding, Headers, headers
from ingest.errors import BrokerUnavailable, TopicUnavailable
from ingest.kafka.topics import QUIET, Cluster, error_of
from ingest.settings import KafkaSettings
from ingest.store.dead_letters import headers_from_json

#: The header of a replayed record; its value is the record's former place.
REPLAYED = "replayed"
_SEND_WITHIN_S = 10.0
_AT_ONCE = 500

Connection = psycopg.Connection[Any]

# A letter that came from a replay lies where that replay put it.
_LETTERS = """
SELECT topic, partition, "offset", key, value, reason, user_id, headers, seen_at, replayed_at,
       EXISTS (SELECT FROM dead_letters o
                WHERE (o.topic, o.partition, o.replayed_offset) = (d.topic, d.partition,
                    d."offset")) AS of_replay
  FROM dead_letters d
 WHERE (%(reason)s::text IS NULL OR starts_with(reason, %(reason)s))
   AND (%(topic)s::text IS NULL OR topic = %(topic)s)
   AND (%(session)s::bytea IS NULL OR key = %(session)s)
   AND (%(since)s::timestamptz IS NULL OR seen_at >= %(since)s)
   AND (%(partition)s::integer IS NULL OR partition = %(partition)s)
   AND (%(offset)s::bigint IS NULL OR "offset" = %(offset)s)
 ORDER BY seen_at DESC, topic, partition, "offset" DESC LIMIT %(limit)s
"""

_NOT_KEPT = """
SELECT topic, kind, sum(count)::bigint AS count, max(last_at) AS last_at FROM dead_letters_not_kept
 WHERE (%(topic)s::text IS NULL OR topic = %(topic)s)
   AND (%(reason)s::text IS NULL OR starts_with(%(reason)s, kind))
 GROUP BY topic, kind ORDER BY topic, kind
"""

_CLAIM = """
UPDATE dead_letters SET replayed_at = clock_timestamp(), replayed_offset = NULL
 WHERE (topic, partition, "offset") = (%(topic)s, %(partition)s, %(offset)s)
   AND (replayed_at IS NULL OR %(again)s)
"""
_SENT = """
UPDATE dead_letters SET replayed_offset = %(to)s
 WHERE (topic, partition, "offset") = (%(topic)s, %(partition)s, %(offset)s)
"""
_NOT_SENT = """
UPDATE dead_letters SET replayed_at = NULL
 WHERE (topic, partition, "offset") = (%(topic)s, %(partition)s, %(offset)s)
"""
_POSITION = "SELECT next_offset FROM partition_offsets WHERE topic = %s AND partition = %s"
_AGAIN = 'SELECT reason FROM dead_letters WHERE (topic, partition, "offset") = (%s, %s, %s)'


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter for dead letters; None matches every letter.

    ``reason`` is the beginning of a reason, ``session`` a record's key.
    """

    reason: str | None = None
    topic: str | None = None
    session: bytes | None = None
    since: datetime | None = None
    partition: int | None = None
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class StoredLetter:
    """A row of dead_letters.

    ``of_replay``: the letter is the record that a replay sent, and it is still bad.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    reason: str
    user_id: str
    seen_at: datetime
    replayed_at: datetime | None
    of_replay: bool
    headers: Any = field(default=None, hash=False, compare=False)  # as the store keeps them

    @property
    def place(self) -> str:
        """Return the place of the record, like ``telemetry[3]@17``."""
        return f"{self.topic}[{self.partition}]@{self.offset}"


@dataclass(frozen=True, slots=True)
class NotKeptCount:
    """The number of letters of a kind that had no room in a topic, and the time of the last."""

    topic: str
    kind: str
    count: int
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a replayed letter: ``stored``, ``dead letter again``, ``sent``, or ``left``.

    ``sent`` means that ingest has not read it yet.
    """

    letter: StoredLetter
    what: str
    detail: str = ""


def dead_letters(conn: Connection, which: Filter, *, limit: int) -> list[StoredLetter]:
    """Return the matching dead letters, newest first."""
    with conn.cursor(row_factory=class_row(StoredLetter)) as cursor:
        return cursor.execute(_LETTERS, _values(which) | {"limit": limit}).fetchall()


def not_kept(conn: Connection, which: Filter) -> list[NotKeptCount]:
    """Return the letters that were only counted, by topic and kind."""
    with conn.cursor(row_factory=class_row(NotKeptCount)) as cursor:
        return cursor.execute(_NOT_KEPT, _values(which)).fetchall()


def obstacle(letter: StoredLetter, *, again: bool) -> str | None:
    """Return why a letter is not to be sent again; None where it is."""
    if letter.value is None or letter.key is None:
        return "it has no " + ("value" if letter.value is None else "key")
    if letter.reason.startswith("oversize") or len(letter.value) >= MAX_VALUE_BYTES:
        return "only the beginning of it is kept"
    if letter.of_replay and not again:
        return "it was replayed already and is bad still"
    if letter.replayed_at is not None and not again:
        return f"it was replayed at {letter.replayed_at:%Y-%m-%d %H:%M:%S}"
    return None


def original_headers(letter: StoredLetter) -> Headers:
    """Return the headers that a letter came with.

    Where they are unknown, return those that a collector would write.
    """
    if (kept := headers_from_json(letter.headers)) is not None:
        return list(kept)
    key = (letter.key or b"").decode(errors="replace")
    encoding: Encoding = "json" if kind_of(letter.value) is Kind.JSON else "protobuf"
    return headers(key, letter.user_id, encoding)


def headers_again(letter: StoredLetter) -> Headers:
    """Return the headers for the replay: its own, the not-live mark, and its place."""
    own = [
        (name, value)
        for name, value in original_headers(letter)
        if name not in (RESENT[0], REPLAYED)
    ]
    return [*own, RESENT, (REPLAYED, letter.place.encode())]


def replay(
    kafka: KafkaSettings,
    conn: Connection,
    letters: Sequence[StoredLetter],
    *,
    again: bool,
    within_s: float,
) -> list[Outcome]:
    """Send these letters, oldest first, and wait at most ``within_s`` for ingest to read them.

    ``conn`` commits automatically. Raises BrokerUnavailable or TopicUnavailable; then only letters
    that were sent are marked.
    """
    oldest_first = sorted(letters, key=lambda one: (one.topic, one.partition, one.offset))
    obstacles = {one: obstacle(one, again=again) for one in oldest_first}
    outcomes = [Outcome(one, "left", why) for one, why in obstacles.items() if why]
    to_send = [one for one, why in obstacles.items() if not why]
    _check_topics(kafka, to_send)
    sent: dict[StoredLetter, int] = {}
    for start in range(0, len(to_send), _AT_ONCE):
        part = [one for one in to_send[start : start + _AT_ONCE] if _claim(conn, one, again=again)]
        sent |= _send(kafka, conn, part)
    taken = [Outcome(one, "left", "somebody else replays it") for one in to_send if one not in sent]
    return outcomes + taken + _await(conn, sent, within_s=within_s)


def _values(which: Filter) -> dict[str, Any]:
    names = ("reason", "topic", "session", "since", "partition", "offset")
    return {name: getattr(which, name) for name in names}


def _place(letter: StoredLetter) -> dict[str, Any]:
    return {"topic": letter.topic, "partition": letter.partition, "offset": letter.offset}


def _check_topics(kafka: KafkaSettings, letters: Iterable[StoredLetter]) -> None:
    highest: dict[str, int] = {}
    for one in letters:
        highest[one.topic] = max(one.partition, highest.get(one.topic, 0))
    cluster = Cluster(kafka, timeout_s=_SEND_WITHIN_S)
    for topic, partition in highest.items():
        partitions = cluster.await_partitions(topic)
        if partitions <= partition:
            raise TopicUnavailable(
                topic, f"it has {partitions} partitions, and a letter is of partition {partition}"
            )


def _claim(conn: Connection, letter: StoredLetter, *, again: bool) -> bool:
    return conn.execute(_CLAIM, _place(letter) | {"again": again}).rowcount == 1


def _send(
    kafka: KafkaSettings, conn: Connection, letters: Sequence[StoredLetter]
) -> dict[StoredLetter, int]:
    """Produce the letters in order, and return their new offsets.

    Removes the mark of letters that were not sent. Raises BrokerUnavailable.
    """
    sent: dict[StoredLetter, int] = {}
    refused: list[str] = []

    def note(letter: StoredLetter, error: KafkaError | None, message: Message) -> None:
        if error is None:
            sent[letter] = message.offset() or 0
        else:
            refused.append(error.str())

    settings = QUIET | {
        "acks": "all",
        "enable.idempotence": True,
        "message.timeout.ms": int(_SEND_WITHIN_S * 1000),
    }
    try:
        producer = Producer(kafka.client(settings | {"error_cb": lambda _: None}))
        for one in letters:
            report = lambda error, message, letter=one: note(letter, error, message)  # noqa: E731
            producer.produce(
                one.topic, one.value, one.key, one.partition, report, headers=headers_again(one)
            )
        producer.flush(_SEND_WITHIN_S + 1)
    except KafkaException as failure:
        refused.append(error_of(failure).str())
    finally:
        for one in letters:
            values = _place(one)
            (
                conn.execute(_SENT, values | {"to": sent[one]})
                if one in sent
                else conn.execute(_NOT_SENT, values)
            )
    if len(sent) < len(letters):
        raise BrokerUnavailable(kafka.brokers, refused[0] if refused else "no acknowledgement")
    return sent


def _last_offsets(sent: dict[StoredLetter, int]) -> dict[tuple[str, int], int]:
    ends: dict[tuple[str, int], int] = {}
    for letter, offset in sent.items():
        ends[_partition_of(letter)] = max(offset, ends.get(_partition_of(letter), 0))
    return ends


def _partition_of(letter: StoredLetter) -> tuple[str, int]:
    return letter.topic, letter.partition


def _await(conn: Connection, sent: dict[StoredLetter, int], *, within_s: float) -> list[Outcome]:
    until = time.monotonic() + within_s
    ends = _last_offsets(sent)
    positions = dict.fromkeys(ends, 0)
    while any(positions[place] <= end for place, end in ends.items()):
        for place in ends:
            (positions[place],) = conn.execute(_POSITION, place).fetchone() or (0,)
        if time.monotonic() > until:
            break
        time.sleep(0.05)
    return [
        _outcome(conn, letter, at, positions[_partition_of(letter)]) for letter, at in sent.items()
    ]


def _outcome(conn: Connection, letter: StoredLetter, offset: int, position: int) -> Outcome:
    if position <= offset:
        return Outcome(letter, "sent", f"to offset {offset}; ingest has not read it yet")
    again = conn.execute(_AGAIN, [letter.topic, letter.partition, offset]).fetchone()
    return Outcome(letter, "dead letter again", again[0]) if again else Outcome(letter, "stored")
