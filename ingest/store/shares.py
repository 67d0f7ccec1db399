"""Stores what is shared with whom: a session, or one lap of it, by a link or with named users.

Every function takes an open psycopg connection. Rule: the store gets the SHA-256 of a link's token,
and never the token. A share is never changed, but for being revoked.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row

from analytics.errors import UnknownLap, UnknownSession
from ingest.errors import TooManyShares, UnknownShare

Connection = psycopg.Connection[Any]

#: Bounds what one session makes every replica hold: valid shares, and those that ended, too.
MOST_OF_A_SESSION = 100
MOST_EVER_OF_A_SESSION = 1_000

_COLUMNS = """
SELECT h.id, s.key AS session_key, s.user_id AS owner, h.lap_number, h.users, h.made_by, h.made_at,
       h.expires_at, h.revoked_at, h.token_sha256
  FROM shares h JOIN sessions s ON s.id = h.session_id
"""
_VALID = "h.revoked_at IS NULL AND (h.expires_at IS NULL OR h.expires_at > now())"

_ADD = f"""
INSERT INTO shares (session_id, lap_number, token_sha256, users, made_by, expires_at)
SELECT id, %(lap_number)s, %(token_sha256)s, %(users)s, %(made_by)s, %(expires_at)s
  FROM sessions WHERE key = %(key)s
   AND (SELECT count(*) FROM shares h WHERE h.session_id = sessions.id AND {_VALID}) < %(most)s
   AND (SELECT count(*) FROM shares h WHERE h.session_id = sessions.id) < %(most_ever)s
RETURNING id
"""  # noqa: S608 -- constants only
_LAP = """
SELECT FROM laps l JOIN sessions s ON s.id = l.session_id
 WHERE s.key = %(key)s AND l.lap_number = %(lap_number)s AND l.ended_at IS NOT NULL
"""
_REVOKE = "UPDATE shares SET revoked_at = now() WHERE id = %(id)s AND revoked_at IS NULL"
_KNOWN = "SELECT FROM sessions WHERE key = %(key)s"
_STAMP = """
SELECT count(*), count(h.revoked_at), max(h.id), count(*) FILTER (WHERE s.hidden),
       count(*) FILTER (WHERE s.user_id = '')
  FROM shares h JOIN sessions s ON s.id = h.session_id
"""


@dataclass(frozen=True, slots=True)
class NewShare:
    """A share to be made.

    ``lap_number`` is None for the whole session. Without ``users`` it is for whoever has the link,
    and ``token_sha256`` is of its token.
    """

    key: str
    made_by: str
    lap_number: int | None = None
    users: tuple[str, ...] = ()
    expires_at: datetime | None = None
    token_sha256: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Share:
    """A stored share. ``owner`` is the user of its session, empty where it is not known."""

    id: int
    session_key: str
    owner: str
    lap_number: int | None
    users: Sequence[str]
    made_by: str
    made_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    token_sha256: bytes | None = field(repr=False)


def add_share(conn: Connection, new: NewShare) -> Share:
    """Store a share. Raises UnknownSession, UnknownLap and TooManyShares."""
    values = {
        "key": new.key,
        "lap_number": new.lap_number,
        "token_sha256": new.token_sha256,
        "users": list(new.users),
        "made_by": new.made_by,
        "expires_at": new.expires_at,
        "most": MOST_OF_A_SESSION,
        "most_ever": MOST_EVER_OF_A_SESSION,
    }
    if "\0" in new.key or conn.execute(_KNOWN, values).fetchone() is None:
        raise UnknownSession(new.key)
    if new.lap_number is not None and conn.execute(_LAP, values).fetchone() is None:
        raise UnknownLap(new.key, new.lap_number)
    made = conn.execute(_ADD.encode(), values).fetchone()
    if made is None:
        raise TooManyShares(new.key, MOST_OF_A_SESSION, MOST_EVER_OF_A_SESSION)
    return share_of(conn, made[0])


def share_of(conn: Connection, id: int) -> Share:
    """Return a share by its number. Raises UnknownShare."""
    for found in _read(conn, "WHERE h.id = %(id)s", {"id": id}):
        return found
    raise UnknownShare(id)


def shares_of(conn: Connection, key: str | None = None) -> list[Share]:
    """Return the shares of a session, or of all, the newest first; those that ended, too."""
    where = "WHERE %(key)s::text IS NULL OR s.key = %(key)s ORDER BY h.id DESC LIMIT 1000"
    return _read(conn, where, {"key": key})


def valid_shares(conn: Connection) -> list[Share]:
    """Return the shares that are neither revoked nor expired, of sessions that are not hidden."""
    return _read(conn, f"WHERE {_VALID} AND NOT s.hidden", {})


def stamp_of_shares(conn: Connection) -> tuple[int, ...]:
    """Return what differs after a share was made or revoked, or its session was deleted, hidden,
    shown, or got its owner.
    """
    return conn.execute(_STAMP).fetchone() or ()


def revoke_share(conn: Connection, id: int) -> Share:
    """Revoke a share, and return it. One that was revoked before keeps its time.

    Raises UnknownShare.
    """
    conn.execute(_REVOKE, {"id": id})
    return share_of(conn, id)


def _read(conn: Connection, where: str, values: dict[str, Any]) -> list[Share]:
    with conn.cursor(row_factory=class_row(Share)) as cursor:
        return cursor.execute(f"{_COLUMNS} {where}".encode(), values).fetchall()
