"""What collectors tell of a session, as its row keeps it.

Rule: what a collector has forgotten does not erase what it told before.
"""

from collections.abc import Iterable
from typing import Any

import psycopg

from ingest.telemetry_pb2 import Session

_SAVE_FACTS = """
UPDATE sessions SET user_id = coalesce(nullif(%(user_id)s, ''), user_id), game = %(game)s, track = %(track)s, car = %(car)s,
       driver = %(driver)s, track_length_m = nullif(%(track_length)s, 0), sector_count = nullif(%(sector_count)s, 0),
       sample_rate_hz = nullif(%(sample_rate)s, 0),
       started_at = CASE WHEN %(started_at)s > 0 THEN to_timestamp(%(started_at)s / 1000.0) ELSE started_at END
 WHERE id = %(id)s
"""

_SAVE_STATEMENT = """
UPDATE sessions SET user_id = coalesce(nullif(%(user_id)s, ''), user_id), told_at = clock_timestamp(),
       last_sequence = greatest(last_sequence, %(last_sequence)s)
 WHERE id = %(id)s
"""

_WHAT_IS_DRIVEN = ("game", "track", "car", "driver", "track_length", "sector_count", "sample_rate", "started_at")


def save_facts(cursor: psycopg.Cursor[Any], facts: Iterable[tuple[int, Session]]) -> None:
    """Facts of sessions, by the store's number of each, in the order in which they were told."""
    rows = [_row(id, told) for id, told in facts]
    # A collector that says how far it sent a session may have forgotten what it was.
    if known := [row for row in rows if not row["last_sequence"] or any(row[name] for name in _WHAT_IS_DRIVEN)]:
        cursor.executemany(_SAVE_FACTS, known)
    if statements := [row for row in rows if row["last_sequence"]]:
        cursor.executemany(_SAVE_STATEMENT, statements)


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
