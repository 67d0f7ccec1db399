"""Counts the dead letters in the store, the dead letters not kept, and the corrections of wrong
clocks.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row

# The latest correction represents the others: a wrong clock is wrong in every session of its PC.
_COUNTS = """
SELECT (SELECT count(*) FROM dead_letters) AS dead_letters,
       (SELECT coalesce(sum(count), 0)::bigint FROM dead_letters_not_kept) AS dead_letters_not_kept,
       (SELECT max(last_at) FROM dead_letters_not_kept) AS not_kept_at,
       (SELECT count(*) FROM clock_corrections) AS clock_corrections,
       (SELECT count(DISTINCT session_id) FROM clock_corrections) AS corrected_sessions,
       coalesce(s.key, '') AS corrected_last, coalesce(c.reason, '') AS corrected_why, c.seen_at
       AS corrected_at
  FROM (VALUES (1)) AS one
  LEFT JOIN LATERAL (
       SELECT session_id, reason, seen_at FROM clock_corrections ORDER BY seen_at DESC,
              session_id DESC, from_sequence DESC LIMIT 1
  ) AS c ON true
  LEFT JOIN sessions s ON s.id = c.session_id
"""


@dataclass(frozen=True, slots=True)
class StoreCounts:
    """The number of each, and the session, the reason and the time of the newest correction."""

    dead_letters: int = 0
    dead_letters_not_kept: int = 0
    not_kept_at: datetime | None = None
    clock_corrections: int = 0
    corrected_sessions: int = 0
    corrected_last: str = ""
    corrected_why: str = ""
    corrected_at: datetime | None = None

    @property
    def letter_text(self) -> str:
        """Return ``12 dead letters and 180 that were not kept (the last at …)``.

        Add the command that lists them where there are any.
        """
        words = f"{self.dead_letters:,} dead letters"
        if self.dead_letters_not_kept:
            words += (
                f" and {self.dead_letters_not_kept:,} that were not kept (the last at"
                f" {_instant(self.not_kept_at)})"
            )
        any_of_them = self.dead_letters or self.dead_letters_not_kept
        return f"{words}: purple-sector dead-letters list" if any_of_them else words

    @property
    def clock_text(self) -> str:
        """Return the number of clock corrections, and session and reason of the last. Empty without
        a correction.
        """
        if not self.clock_corrections:
            return ""
        session = (
            f"session {self.corrected_last}" if self.corrected_last else "a session that is gone"
        )
        return (
            f"{self.clock_corrections:,} clock corrections in {self.corrected_sessions:,} sessions;"
            f" the last at {_instant(self.corrected_at)}, {session}: {self.corrected_why}"
        )


def read_store_counts(conn: psycopg.Connection[Any]) -> StoreCounts:
    """Count them in the store. Raises psycopg's UndefinedTable where the schema is older."""
    with conn.cursor(row_factory=class_row(StoreCounts)) as cursor:
        return cursor.execute(_COUNTS).fetchone() or StoreCounts()


def _instant(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}" if at else "an unknown time"
