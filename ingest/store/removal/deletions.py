"""Renames, hides and deletes sessions, and erases the rows of deleted ones.

The functions of ``schema/deletion.sql`` do the work with the rights of the tables' owner; each role
may call its own. Rule: a deletion is one row, so it is done at once and for every reader. What is
left of the session is erased afterwards, in pieces. It can stop anywhere, and goes on from there.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import psycopg

from ingest.store.best_laps import Judged, judge_scope, judgements_due

#: A statement deletes about so many frames. So a lock is short, and TimescaleDB unpacks no more of
#: a compressed chunk than it allows in a transaction (100,000 rows).
FRAMES_AT_ONCE = 20_000
# A chunk that is being compressed is left for the next time. Nobody queues up behind this.
_WAIT_BRIEFLY = "SET LOCAL lock_timeout = '500ms'"

_DELETED = """
SELECT k.key FROM unnest(%b::bytea[]) AS k(key)
 WHERE EXISTS (SELECT FROM deleted_sessions d WHERE d.key_hash = sha256(k.key))
"""
_UNERASED = "SELECT session_id FROM deleted_sessions WHERE erased_at IS NULL ORDER BY session_id"

Connection = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True)
class Erased:
    """The result of a run: sessions that are erased wholly, and those that have rows left."""

    sessions: int
    left: int


def change_session(
    conn: Connection, key: str, user: str, *, title: str | None = None, hidden: bool | None = None
) -> bool:
    """Give a session of this user a title, hide it or show it; None leaves as it is.

    Returns False if the user has no such session.
    """
    query = "SELECT change_session(%s, %s, %s, %s)"
    return conn.execute(query, [key, user, title, hidden]).fetchone() == (True,)


def delete_session(conn: Connection, key: str, user: str) -> bool:
    """Delete a session of this user; `erase_deleted` and `judge_due` do the rest.

    Returns False if the user has no such session.
    """
    return conn.execute("SELECT delete_session(%s, %s)", [key, user]).fetchone() == (True,)


def deleted_keys(conn: Connection, keys: Collection[bytes]) -> set[bytes]:
    """Return those of these keys whose sessions were deleted."""
    return {key for (key,) in conn.execute(_DELETED, [list(keys)])} if keys else set()


def erase_deleted(
    conn: Connection,
    *,
    frames_at_once: int = FRAMES_AT_ONCE,
    stopped: Callable[[], bool] = lambda: False,
) -> Erased:
    """Erase the rows of deleted sessions, in short transactions, until none is left or ``stopped``.

    While a chunk of frames is locked, as during its compression, sessions keep their rows. ``conn``
    commits each statement (autocommit). Raises psycopg.Error.
    """
    waiting = [id for (id,) in conn.execute(_UNERASED)]
    done = sum(_erase(conn, id, frames_at_once, stopped) for id in waiting)
    return Erased(done, len(waiting) - done)


def _erase(conn: Connection, session_id: int, frames: int, stopped: Callable[[], bool]) -> bool:
    """Erase one session; return False where rows are left."""
    try:
        while not stopped():
            with conn.transaction():
                conn.execute(_WAIT_BRIEFLY)
                query = "SELECT erase_session(%s, %s)"
                if conn.execute(query, [session_id, frames]).fetchone() == (True,):
                    return True
    except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
        return False
    return False


def judge_due(conn: Connection, *, after_s: float = 0.0) -> list[Judged]:
    """Judge the scopes again in which sessions were deleted, hidden or shown; return changed laps.

    ``after_s`` leaves the newest to the workers of their partitions, which announce them to
    viewers. A scope that a worker is judging is left, too. Raises psycopg.Error.
    """
    changed: list[Judged] = []
    for scope, since_us in judgements_due(conn, after_s=after_s).items():
        changed += judge_scope(conn, scope, since_us) or []
    return changed
