"""Stores the facts that collectors report about a session in the session's row.

Rules: a fact that a collector no longer reports does not erase the fact that it reported before. A
session keeps its first user.
"""

from collections.abc import Iterable
from typing import Any

import psycopg

from ingest.telemetry_pb2 import Session

_FACTS = (
    "user_id",
    "game",
    "track",
    "car",
    "driver",
    "track_length",
    "sector_count",
    "sample_rate",
    "started_at",
    "last_sequence",
)
# A session keeps its first user. If its car, track or driver changes, its laps were judged in the
# wrong scope.
_SAVE_FACTS = """
WITH updated AS (
    UPDATE sessions s
       SET user_id = coalesce(nullif(s.user_id, ''), %(user_id)s),
           game = coalesce(nullif(%(game)s, ''), s.game),
           track = coalesce(nullif(%(track)s, ''), s.track),
           car = coalesce(nullif(%(car)s, ''), s.car),
           driver = coalesce(nullif(%(driver)s, ''), s.driver),
           track_length_m = coalesce(nullif(%(track_length)s, 0), s.track_length_m),
           sector_count = coalesce(nullif(%(sector_count)s, 0), s.sector_count),
           sample_rate_hz = coalesce(nullif(%(sample_rate)s, 0), s.sample_rate_hz),
           started_at = coalesce(to_timestamp(nullif(%(started_at)s, 0) / 1000.0), s.started_at),
           reported_at = CASE WHEN %(last_sequence)s > 0
           THEN clock_timestamp() ELSE s.reported_at END,
           last_sequence = greatest(s.last_sequence, %(last_sequence)s)
      FROM sessions was
     WHERE s.id = %(id)s AND was.id = s.id
    RETURNING s.id, (s.game, s.track, s.car, s.user_id, s.driver)
                    IS DISTINCT FROM (was.game, was.track, was.car, was.user_id, was.driver)
                    AS moved
)
UPDATE lap_colours c SET time_ms = NULL
  FROM updated WHERE updated.moved AND c.session_id = updated.id
"""


def save_facts(cursor: psycopg.Cursor[Any], facts: Iterable[tuple[int, Session]]) -> None:
    """Save facts of sessions, each with the store's number of the session, in the order of their
    reports.
    """
    if rows := [_row(id, message) for id, message in facts]:
        cursor.executemany(_SAVE_FACTS, rows)


def _row(id: int, facts: Session) -> dict[str, Any]:
    return {"id": id, **{name: getattr(facts, name) for name in _FACTS}}
