"""Reads from the store what the storm's audit judges."""

from collections.abc import Collection, Mapping
from typing import Any

import psycopg

from analytics.laps.engine import advance
from analytics.laps.frame_arrays import COLUMNS
from analytics.laps.state import EngineState
from analytics.model.channels import schema_of
from analytics.model.lap import Lap
from analytics.model.track_layout import TrackLayout
from analytics.store.frame_pages import pages
from analytics.store.queries import laps
from ingest.store.tracks import layout_of_track
from tests.soak.audit import Stored

_HIGHEST = "SELECT key, coalesce(upper(received), 1) - 1 FROM sessions WHERE key = ANY (%s)"

_SESSIONS = """
SELECT s.id, s.key, count(t.*), count(DISTINCT t.sequence), coalesce(max(t.sequence), 0),
       count(*) FILTER (WHERE t.step <> 1),
       k.id, k.line_position, k.sector_positions, k.length_m, k.version
  FROM sessions s
  LEFT JOIN tracks k ON k.id = s.track_id
  LEFT JOIN LATERAL (
       SELECT sequence, sequence - lag(sequence) OVER (ORDER BY time) AS step FROM telemetry
        WHERE session_id = s.id
  ) t ON true
 WHERE s.key = ANY (%s)
 GROUP BY s.id, k.id
"""


def highest(database_url: str, keys: Collection[str]) -> Mapping[str, int]:
    """Return the highest stored sequence of each session; empty while the store does not answer."""
    try:
        with psycopg.connect(database_url, connect_timeout=2) as conn:
            return dict(conn.execute(_HIGHEST, [list(keys)]).fetchall())
    except psycopg.Error:
        return {}


def read(database_url: str, keys: Collection[str]) -> dict[str, Stored]:
    """Read each session, and time its laps again from its frames. Raises psycopg.Error."""
    with psycopg.connect(database_url) as conn:
        return {
            row[1]: _stored(conn, row) for row in conn.execute(_SESSIONS, [list(keys)]).fetchall()
        }


def _stored(conn: psycopg.Connection[Any], row: tuple[Any, ...]) -> Stored:
    id, key, rows, distinct, last, disordered, *track = row
    before = {lap.lap_number: lap for lap in laps(conn, key)}
    now = _ended_laps(conn, id, layout_of_track(*track))
    changed = tuple(
        number for number in sorted({*before, *now}) if before.get(number) != now.get(number)
    )
    return Stored(rows, distinct, last, disordered, laps=len(before), laps_changed=changed)


def _ended_laps(conn: psycopg.Connection[Any], id: int, layout: TrackLayout) -> dict[int, Lap]:
    """As ``ingest.store.recompute`` does for a session that may go on, but on the track that its
    laps were timed on.
    """
    engine_state: EngineState | None = None
    found: dict[int, Lap] = {}
    for frames in pages(conn, schema_of(COLUMNS), id):
        ended, engine_state = advance(frames, engine_state, layout)
        found |= {lap.lap_number: lap for lap in ended}
    return found
