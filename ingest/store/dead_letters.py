"""Dead letters: records that cannot be stored, kept for a person, within a quota.

Each kind of reason has its own places in each topic, so that a flood of one kind hides no other; when all of them together
have grown too large, a kind of which little is known still gets a few. What has no place is counted, by partition and kind.
The first of a kind are kept: they tell how it began, and what follows is the same. Those that were sent again hold no place.
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

#: Of a kind in a topic so many are kept, however full the rest is.
ALWAYS_KEPT = 10
#: Headers of more bytes are not kept: they would escape the quota, which counts values.
MOST_HEADER_BYTES = 4096
_LETTERS_AT_ONCE = 200  # of 64 KiB at most: a statement and its values must stay far below a gigabyte

_KEPT = """
SELECT kind, count(*) FILTER (WHERE topic = %(topic)s), coalesce(sum(bytes), 0)::bigint FROM dead_letters
 WHERE replayed_at IS NULL GROUP BY kind
"""

# A log that begins anew has its own record at an offset that the old one had a dead letter at.
_SAVE = """
INSERT INTO dead_letters (topic, partition, "offset", key, value, reason, user_id, headers)
SELECT %s, %s, * FROM unnest(%s::bigint[], %b::bytea[], %b::bytea[], %s::text[], %s::text[], %s::jsonb[])
ON CONFLICT (topic, partition, "offset") DO UPDATE
   SET key = excluded.key, value = excluded.value, reason = excluded.reason, user_id = excluded.user_id,
       headers = excluded.headers, seen_at = now(),
       replayed_at = NULL, replayed_offset = NULL
"""

_COUNT = """
INSERT INTO dead_letters_not_kept AS n (topic, partition, kind, count, last_reason) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (topic, partition, kind) DO UPDATE
   SET count = n.count + excluded.count, last_at = clock_timestamp(), last_reason = excluded.last_reason
"""

_EXPIRE = """
DELETE FROM dead_letters WHERE topic = %s AND partition = %s AND seen_at < now() - make_interval(days => %s)
"""


@dataclass(frozen=True, slots=True)
class NotKept:
    """Letters of one kind for which there was no place."""

    kind: str
    count: int
    last_reason: str


def kind_of_reason(reason: str) -> str:
    """The stable code before the colon."""
    return reason.partition(":")[0]


def admitted(
    letters: Iterable[DeadLetter], kept: Mapping[str, int], kept_bytes: int, quota: DeadLetterQuota
) -> tuple[list[DeadLetter], list[NotKept]]:
    """Which of these have a place, where a topic has ``kept`` so many of each kind and all topics ``kept_bytes``."""
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
    """``[["userId", "616e6e61"], …]``: names, and values as hex or null; None where they are not known or too many bytes."""
    if headers is None or sum(len(name) + len(value or b"") for name, value in headers) > MOST_HEADER_BYTES:
        return None
    return json.dumps([[name, None if value is None else value.hex()] for name, value in headers])


def headers_from_json(kept: list[tuple[str, str | None]] | None) -> Headers | None:
    """The same back, as psycopg reads jsonb."""
    return None if kept is None else [(name, None if value is None else bytes.fromhex(value)) for name, value in kept]


def save_dead_letters(
    cursor: psycopg.Cursor[Any], partition: Partition, letters: Sequence[DeadLetter], quota: DeadLetterQuota
) -> list[NotKept]:
    """Keep those that have a place, and count the others, in the transaction of the batch that they came in.

    Locks only rows of this partition: a worker that freezes here is in no other one's way.
    """
    expire_dead_letters(cursor, partition, quota)
    rows = cursor.execute(_KEPT, {"topic": partition.topic}).fetchall()
    kept = {kind: count for kind, count, _ in rows}
    places, left_out = admitted(letters, kept, sum(size_bytes for *_, size_bytes in rows), quota)
    for start in range(0, len(places), _LETTERS_AT_ONCE):
        part = places[start : start + _LETTERS_AT_ONCE]
        rows_of = ((d.offset, d.key, d.value, d.reason, d.user_id, headers_as_json(d.headers)) for d in part)
        columns = zip(*rows_of, strict=True)
        cursor.execute(_SAVE, [partition.topic, partition.index, *map(list, columns)])
    for one in left_out:
        cursor.execute(_COUNT, [partition.topic, partition.index, one.kind, one.count, one.last_reason])
    return left_out


def expire_dead_letters(
    cursor: psycopg.Cursor[Any] | psycopg.Connection[Any], partition: Partition, quota: DeadLetterQuota
) -> None:
    """Delete this partition's letters that are old enough."""
    if quota.days:
        cursor.execute(_EXPIRE, [partition.topic, partition.index, quota.days])
