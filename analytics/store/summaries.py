"""Summaries of frames: what each second and each lap of a session came to.

Whoever draws a whole session, or compares laps at a glance, reads these and not the frames. They are views or continuous
aggregates of the store (`ingest.store.schema.continuous_aggregates`), with the same columns and answers in every edition. Rule: a lap is what the lap engine
says it is, here as everywhere: the frames from its start to its end, whatever the game's counter said in them.
"""

from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, LiteralString

import psycopg
import pyarrow as pa
from psycopg import sql
from psycopg.rows import class_row, dict_row

from analytics.model.summary import BRAKING, FULL_THROTTLE, SECONDS, LapSummary
from analytics.store.arrow_fetch import read_table
from analytics.store.queries import session

# Functions, for what a view is asked about its seconds or minutes reaches no index on time (`ingest.store.schema.continuous_aggregates`).
_SECONDS_OF_SESSION = """
  FROM telemetry_1s_of(%(session_id)s, coalesce(%(since)s::timestamptz, '-infinity'), coalesce(%(until)s::timestamptz, 'infinity'))
 ORDER BY second
"""

_LAP_SUMS = """
min(time) AS first_frame_at,
max(time) AS last_frame_at,
count(*) AS frames,
min(speed_kmh) AS min_speed_kmh,
avg(speed_kmh) AS avg_speed_kmh,
max(speed_kmh) AS max_speed_kmh,
(count(*) FILTER (WHERE throttle >= {full_throttle}))::float8 / nullif(count(*), 0)::float8 AS full_throttle_share,
(count(*) FILTER (WHERE brake >= {braking}))::float8 / nullif(count(*), 0)::float8 AS braking_share,
max(rpm) AS max_rpm
"""

# A lap's frames lie between its start and its end. What was kept of them stands for as long as the lap is as it was then.
_FINISHED_LAPS = """
SELECT l.session_id, l.lap_number, s.*
  FROM laps l
  LEFT JOIN lap_sums k ON (k.session_id, k.lap_number, k.started_at, k.ended_at, k.lap_frames)
                        = (l.session_id, l.lap_number, l.started_at, l.ended_at, l.frames)
 CROSS JOIN LATERAL (
       SELECT k.first_frame_at, k.last_frame_at, k.frames, k.min_speed_kmh, k.avg_speed_kmh, k.max_speed_kmh,
              k.full_throttle_share, k.braking_share, k.max_rpm
        WHERE k.frames > 0
       UNION ALL
       SELECT {sums} FROM telemetry t
        WHERE k.session_id IS NULL AND t.session_id = l.session_id AND t.time >= l.started_at AND t.time < l.ended_at {within}
       HAVING count(*) > 0) AS s
"""

# When the laps that are asked for were driven, and where the one in progress begins.
_BOUNDS = """
SELECT min(started_at) FILTER (WHERE wanted) AS since, max(ended_at) FILTER (WHERE wanted) AS until,
       max(lap_number) + 1 AS next, max(ended_at) AS begun
  FROM (SELECT *, lap_number BETWEEN coalesce(%(first)s::numeric, -2147483648) AND coalesce(%(last)s::numeric, 2147483647) AS wanted
          FROM laps WHERE session_id = %(session_id)s) AS l
"""

# Before the first lap is over, the one in progress has the number that the game gave it.
_FIRST_NUMBER = """
SELECT lap_number FROM telemetry
 WHERE session_id = %(session_id)s AND time <= coalesce(%(last_frame_at)s::timestamptz, 'infinity') AND lap_number IS NOT NULL
 ORDER BY time LIMIT 1
"""

# With the times said twice: those of laps are known only when the query runs, and by then every chunk of the store has been
# planned for: 160 ms for a lap among 200 chunks, and 23 ms so.
_LAPS_OF_SESSION = """
SELECT lap_number, {columns} FROM ({finished}) AS f
 WHERE session_id = %(session_id)s
   AND lap_number BETWEEN coalesce(%(first)s::numeric, -2147483648) AND coalesce(%(last)s::numeric, 2147483647)
UNION ALL
SELECT %(next)s::integer, {columns}
  FROM (SELECT {sums} FROM telemetry
         WHERE session_id = %(session_id)s AND time >= coalesce(%(begun)s::timestamptz, '-infinity')
           AND time <= coalesce(%(last_frame_at)s::timestamptz, 'infinity')
        HAVING count(*) > 0) AS s
 WHERE %(next)s BETWEEN coalesce(%(first)s::numeric, -2147483648) AND coalesce(%(last)s::numeric, 2147483647)
 ORDER BY lap_number
"""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some seconds of a session. ``next`` is where the piece after it begins, None where this is the last."""

    seconds: pa.Table
    next: datetime | None


def seconds(conn: psycopg.Connection[Any], key: str) -> pa.Table:
    """The seconds of a session in order of time, as `SECONDS`. Raises UnknownSession."""
    return _seconds(conn, session(conn, key).id, since=None, until=None)


def seconds_from(conn: psycopg.Connection[Any], key: str, since: datetime | None, *, length: timedelta) -> Piece:
    """The seconds from that of ``since`` on, or from the first; as many as a piece of that length holds. Raises UnknownSession."""
    found = session(conn, key)
    since = since and since.replace(microsecond=0)
    started_at = found.started_at and found.started_at.replace(microsecond=0)
    # Who asks from long before is not led through all the hours in which nothing was driven.
    begin = max(filter(None, (since, started_at)), default=None)
    more = begin and found.last_frame_at and found.last_frame_at - begin >= length
    until = begin + length if begin and more else None
    return Piece(_seconds(conn, found.id, since=since, until=until), until)


def lap_summaries(
    conn: psycopg.Connection[Any], key: str, *, first: int | None = None, last: int | None = None
) -> list[LapSummary]:
    """The laps of a session, first to last, with the one in progress; or those from one to another. Raises UnknownSession."""
    found = session(conn, key)
    where = {"session_id": found.id, "last_frame_at": found.last_frame_at, "first": first, "last": last}
    with conn.cursor(row_factory=dict_row) as cursor:
        where |= cursor.execute(_BOUNDS, where).fetchone() or {}
    if where["next"] is None:
        where["next"], *_ = conn.execute(_FIRST_NUMBER, where).fetchone() or (None,)
    columns = sql.SQL(", ").join(sql.Identifier(field.name) for field in fields(LapSummary)[1:])
    finished = finished_laps("AND t.time >= %(since)s AND t.time < %(until)s")
    query = sql.SQL(_LAPS_OF_SESSION).format(columns=columns, finished=finished, sums=lap_sums())
    with conn.cursor(row_factory=class_row(LapSummary)) as cursor:
        # Not prepared: a plan that is kept for other times would be for all chunks again.
        return cursor.execute(query, where, prepare=False).fetchall()


def finished_laps(within: LiteralString = "") -> sql.Composed:
    """The query for `LapSummary` of finished laps, with ``session_id``; ``within`` is a further condition on the frames ``t``."""
    return sql.SQL(_FINISHED_LAPS).format(sums=lap_sums(), within=sql.SQL(within))


def lap_sums() -> sql.Composed:
    """What is kept of a lap's frames: `LapSummary` without its number, as columns of a query on `telemetry`."""
    return sql.SQL(_LAP_SUMS).format(full_throttle=sql.Literal(FULL_THROTTLE), braking=sql.Literal(BRAKING))


def _seconds(
    conn: psycopg.Connection[Any], session_id: int, *, since: datetime | None, until: datetime | None
) -> pa.Table:
    where = {"session_id": session_id, "since": since, "until": until}
    return read_table(conn, SECONDS, sql.SQL(_SECONDS_OF_SESSION).format(), where)
