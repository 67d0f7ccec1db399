"""Stores colours of laps and best times: the fastest at each moment, among the laps of all workers.

Runs statements on an open connection; `analytics.laps.best_laps` decides the colours. Rule: one
worker at a time judges a scope. It does so in a transaction of its own, after the laps were stored.
So no two workers call two laps the best. A worker that finds a scope being judged does not wait: it
tries again later.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from analytics.laps.best_laps import (
    BestTime,
    Category,
    Colours,
    Driven,
    LapPart,
    colour_against,
    judge,
    layout_of,
)
from analytics.model.lap import sector_ends_us
from analytics.store.queries import LAPS, lap_of
from ingest.batching.partition_log import Partition
from ingest.batching.write_batch import RunningLap

# A lap that takes longer than this is not judged again when an earlier lap is corrected.
_LONGEST_LAP_US = 3_600_000_000

_LOCK = (
    "SELECT pg_try_advisory_xact_lock(hashtextextended(concat_ws(E'\\x1f', 'bests', %s::text,"
    " %s::text, %s::text), 0))"
)

_DRIVEN = sql.SQL("""
SELECT l.*, s.key, coalesce(nullif(s.user_id, ''), nullif(s.driver, ''), s.key) AS owner,
       coalesce(s.track_id, 0) AS track_version,
       coalesce(c.colour, '') AS colour, coalesce(c.sector_colours, '{{}}') AS sector_colours,
       coalesce(c.version, 0) AS version,
       c.time_ms AS judged_ms
  FROM ({laps} WHERE started_at >= to_timestamp(%(since_us)s / 1e6) - %(longest_us)s * interval
      '1 microsecond') l
  JOIN sessions s ON s.id = l.session_id
  LEFT JOIN lap_colours c ON c.session_id = l.session_id AND c.lap_number = l.lap_number
 WHERE s.game = %(game)s AND s.track = %(track)s AND s.car = %(car)s
   AND NOT s.hidden AND l.ended_at_us >= %(since_us)s
""").format(laps=sql.SQL(LAPS))

_STANDING = """
SELECT DISTINCT ON (owner, part, layout) owner, part, layout, time_ms, 0, session_id, lap_number
  FROM bests
 WHERE game = %(game)s AND track = %(track)s AND car = %(car)s
   AND set_at < to_timestamp(%(since_us)s / 1e6)
 ORDER BY owner, part, layout, time_ms
"""

# Records that stood when a sector ended: the overall best, and the best of this driver.
_BEATEN = """
SELECT w.session_id, w.time_ms, min(b.time_ms) FILTER (WHERE b.owner = ''), min(b.time_ms)
       FILTER (WHERE b.owner <> '')
  FROM unnest(%s::integer[], %s::integer[], %s::text[], %s::integer[], %s::bigint[])
       AS w(session_id, part, layout, time_ms, ended_at_us)
  JOIN sessions s ON s.id = w.session_id AND s.track <> '' AND NOT s.hidden
  LEFT JOIN bests b ON b.game = s.game AND b.track = s.track AND b.car = s.car AND b.part = w.part
   AND b.layout = w.layout
   AND b.owner IN ('', coalesce(nullif(s.user_id, ''), nullif(s.driver, ''), s.key))
   AND b.set_at < to_timestamp(w.ended_at_us / 1e6)
 GROUP BY w.session_id, w.part, w.time_ms
 ORDER BY w.session_id, w.part
"""

# Before anything is read: what is deleted or hidden later leaves a row for the next to judge.
_TAKE_DUE = """
WITH taken AS (
    DELETE FROM judgements_due WHERE game = %(game)s AND track = %(track)s AND car = %(car)s
    RETURNING since)
SELECT least(%(since_us)s, (extract(epoch FROM min(since)) * 1000000)::bigint) FROM taken
"""

_DUE = """
SELECT game, track, car, (extract(epoch FROM min(since)) * 1000000)::bigint FROM judgements_due
 WHERE (topic = %(topic)s AND partition = %(index)s)
    OR noted_at < clock_timestamp() - %(after_s)s * interval '1 second'
 GROUP BY game, track, car
"""

_FORGET = """
DELETE FROM bests
 WHERE game = %(game)s AND track = %(track)s AND car = %(car)s
   AND set_at >= to_timestamp(%(since_us)s / 1e6)
"""

_SAVE_RECORD = """
INSERT INTO bests (game, track, car, owner, part, layout, time_ms, set_at, session_id, lap_number)
VALUES (%s, %s, %s, %s, %s, %s, %s, to_timestamp(%s / 1e6), %s, %s)
"""

_SAVE_COLOURS = """
INSERT INTO lap_colours AS c (session_id, lap_number, colour, sector_colours, version, time_ms)
    VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (session_id, lap_number) DO UPDATE
   SET colour = excluded.colour, sector_colours = excluded.sector_colours,
       version = excluded.version, time_ms = excluded.time_ms
 WHERE (c.version, c.time_ms) IS DISTINCT FROM (excluded.version, excluded.time_ms)
"""

# Finds laps that were stored and not judged, because the worker ended in between. Finds also
# records in the wrong scope: a session's car, track or driver was reported differently at first.
# Covers sessions of the last day. Older laps are for `purple-sector laps recompute`.
_UNJUDGED = """
WITH own AS (
    SELECT *, coalesce(nullif(user_id, ''), nullif(driver, ''), key) AS owner
      FROM sessions WHERE topic = %(topic)s AND partition = %(index)s AND NOT hidden
       AND updated_at > now() - interval '1 day'
),
found AS (
    SELECT s.game, s.track, s.car, l.started_at AS since
      FROM own s
      JOIN laps l ON l.session_id = s.id
      LEFT JOIN lap_colours c ON c.session_id = l.session_id AND c.lap_number = l.lap_number
     WHERE s.track <> ''
       AND CASE WHEN l.flags = '{}' AND l.lap_time_ms IS NOT NULL
                THEN c.time_ms IS DISTINCT FROM coalesce(l.official_lap_time_ms, l.lap_time_ms)
                ELSE c.colour <> '' END
    UNION ALL
    SELECT b.game, b.track, b.car, b.set_at
      FROM own s JOIN bests b ON b.session_id = s.id
     WHERE (b.game, b.track, b.car) <> (s.game, s.track, s.car) OR b.owner NOT IN ('', s.owner)
)
SELECT game, track, car, (extract(epoch FROM min(since)) * 1000000)::bigint FROM found
 GROUP BY game, track, car
"""


@dataclass(frozen=True, slots=True)
class Judged:
    """A lap whose colours are new, and its session's key."""

    session_key: str
    driven: Driven


def judge_scope(
    conn: psycopg.Connection[Any], scope: Category, since_us: int
) -> list[Judged] | None:
    """Judge all laps that ended in a scope from ``since_us`` on, and save it. None if another
    worker does so.

    Judges from earlier on where a session of the scope was deleted, hidden or shown.
    """
    place = (scope.game, scope.track, scope.car)
    where = {
        "game": scope.game,
        "track": scope.track,
        "car": scope.car,
        "since_us": since_us,
        "longest_us": _LONGEST_LAP_US,
    }
    with conn.transaction():
        if conn.execute(_LOCK, place).fetchone() != (True,):
            return None
        (since_us,) = conn.execute(_TAKE_DUE, where).fetchone() or (since_us,)
        where["since_us"] = since_us
        with conn.cursor(row_factory=dict_row) as cursor:
            found = [_found(row) for row in cursor.execute(_DRIVEN, where)]
        assigned, records = judge(
            [one.driven for one in found], _standing(conn, where), since_us=since_us
        )
        changed = {
            (d.session_id, d.lap.lap_number): replace(d, assigned=colours)
            for d, colours in assigned
        }
        now = [replace(one, driven=changed.get(one.lap, one.driven)) for one in found]
        conn.execute(_FORGET, where)
        with conn.cursor() as cursor:
            cursor.executemany(_SAVE_RECORD, [(*place, *_record_row(record)) for record in records])
            cursor.executemany(
                _SAVE_COLOURS,
                [_colours_row(one.driven) for one in now if one.lap in changed or one.is_new],
            )
    return [Judged(one.session_key, one.driven) for one in now if one.lap in changed]


def colour_running(conn: psycopg.Connection[Any], laps: Sequence[RunningLap]) -> list[RunningLap]:
    """Return these laps with the colours of their sectors. Stores nothing: only finished laps set
    records.

    Sectors of other laps in progress are not known here. So two cars may both be purple until their
    laps are judged.
    """
    rows = [row for lap in laps if not lap.lap.flags for row in _ended(lap)]
    colours: dict[int, list[str]] = defaultdict(list)
    if rows:
        columns = [list(column) for column in zip(*rows, strict=True)]
        for session_id, time_ms, of_all_ms, own_ms in conn.execute(_BEATEN, columns):
            colours[session_id].append(colour_against(time_ms, of_all_ms=of_all_ms, own_ms=own_ms))
    return [replace(lap, sector_colours=tuple(colours[lap.session_id])) for lap in laps]


def unjudged(conn: psycopg.Connection[Any], partition: Partition) -> dict[Category, int]:
    """Return the scopes with laps of this partition, or their records, that are not judged as
    stored.

    Each has the earliest time concerned, in µs.
    """
    rows = conn.execute(_UNJUDGED, {"topic": partition.topic, "index": partition.index})
    return {Category(game, track, car): since_us for game, track, car, since_us in rows}


def judgements_due(
    conn: psycopg.Connection[Any], partition: Partition | None = None, *, after_s: float = 1e9
) -> dict[Category, int]:
    """Return the scopes to judge again because a session was deleted, hidden or shown, each with
    the earliest time concerned, in µs.

    They are those of sessions of ``partition``, and all that wait for longer than ``after_s``.
    """
    place = {"topic": partition.topic, "index": partition.index} if partition else {}
    where = {"topic": "", "index": -1, "after_s": after_s} | place
    rows = conn.execute(_DUE, where)
    return {Category(game, track, car): since_us for game, track, car, since_us in rows}


def _ended(running: RunningLap) -> Iterable[tuple[int, int, str, int, int]]:
    lap, layout = running.lap, layout_of(running.lap.sector_source, running.track_version)
    parts = zip(lap.sector_times_ms, sector_ends_us(lap), strict=True)
    for part, (time_ms, ended_at_us) in enumerate(parts, 1):
        yield running.session_id, part, layout, time_ms, ended_at_us


def _standing(conn: psycopg.Connection[Any], where: dict[str, Any]) -> list[BestTime]:
    return [
        BestTime(owner, LapPart(index, layout), *rest)
        for owner, index, layout, *rest in conn.execute(_STANDING, where)
    ]


@dataclass(frozen=True, slots=True)
class _Found:
    """A lap of the scope, and the time that it was last judged by, or None."""

    session_key: str
    driven: Driven
    judged_ms: int | None

    @property
    def lap(self) -> tuple[int, int]:
        return self.driven.session_id, self.driven.lap.lap_number

    @property
    def is_new(self) -> bool:
        """Return whether the store does not know yet that the lap was judged as it is."""
        return (
            self.driven.counts or self.driven.assigned.version > 0
        ) and self.judged_ms != self.driven.lap.time_ms


def _found(row: dict[str, Any]) -> _Found:
    key, owner, track_version, judged_ms = (
        row.pop(name) for name in ("key", "owner", "track_version", "judged_ms")
    )
    assigned = Colours(row.pop("colour"), tuple(row.pop("sector_colours")), row.pop("version"))
    return _Found(
        key, Driven(row["session_id"], owner, track_version, lap_of(row), assigned), judged_ms
    )


def _record_row(record: BestTime) -> tuple[Any, ...]:
    part = record.part
    return (
        record.owner,
        part.index,
        part.layout,
        record.time_ms,
        record.set_at_us,
        record.session_id,
        record.lap_number,
    )


def _colours_row(driven: Driven) -> tuple[Any, ...]:
    assigned: Colours = driven.assigned
    sectors: Sequence[str] = list(assigned.sectors)
    return (
        driven.session_id,
        driven.lap.lap_number,
        assigned.lap,
        sectors,
        assigned.version,
        driven.lap.time_ms,
    )
