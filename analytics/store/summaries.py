"""Reads summaries of frames: one row for each second and each lap of a session.

Use these instead of the frames to draw a whole session, or to compare laps at a glance. They are
views or continuous aggregates of the store (`ingest.store.schema.continuous_aggregates`). Columns
and results are the same in every edition. Rule: the lap engine defines a lap, here as everywhere.
Its frames are those from its start to its end; the game's lap counter in them does not matter.
"""

from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, LiteralString

import psycopg
import pyarrow as pa
from psycopg import sql
from psycopg.rows import class_row, dict_row

from analytics.model.session import SessionInfo
from analytics.model.summary import BRAKING, FULL_THROTTLE, SECONDS, LapSummary
from analytics.store.arrow_fetch import read_table
from analytics.store.queries import session

# A function, because a condition on the seconds or minutes of a view reaches no index on time
# (`ingest.store.schema.continuous_aggregates`).
_SECONDS_OF_SESSION = """
  FROM telemetry_1s_of(%(session_id)s, coalesce(%(since)s::timestamptz, '-infinity'),
      coalesce(%(until)s::timestamptz, 'infinity'))
 ORDER BY second
"""

_LAP_SUMS = """
min(time) AS first_frame_at,
max(time) AS last_frame_at,
count(*) AS frames,
min(speed_kmh) AS min_speed_kmh,
avg(speed_kmh) AS avg_speed_kmh,
max(speed_kmh) AS max_speed_kmh,
(count(*) FILTER (WHERE throttle >= {full_throttle}))::float8 / nullif(count(*), 0)::float8
    AS full_throttle_share,
(count(*) FILTER (WHERE brake >= {braking}))::float8 / nullif(count(*), 0)::float8 AS braking_share,
max(rpm) AS max_rpm
"""

# A lap's frames lie between its start and its end. The kept sums of a lap are valid as long as the
# lap is unchanged.
_FINISHED_LAPS = """
SELECT l.session_id, l.lap_number, s.*
  FROM laps l
  LEFT JOIN lap_sums k ON (k.session_id, k.lap_number, k.started_at, k.ended_at, k.lap_frames)
                        = (l.session_id, l.lap_number, l.started_at, l.ended_at, l.frames)
 CROSS JOIN LATERAL (
       SELECT k.first_frame_at, k.last_frame_at, k.frames, k.min_speed_kmh, k.avg_speed_kmh,
              k.max_speed_kmh,
              k.full_throttle_share, k.braking_share, k.max_rpm
        WHERE k.frames > 0
       UNION ALL
       SELECT {sums} FROM telemetry t
        WHERE k.session_id IS NULL AND t.session_id = l.session_id AND t.time >= l.started_at
          AND t.time < l.ended_at {within}
       HAVING count(*) > 0) AS s
"""

# The time range of the requested laps, and the start of the lap in progress.
_BOUNDS = """
SELECT min(started_at) FILTER (WHERE wanted) AS since, max(ended_at) FILTER (WHERE wanted) AS until,
       max(lap_number) + 1 AS next, max(ended_at) AS begun
  FROM (SELECT *, lap_number BETWEEN coalesce(%(first)s::numeric, -2147483648)
      AND coalesce(%(last)s::numeric, 2147483647) AS wanted
          FROM laps WHERE session_id = %(session_id)s) AS l
"""

# Before the first lap is over, the lap in progress has the game's number.
_FIRST_NUMBER = """
SELECT lap_number FROM telemetry
 WHERE session_id = %(session_id)s AND time <= coalesce(%(last_frame_at)s::timestamptz, 'infinity')
   AND lap_number IS NOT NULL
 ORDER BY time LIMIT 1
"""

# The query states the times twice. The times of laps are known only when the query runs, after
# every chunk of the store is planned. A lap among 200 chunks took 160 ms, and takes 23 ms with the
# times as parameters too.
_LAPS_OF_SESSION = """
SELECT lap_number, {columns} FROM ({finished}) AS f
 WHERE session_id = %(session_id)s
   AND lap_number BETWEEN coalesce(%(first)s::numeric, -2147483648)
   AND coalesce(%(last)s::numeric, 2147483647)
UNION ALL
SELECT %(next)s::integer, {columns}
  FROM (SELECT {sums} FROM telemetry
         WHERE session_id = %(session_id)s AND time >= coalesce(%(begun)s::timestamptz, '-infinity')
           AND time <= coalesce(%(last_frame_at)s::timestamptz, 'infinity')
        HAVING count(*) > 0) AS s
 WHERE %(next)s BETWEEN coalesce(%(first)s::numeric, -2147483648)
   AND coalesce(%(last)s::numeric, 2147483647)
 ORDER BY lap_number
"""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some seconds of a session. ``next`` is the start of the piece after it; None where this is
    the last.
    """

    seconds: pa.Table
    next: datetime | None


def seconds(conn: psycopg.Connection[Any], key: str) -> pa.Table:
    """Return the seconds of a session in order of time, as `SECONDS`. Raises UnknownSession."""
    return _seconds(conn, session(conn, key).id, since=None, until=None)


def seconds_from(
    conn: psycopg.Connection[Any], key: str, since: datetime | None, *, length: timedelta
) -> Piece:
    """Return the seconds from that of ``since`` on, or from the first, for ``length`` at most.

    Raises UnknownSession.
    """
    found = session(conn, key)
    since = since and since.replace(microsecond=0)
    started_at = found.started_at and found.started_at.replace(microsecond=0)
    # A start long before the session skips the hours in which nothing was driven.
    begin = max(filter(None, (since, started_at)), default=None)
    more = begin and found.last_frame_at and found.last_frame_at - begin >= length
    until = begin + length if begin and more else None
    return Piece(_seconds(conn, found.id, since=since, until=until), until)


def lap_summaries(
    conn: psycopg.Connection[Any], key: str, *, first: int | None = None, last: int | None = None
) -> list[LapSummary]:
    """Return the summaries of a session's laps, first to last, with the lap in progress. Raises
    UnknownSession.

    ``first`` and ``last`` limit the lap numbers.
    """
    where = _bounds(conn, session(conn, key), first, last)
    columns = sql.SQL(", ").join(sql.Identifier(field.name) for field in fields(LapSummary)[1:])
    finished = finished_laps("AND t.time >= %(since)s AND t.time < %(until)s")
    query = sql.SQL(_LAPS_OF_SESSION).format(columns=columns, finished=finished, sums=lap_sums())
    with conn.cursor(row_factory=class_row(LapSummary)) as cursor:
        # Not prepared: a plan that is kept for other times would cover all chunks again.
        return cursor.execute(query, where, prepare=False).fetchall()


def _bounds(
    conn: psycopg.Connection[Any], of: SessionInfo, first: int | None, last: int | None
) -> dict[str, Any]:
    """Return the parameters of the queries for laps ``first`` to ``last`` of a session."""
    where: dict[str, Any] = {"session_id": of.id, "last_frame_at": of.last_frame_at}
    where |= {"first": first, "last": last}
    with conn.cursor(row_factory=dict_row) as cursor:
        where |= cursor.execute(_BOUNDS, where).fetchone() or {}
    if where["next"] is None:
        where["next"], *_ = conn.execute(_FIRST_NUMBER, where).fetchone() or (None,)
    return where


def finished_laps(within: LiteralString = "") -> sql.Composed:
    """Return the query for `LapSummary` of finished laps, with ``session_id``.

    ``within`` is a further condition on the frames ``t``.
    """
    return sql.SQL(_FINISHED_LAPS).format(sums=lap_sums(), within=sql.SQL(within))


def lap_sums() -> sql.Composed:
    """Return the sums that are kept of a lap's frames, as columns of a query on `telemetry`.

    They are those of `LapSummary` without its number.
    """
    return sql.SQL(_LAP_SUMS).format(
        full_throttle=sql.Literal(FULL_THROTTLE), braking=sql.Literal(BRAKING)
    )


def _seconds(
    conn: psycopg.Connection[Any],
    session_id: int,
    *,
    since: datetime | None,
    until: datetime | None,
) -> pa.Table:
    where = {"session_id": session_id, "since": since, "until": until}
    return read_table(conn, SECONDS, sql.SQL(_SECONDS_OF_SESSION).format(), where)
