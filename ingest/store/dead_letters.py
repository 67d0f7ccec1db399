"""Keeps dead letters within a quota: poison records that cannot be stored, for a person to examine.

Each kind of reason has its own places in a topic, so a flood of one kind hides no other. When all
kinds together exceed the quota's bytes, a kind with few letters still gets a few. A letter without
a place is counted, by partition and kind. The first letters of a kind are kept: they show how it
began, and the later ones are alike. Letters that were sent again hold no place.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from ingest.batching.partition_log import Headers, Partition
from ingest.batching.write_batch import DeadLetter
from ingest.settings import DeadLetterQuota

#: So many letters of a kind are kept in a topic, even if the quota is used up.
ALWAYS_KEPT = 10
#: Headers of more bytes are not kept. They would escape the quota, which counts values.
MOST_HEADER_BYTES = 4096
_LETTERS_AT_ONCE = (
    200  # of 64 KiB at most: a statement and its values must stay far below a gigabyte
)

_KEPT = """
SELECT kind, count(*) FILTER (WHERE topic = %(topic)s), coalesce(sum(bytes), 0)::bigint
  FROM dead_letters
 WHERE replayed_at IS NULL GROUP BY kind
"""

# A log that begins again has its own record at an offset where the old log had a dead letter.
_SAVE = """
INSERT INTO dead_letters (topic, partition, "offset", key, value, reason, user_id, headers)
SELECT %s, %s, * FROM unnest(%s::bigint[], %b::bytea[], %b::bytea[], %s::text[], %s::text[],
       %s::jsonb[])
ON CONFLICT (topic, partition, "offset") DO UPDATE
   SET key = excluded.key, value = excluded.value, reason = excluded.reason,
       user_id = excluded.user_id,
       headers = excluded.headers, seen_at = now(),
       replayed_at = NULL, replayed_offset = NULL
"""

_COUNT = """
INSERT INTO dead_letters_not_kept AS n (topic, partition, kind, count, last_reason)
    VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (topic, partition, kind) DO UPDATE
   SET count = n.count + excluded.count, last_at = clock_timestamp(),
       last_reason = excluded.last_reason
"""

_EXPIRE = """
DELETE FROM dead_letters WHERE topic = %s AND partition = %s
   AND seen_at < now() - make_interval(days => %s)
"""


@dataclass(frozen=True, slots=True)
class NotKept:
    """Letters of one kind that found no place."""

    kind: str
    count: int
    last_reason: str


def kind_of_reason(reason: str) -> str:
    """Return the stable code before the colon."""
    return reason.partition(":")[0]


def admitted(
    letters: Iterable[DeadLetter], kept: Mapping[str, int], kept_bytes: int, quota: DeadLetterQuota
) -> tuple[list[DeadLetter], list[NotKept]]:
    """Choose the letters that have a place. A topic has ``kept`` letters of each kind, all topics
    ``kept_bytes``.
    """
    counts, left_out, last = Counter(kept), Counter[str](), dict[str, str]()
    places = []
    for letter in letters:
        kind = kind_of_reason(letter.reason)
        size_bytes = len(letter.value or b"")
        room = kept_bytes + size_bytes <= quota.max_bytes or counts[kind] < ALWAYS_KEPT
        if counts[kind] < quota.per_kind and room:
            counts[kind] += 1
            kept_bytes += size_bytes
            places.append(letter)
        else:
            left_out[kind] += 1
            last[kind] = letter.reason
    return places, [NotKept(kind, count, last[kind]) for kind, count in left_out.items()]


def headers_as_json(headers: Headers | None) -> str | None:
    """Return names, and values as hex or null: ``[["userId", "616e6e61"], …]``.

    Returns None if the headers are unknown or have too many bytes.
    """
    if (
        headers is None
        or sum(len(name) + len(value or b"") for name, value in headers) > MOST_HEADER_BYTES
    ):
        return None
    return json.dumps([[name, None if value is None else value.hex()] for name, value in headers])


def headers_from_json(kept: list[tuple[str, str | None]] | None) -> Headers | None:
    """Parse headers from JSON, as psycopg reads jsonb. The inverse of `headers_as_json`."""
    return (
        None
        if kept is None
        else [(name, None if value is None else bytes.fromhex(value)) for name, value in kept]
    )


def save_dead_letters(
    cursor: psycopg.Cursor[Any],
    partition: Partition,
    letters: Sequence[DeadLetter],
    quota: DeadLetterQuota,
) -> list[NotKept]:
    """Keep the letters that have a place and count the others, in the transaction of their batch.

    Locks only rows of this partition, so a worker that freezes here blocks no other worker.
    """
    expire_dead_letters(cursor, partition, quota)
    rows = cursor.execute(_KEPT, {"topic": partition.topic}).fetchall()
    kept = {kind: count for kind, count, _ in rows}
    places, left_out = admitted(letters, kept, sum(size_bytes for *_, size_bytes in rows), quota)
    for start in range(0, len(places), _LETTERS_AT_ONCE):
        _save(cursor, partition, places[start : start + _LETTERS_AT_ONCE])
    for one in left_out:
        cursor.execute(
            _COUNT, [partition.topic, partition.index, one.kind, one.count, one.last_reason]
        )
    return left_out


def _save(cursor: psycopg.Cursor[Any], partition: Partition, letters: Sequence[DeadLetter]) -> None:
    rows = (
        (d.offset, d.key, d.value, d.reason, d.user_id, headers_as_json(d.headers)) for d in letters
    )
    columns = zip(*rows, strict=True)
    cursor.execute(_SAVE, [partition.topic, partition.index, *map(list, columns)])


def expire_dead_letters(
    cursor: psycopg.Cursor[Any] | psycopg.Connection[Any],
    partition: Partition,
    quota: DeadLetterQuota,
) -> None:
    """Delete this partition's letters that are older than the quota's days."""
    if quota.days:
        cursor.execute(_EXPIRE, [partition.topic, partition.index, quota.days])
