"""Renames, hides, shows and deletes stored sessions: ``purple-sector sessions``."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from analytics.errors import UnknownSession
from ingest.errors import PurpleSectorError
from serve.bridge.access.audit import audit
from serve.cli.sessions.store import owner_connection, what_is_left

if TYPE_CHECKING:
    from analytics.model.session import SessionInfo
    from ingest.store.removal.deletions import Connection


@click.group()
def sessions() -> None:
    """Rename, hide, show or delete a stored session, by its KEY.

    `purple-sector status` lists the keys of the last sessions. The commands connect as the owner of
    the tables, where OWNER_DATABASE_URL is set. On the page, drivers do the same with their own.
    """


_key = click.argument("key")


@sessions.command()
@_key
@click.argument("title")
def rename(key: str, title: str) -> None:
    """Show TITLE in place of the session's key; the key stays as it is.

    An empty TITLE, '', takes the title away.
    """
    from ingest.store.removal.titles import checked_title

    _change(key, title=checked_title(title))
    click.echo(f"renamed: {key}")


@sessions.command()
@_key
def hide(key: str) -> None:
    """Hide a session from everybody but its user and operators.

    It is in no list of others, sets no best time, and its laps have no colours. Others' laps are
    judged as if it had not been driven. `purple-sector sessions show` takes it back.
    """
    _change(key, hidden=True)
    click.echo(f"hidden: {key}")


@sessions.command()
@_key
def show(key: str) -> None:
    """Show a hidden session again, and let its times count."""
    _change(key, hidden=False)
    click.echo(f"shown: {key}")


@sessions.command()
@_key
@click.option("--yes", is_flag=True, help="Without a question.")
def delete(key: str, yes: bool) -> None:
    """Delete a session for good: its frames, laps, best times, gaps, shares and dead letters.

    Others' laps are judged as if it had not been driven. It works while the session is driven:
    what its collector still sends is dropped. Only the SHA-256 of its key is kept, so that records
    that are resent or read again do not bring it back.
    """
    from ingest.store.removal.deletions import delete_session, erase_deleted, judge_due

    with _stored(key) as (conn, session):
        if not yes:
            click.confirm(f"delete {key} with its {session.frames:,} frames for good?", abort=True)
        if not delete_session(conn, key, session.user_id):
            raise _unknown(key)
        audit("session_deleted", session=key, owner=session.user_id, way="command")
        judge_due(conn)
        erased = erase_deleted(conn)
    click.echo(f"deleted: {key}{what_is_left(erased)}")


def _change(key: str, *, title: str | None = None, hidden: bool | None = None) -> None:
    from ingest.store.removal.deletions import change_session, judge_due

    with _stored(key) as (conn, session):
        if not change_session(conn, key, session.user_id, title=title, hidden=hidden):
            raise _unknown(key)
        audit("session_changed", session=key, owner=session.user_id, way="command")
        judge_due(conn)


@contextmanager
def _stored(key: str) -> "Iterator[tuple[Connection, SessionInfo]]":
    from analytics.store import queries

    with owner_connection() as conn:
        try:
            session = queries.session(conn, key)
        except UnknownSession:
            raise _unknown(key) from None
        yield conn, session


def _unknown(key: str) -> PurpleSectorError:
    return PurpleSectorError(
        f"session {key!r} is not in the store; purple-sector status lists the last ones"
    )
