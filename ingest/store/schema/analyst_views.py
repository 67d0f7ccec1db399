"""Makes the views that analysts read: of each table, the rows that are theirs.

They have the tables' names, in a schema of their own. An analyst's login has that schema first in
its search_path, so that every query of `analytics.store` works there unchanged. The views are
security barriers: no condition of the analyst sees a row before the view has let it through.
TimescaleDB refuses row-level security on a table with a columnstore.
"""

from typing import LiteralString

import psycopg
from psycopg import sql

from ingest.store.schema.continuous_aggregates import drop_summaries_of_frames, summarize_frames

VIEW_SCHEMA = "analyst"

# This alone decides what an analyst may read. A login's name is the user of its sessions.
_READABLE_SESSIONS: LiteralString = "SELECT t.* FROM {table} t WHERE t.user_id = current_user"

# The session is one row for a query that names it: the planner looks it up once, and reads the
# frames by their own index.
_OF_READABLE_SESSIONS: LiteralString = """
SELECT t.* FROM {table} t
 WHERE EXISTS (SELECT FROM {sessions} s WHERE s.id = t.session_id)
"""

# Where a track's line lies is about nobody.
_OF_EVERYBODY: LiteralString = "SELECT t.* FROM {table} t"

#: In this order: those below read ``sessions``.
VIEWS: dict[str, LiteralString] = {
    "sessions": _READABLE_SESSIONS,
    "tracks": _OF_EVERYBODY,
    "laps": _OF_READABLE_SESSIONS,
    "lap_colours": _OF_READABLE_SESSIONS,
    "lap_sums": _OF_READABLE_SESSIONS,
    "lap_summary": _OF_READABLE_SESSIONS,
    "bests": _OF_READABLE_SESSIONS,
    "gaps": _OF_READABLE_SESSIONS,
    "clock_corrections": _OF_READABLE_SESSIONS,
    "telemetry": _OF_READABLE_SESSIONS,
}


def make_views(conn: psycopg.Connection) -> None:
    """Make the views anew, of tables in the current schema, as their owner."""
    drop_views(conn)
    for name, query in VIEWS.items():
        body = sql.SQL(query).format(
            table=sql.Identifier(name), sessions=sql.Identifier(VIEW_SCHEMA, "sessions")
        )
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
