"""Reads the store as a source of sessions and laps, for `analytics.connect`.

Each request is a statement or two over one connection that may only read. Rule: each poll of a
followed session reads one snapshot. The snapshot holds its received sequences and its frames, so
that no frame falls between two polls.
"""

import os
from collections.abc import Mapping, Sequence
from datetime import datetime

import psycopg
import pyarrow as pa
from psycopg.rows import class_row, dict_row

from analytics.errors import NoDatabase
from analytics.laps.track_learning import LearnedTrack
from analytics.model.channels import schema_of
from analytics.model.lap_filter import LapFilter, SessionLap
from analytics.model.session import SessionInfo
from analytics.model.track_layout import TrackLayout
from analytics.store.frame_pages import frames, page
from analytics.store.instance import Instance, state_folder
from analytics.store.queries import LAPS, SESSION, Connection, frames_of_lap, lap_of

_CONNECT_WITHIN_S = 5

_SESSIONS = (
    SESSION
    + """
 WHERE (%(keys)s::text[] IS NULL OR key = ANY (%(keys)s))
   AND (%(drivers)s::text[] IS NULL OR lower(driver) = ANY (%(drivers)s)
       OR lower(user_id) = ANY (%(drivers)s))
   AND strpos(lower(track), lower(%(track)s)) > 0
   AND strpos(lower(car), lower(%(car)s)) > 0
"""
)

_IN_TIME = """
   AND (%(since)s::timestamptz IS NULL OR last_frame_at >= %(since)s)
   AND (%(until)s::timestamptz IS NULL OR started_at < %(until)s)
 ORDER BY id DESC LIMIT %(limit)s
"""

_LAPS_OF_SESSIONS = (
    LAPS
    + """
 WHERE session_id = ANY (%(session_ids)s)
   AND (%(since)s::timestamptz IS NULL OR started_at >= %(since)s)
   AND (%(until)s::timestamptz IS NULL OR started_at < %(until)s)
   AND (%(numbers)s::integer[] IS NULL OR lap_number = ANY (%(numbers)s))
   AND (NOT %(flying)s OR (flags = '{}' AND coalesce(official_lap_time_ms,
       lap_time_ms) IS NOT NULL))
 ORDER BY CASE WHEN %(fastest_first)s THEN coalesce(official_lap_time_ms,
     lap_time_ms) END NULLS LAST, laps.started_at
 LIMIT %(limit)s
"""
)

_LAYOUTS = """
SELECT s.id, t.line_position, t.sector_positions, t.length_m, t.version
  FROM sessions s JOIN tracks t ON t.id = s.track_id WHERE s.id = ANY (%s)
"""

_RECEIVED = (
    "SELECT received::text, (received - %(seen)s::int8multirange)::text FROM sessions WHERE id ="
    " %(session_id)s"
)

_LATE = "time <= %(last)s AND sequence <@ %(missed)s::int8multirange"


def database_url(url: str | None, environ: Mapping[str, str]) -> str:
    """Return ``url``, else DATABASE_URL, else the database of the system that runs on this machine.
    Raises NoDatabase.
    """
    if found := url or environ.get("DATABASE_URL"):
        return found
    if running := Instance.find(state_folder(environ)):
        return running.database_url
    raise NoDatabase


class PostgresSource:
    """Sessions, laps and frames of a store, by `database_url`.

    Raises NoDatabase, and psycopg.OperationalError where no server answers.
    """

    def __init__(self, url: str | None) -> None:
        address = database_url(url, os.environ)
        self._conn: Connection = psycopg.connect(
            address,
            autocommit=True,
            connect_timeout=_CONNECT_WITHIN_S,
            options="-c default_transaction_read_only=on",
        )

    def close(self) -> None:
        """Close the connection."""
        self._conn.close()

    def sessions(self, wanted: LapFilter) -> list[SessionInfo]:
        """Return the wanted sessions; those that came last into the store come first."""
        return self._sessions(_SESSIONS + _IN_TIME, wanted)

    def laps(self, wanted: LapFilter) -> list[SessionLap]:
        """Return the wanted laps, in the order of the filter."""
        by_id = {session.id: session for session in self._sessions(_SESSIONS, wanted)}
        where = wanted.as_parameters() | {"session_ids": list(by_id)}
        with self._conn.cursor(row_factory=dict_row) as cursor:
            return [
                (by_id[row["session_id"]], lap_of(row))
                for row in cursor.execute(_LAPS_OF_SESSIONS, where)
            ]

    def lap_frames(self, session: SessionInfo, lap_number: int, columns: Sequence[str]) -> pa.Table:
        """Return the frames of a lap in order of time."""
        return frames_of_lap(self._conn, session, lap_number, columns=columns)

    def frames(self, session: SessionInfo, columns: Sequence[str]) -> pa.Table:
        """Return all frames of a session in order of time."""
        return frames(self._conn, schema_of(columns), session.id)

    def layouts(self, sessions: Sequence[SessionInfo]) -> dict[int, TrackLayout]:
        """Return the track layout that each session's laps are timed on, by session id.

        It leaves out a session that began before its track was learnt.
        """
        rows = self._conn.execute(_LAYOUTS, [[session.id for session in sessions]])
        return {
            id: LearnedTrack("", "", line, tuple(sectors), length_m, version=v).layout
            for id, line, sectors, length_m, v in rows
        }

    def feed(self, session: SessionInfo, columns: Sequence[str]) -> "PostgresFrameFeed":
        """Return a feed of the session's frames from the first on, poll by poll."""
        return PostgresFrameFeed(self._conn, session.id, columns)

    def _sessions(self, query: str, wanted: LapFilter) -> list[SessionInfo]:
        with self._conn.cursor(row_factory=class_row(SessionInfo)) as cursor:
            return cursor.execute(query.encode(), wanted.as_parameters()).fetchall()


class PostgresFrameFeed:
    """New frames of a session in the store.

    Frames without a sequence are new by their time alone.
    """

    def __init__(self, conn: Connection, session_id: int, columns: Sequence[str]) -> None:
        self._conn = conn
        self._session_id = session_id
        self._columns = list(columns)
        self._schema = schema_of(list(dict.fromkeys([*columns, "time"])))
        self._seen = "{}"
        self._last: datetime | None = None

    def poll(self) -> pa.Table:
        """Return the frames since the last poll: late data first, then frames after all those seen
        before.
        """
        with self._conn.transaction():
            self._conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            late, self._seen = self._late()
            # If a session is long already, each poll reads one page, and the next poll one more.
            fresh = page(self._conn, self._schema, self._session_id, after=self._last)
        if fresh.num_rows:
            self._last = fresh.column("time")[-1].as_py()
        return pa.concat_tables([late, fresh]).select(self._columns)

    def _late(self) -> tuple[pa.Table, str]:
        where = {"session_id": self._session_id, "seen": self._seen}
        received, missed = self._conn.execute(_RECEIVED, where).fetchone() or ("{}", "{}")
        if self._last is None or missed == "{}":
            return self._schema.empty_table(), received
        where = {"last": self._last, "missed": missed}
        return (
            frames(self._conn, self._schema, self._session_id, condition=_LATE, where=where),
            received,
        )
