"""Forgets a user: deletes everything that is stored of one.

Rule: every step may run again, and finds what an interrupted run has left.
"""

from dataclasses import dataclass

from psycopg import sql

from ingest.codec.session_owner import user_in_key
from ingest.store.removal.deletions import (
    Connection,
    Erased,
    delete_session,
    erase_deleted,
    judge_due,
)
from ingest.store.schema.grants import ANALYSTS

_LETTERS = 'SELECT topic, partition, "offset", key, user_id FROM dead_letters'
_DELETE_LETTER = 'DELETE FROM dead_letters WHERE topic = %s AND partition = %s AND "offset" = %s'
_SHARES_LEFT = """
UPDATE shares SET users = array_remove(users, %(user)s)
 WHERE %(user)s = ANY (users) AND cardinality(array_remove(users, %(user)s)) > 0
"""
_DELETE_SHARES = "DELETE FROM shares WHERE made_by = %(user)s OR %(user)s = ANY (users)"
_ANALYST = """
SELECT FROM pg_roles r JOIN pg_auth_members m ON m.member = r.oid
  JOIN pg_roles g ON g.oid = m.roleid
 WHERE r.rolname = %s AND g.rolname = %s
"""
# Where the topic is, its position has to stay: it would be read again from its start.
_OF_TOPIC = ("partition_offsets", "gaps", "dead_letters_not_kept")


@dataclass(frozen=True, slots=True)
class LetterPlace:
    """Names the place of a dead letter."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Stored:
    """Holds what is stored of a user: sessions (keys), dead letters, shares, an analyst's login."""

    sessions: tuple[str, ...]
    letters: tuple[LetterPlace, ...]
    shares: int
    analyst: bool

    def __bool__(self) -> bool:
        return bool(self.sessions or self.letters or self.shares or self.analyst)


def stored_of(conn: Connection, user: str, topic: str | None = None) -> Stored:
    """Return what is stored of a user. ``topic`` is the one that only this user writes to."""
    keys = conn.execute("SELECT key FROM sessions WHERE user_id = %s ORDER BY id", [user])
    count = "SELECT count(*) FROM shares WHERE made_by = %(user)s OR %(user)s = ANY (users)"
    (shares,) = conn.execute(count, {"user": user}).fetchone() or (0,)
    analyst = conn.execute(_ANALYST, [user, ANALYSTS]).fetchone() is not None
    return Stored(
        tuple(key for (key,) in keys), tuple(letters_of(conn, user, topic)), shares, analyst
    )


def letters_of(conn: Connection, user: str, topic: str | None = None) -> list[LetterPlace]:
    """Return the places of a user's dead letters: by topic, by header, or by a collector's key."""
    return [
        LetterPlace(of_topic, partition, offset)
        for of_topic, partition, offset, key, named in conn.execute(_LETTERS)
        if of_topic == topic or user in (named, user_in_key((key or b"").decode(errors="replace")))
    ]


def forget_user(conn: Connection, user: str, topic: str | None = None) -> Erased:
    """Delete everything that is stored of a user; ``topic`` as in `stored_of`.

    Returns how many sessions were erased; the rest is in locked chunks, and ingest erases it later.
    ``conn`` is the owner's, and commits each statement (autocommit). Raises psycopg.Error.
    """
    while stored := stored_of(conn, user, topic):
        for key in stored.sessions:
            delete_session(conn, key, user)
        for place in stored.letters:
            conn.execute(_DELETE_LETTER, [place.topic, place.partition, place.offset])
        conn.execute(_SHARES_LEFT, {"user": user})
        conn.execute(_DELETE_SHARES, {"user": user})
        if stored.analyst:
            conn.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(user)))
    judge_due(conn)
    return erase_deleted(conn)


def forget_topic(conn: Connection, topic: str) -> None:
    """Delete what names a user's topic, which Kafka no longer has."""
    with conn.transaction():
        for table in _OF_TOPIC:
            query = sql.SQL("DELETE FROM {} WHERE topic = %s").format(sql.Identifier(table))
            conn.execute(query, [topic])
