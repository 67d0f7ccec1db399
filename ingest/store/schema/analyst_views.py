"""Makes the views that analysts read: of each table, the rows that are theirs or
shared with them.

They have the tables' names, in a schema of their own. An analyst's login has that schema first in
its search_path, so that every query of `analytics.store` works there unchanged. The views are
security barriers: no condition of the analyst sees a row before the view has let it through.
TimescaleDB refuses row-level security on a table with a columnstore.
"""

from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg import sql

from ingest.store.schema.continuous_aggregates import drop_summaries_of_frames, summarize_frames

VIEW_SCHEMA = "analyst"

# These two decide what an analyst may read. A login's name is the user of its sessions, and the
# name that others share with.
_SHARED: LiteralString = """
SELECT h.session_id, h.lap_number FROM {table} h
 WHERE current_user = ANY (h.users) AND h.revoked_at IS NULL
   AND (h.expires_at IS NULL OR h.expires_at > now())
   AND NOT EXISTS (SELECT FROM sessions s WHERE s.id = h.session_id AND s.hidden)
"""
_WHOLE: LiteralString = """
SELECT t.id FROM {table} t
 WHERE t.user_id = current_user
    OR t.id IN (SELECT h.session_id FROM {shared} h WHERE h.lap_number IS NULL)
"""

# Of a session with a shared lap, the facts.
_READABLE_SESSIONS: LiteralString = """
SELECT t.* FROM {table} t
 WHERE t.user_id = current_user OR t.id IN (SELECT h.session_id FROM {shared} h)
"""

# The session is one row for a query that names it: the planner looks it up once, and reads the
# frames by their own index.
_OF_WHOLE_SESSIONS: LiteralString = """
SELECT t.* FROM {table} t
 WHERE EXISTS (SELECT FROM {whole_sessions} s WHERE s.id = t.session_id)
"""
_BY_LAP: LiteralString = """
SELECT t.* FROM {table} t
 WHERE EXISTS (SELECT FROM {whole_sessions} s WHERE s.id = t.session_id)
    OR (t.session_id, t.lap_number) IN (SELECT h.session_id, h.lap_number FROM {shared} h)
"""
_OF_SHARED_LAPS: LiteralString = """
SELECT t.*
  FROM (SELECT DISTINCT l.session_id, l.started_at, l.ended_at
          FROM {shared} h JOIN laps l USING (session_id, lap_number)
         WHERE NOT EXISTS (SELECT FROM {whole_sessions} s WHERE s.id = l.session_id)) AS l
  JOIN {table} t ON t.session_id = l.session_id AND t.time >= l.started_at AND t.time < l.ended_at
"""
# No OR, so that each part reads the frames by their index. Each part is a view of its own: a
# UNION ALL is flattened, and is no barrier by itself.
_FRAMES: LiteralString = """
SELECT t.* FROM {frames_of_sessions} t UNION ALL SELECT t.* FROM {frames_of_laps} t
"""

# Where a track's line lies is about nobody.
_OF_EVERYBODY: LiteralString = "SELECT t.* FROM {table} t"


@dataclass(frozen=True, slots=True)
class AnalystView:
    """A view in `VIEW_SCHEMA`: its query, and the table that the query reads."""

    query: LiteralString
    table: str


#: In this order: those below read the ones above.
VIEWS: dict[str, AnalystView] = {
    "shared": AnalystView(_SHARED, "shares"),
    "whole_sessions": AnalystView(_WHOLE, "sessions"),
    "sessions": AnalystView(_READABLE_SESSIONS, "sessions"),
    "tracks": AnalystView(_OF_EVERYBODY, "tracks"),
    "laps": AnalystView(_BY_LAP, "laps"),
    "lap_colours": AnalystView(_BY_LAP, "lap_colours"),
    "lap_sums": AnalystView(_BY_LAP, "lap_sums"),
    "lap_summary": AnalystView(_BY_LAP, "lap_summary"),
    "bests": AnalystView(_OF_WHOLE_SESSIONS, "bests"),
    "gaps": AnalystView(_OF_WHOLE_SESSIONS, "gaps"),
    "clock_corrections": AnalystView(_OF_WHOLE_SESSIONS, "clock_corrections"),
    "frames_of_sessions": AnalystView(_OF_WHOLE_SESSIONS, "telemetry"),
    "frames_of_laps": AnalystView(_OF_SHARED_LAPS, "telemetry"),
    "telemetry": AnalystView(_FRAMES, "telemetry"),
}


def make_views(conn: psycopg.Connection) -> None:
    """Make the views anew, of tables in the current schema, as their owner."""
    drop_views(conn)
    views = {name: sql.Identifier(VIEW_SCHEMA, name) for name in VIEWS}
    for name, made in VIEWS.items():
        body = sql.SQL(made.query).format(**views | {"table": sql.Identifier(made.table)})
        view = sql.Identifier(VIEW_SCHEMA, name)
        conn.execute(sql.SQL("CREATE VIEW {} WITH (security_barrier) AS {}").format(view, body))
    summarize_frames(conn, VIEW_SCHEMA)


def drop_views(conn: psycopg.Connection) -> None:
    """Drop the views where there are some: a migration could not change the tables below them."""
    if conn.execute("SELECT to_regnamespace(%s)", [VIEW_SCHEMA]).fetchone() == (None,):
        return
    drop_summaries_of_frames(conn, VIEW_SCHEMA)
    for name in reversed(VIEWS):
        conn.execute(sql.SQL("DROP VIEW IF EXISTS {}").format(sql.Identifier(VIEW_SCHEMA, name)))
