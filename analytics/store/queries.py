"""Reads sessions, laps and frames from the store, as small values and Arrow tables.

Every function takes an open psycopg connection and reads once. None of them writes, keeps state or
knows the ingest process. Rule: the frames of a lap are those from its start to its end, by time.
The game's lap counter in the frames does not matter (`analytics.laps.engine`).
"""

from collections.abc import Sequence
from typing import Any

import psycopg
import pyarrow as pa
from psycopg.rows import class_row, dict_row

from analytics.errors import UnknownLap, UnknownSession
from analytics.laps.engine import RESUME_MARGIN_US
from analytics.model.channels import FRAMES, schema_of
from analytics.model.lap import Lap
from analytics.model.session import Gap, PartitionOffset, SessionInfo
from analytics.store.frame_pages import frames

Connection = psycopg.Connection[Any]


SESSION = """
SELECT id, key, user_id, game, track, car, driver, track_length_m, sector_count, sample_rate_hz,
       started_at, last_frame_at, frames, title, hidden
  FROM sessions
"""

# The primary key gives the order: a page is read from the key's end, and a search examines a
# session's few words.
_PAGE_OF_SESSIONS = (
    SESSION
    + """
 WHERE id < coalesce(%(before)s::bigint, 9223372036854775807)
   AND NOT EXISTS (
         SELECT FROM unnest(%(words)s::text[]) AS word
          WHERE strpos(lower(concat_ws(' ', key, user_id, driver, car, track, game, title)),
                       word) = 0)
   AND (%(owners)s::text[] IS NULL OR user_id = ANY(%(owners)s::text[])
        OR key = ANY(%(shared)s::text[]))
   AND (NOT hidden OR %(hidden_of)s::text[] IS NULL OR user_id = ANY(%(hidden_of)s::text[]))
 ORDER BY id DESC LIMIT %(limit)s
"""
)

_SESSION_OF_KEY = (
    SESSION
    + """
 WHERE key = %(key)s
   AND (%(owners)s::text[] IS NULL OR user_id = ANY(%(owners)s::text[])
        OR key = ANY(%(shared)s::text[]))
   AND (NOT hidden OR %(hidden_of)s::text[] IS NULL OR user_id = ANY(%(hidden_of)s::text[]))
"""
)

#: A row has the columns for `lap_of`, and the session of the lap.
LAPS = """
SELECT session_id, lap_number, (extract(epoch FROM started_at) * 1000000)::bigint AS started_at_us,
       (extract(epoch FROM ended_at) * 1000000)::bigint AS ended_at_us, lap_time_ms,
       official_lap_time_ms, sector_times_ms, sector_source, flags, frames, gaps, max_speed_kmh,
       max_speed_position, reasons,
       computed_sector_times_ms, mini_sector_times_ms, line_position, sector_positions,
       sector_ends_us, engine
  FROM laps
"""
_LAPS_OF_SESSION = LAPS + " WHERE session_id = %(session_id)s"

_GAPS = """
SELECT g.id, s.key AS session_key, from_sequence, to_sequence, g.topic, g.partition, from_offset,
       to_offset, reason, seen_at
  FROM gaps g LEFT JOIN sessions s ON s.id = g.session_id
 WHERE resolved_at IS NULL ORDER BY g.id DESC LIMIT %(limit)s
"""

_LAP_BOUNDS = """
SELECT started_at, ended_at FROM laps WHERE session_id = %(session_id)s
   AND lap_number = %(lap_number)s
"""

# The lap in progress begins where the last finished one ended.
_OPEN_LAP_BOUNDS = """
SELECT ended_at AS started_at, NULL::timestamptz AS ended_at
  FROM laps
 WHERE session_id = %(session_id)s AND lap_number = %(lap_number)s - 1
   AND NOT EXISTS (SELECT FROM laps WHERE session_id = %(session_id)s
       AND lap_number > %(lap_number)s)
"""

_IN_LAP = """
time >= %(started_at)s AND time < coalesce(%(ended_at)s::timestamptz, 'infinity')
   AND time <= coalesce(%(last_frame_at)s::timestamptz, 'infinity')
"""

_BEFORE_LATE = " AND started_at <= to_timestamp(%(late_from_us)s / 1e6)"
_TO_RESUME = """
time >= coalesce((SELECT max(time) FROM telemetry WHERE session_id = %(session_id)s
    AND time < to_timestamp(%(margin_us)s / 1e6)), '-infinity')
"""


def sessions(
    conn: Connection,
    *,
    limit: int = 100,
    before: int | None = None,
    search: str = "",
    owners: Sequence[str] | None = None,
    shared: Sequence[str] = (),
    hidden_of: Sequence[str] | None = None,
) -> list[SessionInfo]:
    """Return the sessions that came last into the store, newest first.

    A session that is replayed today is new, even if it was driven long ago. ``before`` is the
    ``id`` of the last session of the previous page. Each word of ``search`` is in the key, user,
    driver, car, track, game or title of every session. Case does not matter. ``owners`` are the
    users whose sessions are returned, and ``shared`` the keys of others that are, too; None: all.
    ``hidden_of`` are the users whose hidden sessions are among them; None: all.
    """
    if "\0" in search:
        # PostgreSQL has no text with a NUL character.
        return []
    words = search.lower().split()
    readable = _readable(owners, shared, hidden_of)
    where = {"limit": limit, "before": before, "words": words, **readable}
    with conn.cursor(row_factory=class_row(SessionInfo)) as cursor:
        return cursor.execute(_PAGE_OF_SESSIONS, where).fetchall()


def session(
    conn: Connection,
    key: str,
    *,
    owners: Sequence[str] | None = None,
    shared: Sequence[str] = (),
    hidden_of: Sequence[str] | None = None,
) -> SessionInfo:
    """Return the session of this key, if it belongs to one of ``owners`` or is one of ``shared``;
    None: any.

    A hidden one has to belong to one of ``hidden_of``, too.

    Raises UnknownSession, in the same words for a session of another owner.
    """
    if "\0" in key:
        # PostgreSQL has no text with a NUL character, and would refuse the query.
        raise UnknownSession(key)
    where = {"key": key, **_readable(owners, shared, hidden_of)}
    with conn.cursor(row_factory=class_row(SessionInfo)) as cursor:
        found = cursor.execute(_SESSION_OF_KEY, where).fetchone()
    if found is None:
        raise UnknownSession(key)
    return found


def _readable(
    owners: Sequence[str] | None, shared: Sequence[str], hidden_of: Sequence[str] | None
) -> dict[str, list[str] | None]:
    return {
        "owners": None if owners is None else list(owners),
        "shared": list(shared),
        "hidden_of": None if hidden_of is None else list(hidden_of),
    }


def laps(conn: Connection, key: str) -> list[Lap]:
    """Return the finished laps of a session, first to last. Raises UnknownSession."""
    return _laps(conn, _LAPS_OF_SESSION + " ORDER BY lap_number", session(conn, key).id)


def open_lap(finished: Sequence[Lap]) -> int | None:
    """Return the number of the lap in progress after these laps; None before the first."""
    return finished[-1].lap_number + 1 if finished else None


def lap_frames(
    conn: Connection, key: str, lap_number: int, *, columns: Sequence[str] = FRAMES.names
) -> pa.Table:
    """Return the frames of a lap in order of time: those columns of FRAMES, in that order.

    For the lap in progress, `open_lap`, it returns the frames that are stored so far. Raises
    UnknownSession, UnknownLap, UnknownChannel.
    """
    return frames_of_lap(conn, session(conn, key), lap_number, columns=columns)


def frames_of_lap(
    conn: Connection, found: SessionInfo, lap_number: int, *, columns: Sequence[str] = FRAMES.names
) -> pa.Table:
    """Return the frames of a lap as `lap_frames` does, for a session that is at hand.

    Raises UnknownLap, UnknownChannel.
    """
    schema = schema_of(columns)
    # The session's last frame rules out the days after it, where no next lap does so.
    where = {"session_id": found.id, "lap_number": lap_number, "last_frame_at": found.last_frame_at}
    with conn.cursor(row_factory=dict_row) as cursor:
        bounds = (
            cursor.execute(_LAP_BOUNDS, where).fetchone()
            or cursor.execute(_OPEN_LAP_BOUNDS, where).fetchone()
        )
    if bounds is None:
        raise UnknownLap(found.key, lap_number)
    return frames(conn, schema, found.id, condition=_IN_LAP, where=where | bounds)


def frames_to_resume(
    conn: Connection, session_id: int, *, late_from_us: int | None = None
) -> tuple[pa.Table, Lap | None]:
    """Return the stored frames that `analytics.laps.engine.resume` needs, in order of time, and the
    last finished lap.

    With ``late_from_us``, the lap is the last one that frames from that time on cannot change. Late
    data can change where a lap ended. So it is the lap before the one that was being driven.
    Without such a lap the function returns all frames, for `analytics.laps.engine.advance`.
    """
    before, skip = ("", 0) if late_from_us is None else (_BEFORE_LATE, 1)
    query = f"{_LAPS_OF_SESSION}{before} ORDER BY lap_number DESC LIMIT 1 OFFSET {skip}"
    last = _laps(conn, query, session_id, late_from_us)
    # Without a lap, a time a little before 1970: earlier than every frame.
    margin_us = last[0].started_at_us - RESUME_MARGIN_US if last else -RESUME_MARGIN_US
    table = frames(conn, FRAMES, session_id, condition=_TO_RESUME, where={"margin_us": margin_us})
    return table, last[0] if last else None


def open_gaps(conn: Connection, *, limit: int = 100) -> list[Gap]:
    """Return the gaps that nothing has healed yet, the latest first."""
    with conn.cursor(row_factory=class_row(Gap)) as cursor:
        return cursor.execute(_GAPS, {"limit": limit}).fetchall()


def partition_offsets(conn: Connection) -> list[PartitionOffset]:
    """Return the offset that ingest has reached in every partition."""
    with conn.cursor(row_factory=class_row(PartitionOffset)) as cursor:
        return cursor.execute(
            "SELECT topic, partition, next_offset, owner, heartbeat FROM partition_offsets ORDER BY"
            " topic, partition"
        ).fetchall()


def _laps(
    conn: Connection, query: str, session_id: int, late_from_us: int | None = None
) -> list[Lap]:
    values = {"session_id": session_id, "late_from_us": late_from_us}
    with conn.cursor(row_factory=dict_row) as cursor:
        return [lap_of(row) for row in cursor.execute(query.encode(), values)]


def lap_of(row: dict[str, Any]) -> Lap:
    """Build the lap from a row of `LAPS`."""
    known: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in row.items()
    }
    del known["session_id"]
    return Lap(**known)
