"""What collectors tell of a session, as its row keeps it.

Rule: what a collector has forgotten does not erase what it told before.
"""

from collections.abc import Iterable
from typing import Any

import psycopg

from ingest.telemetry_pb2 import Session

_SAVE_FACTS = """
UPDATE sessions
   SET user_id = coalesce(nullif(%(user_id)s, ''), user_id), game = coalesce(nullif(%(game)s, ''), game),
       track = coalesce(nullif(%(track)s, ''), track), car = coalesce(nullif(%(car)s, ''), car),
       driver = coalesce(nullif(%(driver)s, ''), driver),
       track_length_m = coalesce(nullif(%(track_length)s, 0), track_length_m),
       sector_count = coalesce(nullif(%(sector_count)s, 0), sector_count),
       sample_rate_hz = coalesce(nullif(%(sample_rate)s, 0), sample_rate_hz),
       started_at = coalesce(to_timestamp(nullif(%(started_at)s, 0) / 1000.0), started_at),
       told_at = CASE WHEN %(last_sequence)s > 0 THEN clock_timestamp() ELSE told_at END,
       last_sequence = greatest(last_sequence, %(last_sequence)s)
 WHERE id = %(id)s
"""


def save_facts(cursor: psycopg.Cursor[Any], facts: Iterable[tuple[int, Session]]) -> None:
    """Facts of sessions, by the store's number of each, in the order in which they were told."""
    if rows := [_row(id, told) for id, told in facts]:
        cursor.executemany(_SAVE_FACTS, rows)


def _row(id: int, facts: Session) -> dict[str, Any]:
    return {
        "id": id,
        "user_id": facts.user_id,
        "game": facts.game,
        "track": facts.track,
        "car": facts.car,
        "driver": facts.driver,
        "track_length": facts.track_length,
        "sector_count": facts.sector_count,
        "sample_rate": facts.sample_rate,
        "started_at": facts.started_at,
        "last_sequence": facts.last_sequence,
    }
