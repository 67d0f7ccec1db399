"""Shares sessions and laps, lists shares and revokes them: ``purple-sector shares``.

The rule: a link is printed once, when it is made, and stored nowhere.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

import click

from analytics.store.instance import Instance, state_folder
from ingest.errors import PurpleSectorError
from ingest.settings import DatabaseSettings, bridge_database
from serve.bridge.access.audit import audit
from serve.cli.tables import print_table, table_of

if TYPE_CHECKING:
    from ingest.store.shares import Connection, NewShare, Share

T = TypeVar("T")

#: The name that these commands make shares by. No login can have it: it has a space.
_MADE_BY = "command line"


@click.group()
def shares() -> None:
    """Share a session or a lap by a link, or with users by name; list and revoke shares.

    The store is that of SERVE_DATABASE_URL, else of DATABASE_URL. A running page sees every change
    within seconds. docs/access.md describes what a share shows.
    """


@shares.command()
@click.argument("session")
@click.option("--lap", "lap_number", type=click.IntRange(0), help="Only this finished lap.")
@click.option(
    "--user",
    "users",
    multiple=True,
    help="For the user of this name, who logs in, in place of a link. May be given again.",
)
@click.option("--days", type=click.IntRange(1, 36_500), help="Valid for so many days.")
@click.option("--page", default="", help="The page's address, to print the whole link.")
def add(
    session: str, lap_number: int | None, users: tuple[str, ...], days: int | None, page: str
) -> None:
    """Share SESSION, by its key, and print the link, once.

    Whoever has the link sees this session, live too; with --lap this lap's times and traces alone.
    Without --days it is valid until it is revoked. With --user there is no link: the users see it
    in their list of sessions, and in SQL as analysts.
    """
    from ingest.store.shares import NewShare
    from serve.bridge.sharing.links import digest_of, fragment_of, new_token

    if not all(name.isprintable() and name for name in users):
        raise click.BadParameter("want names in printable letters", param_hint="--user")
    token = None if users else new_token()
    expires_at = datetime.now(UTC) + timedelta(days=days) if days else None
    digest = digest_of(token) if token else None
    made = _make(NewShare(session, _MADE_BY, lap_number, users, expires_at, digest))
    audit("share_made", name=_MADE_BY, share=made.id, session=session, users=", ".join(users))
    if token:
        click.echo(f"{_address(page)}{fragment_of(token)}")
    click.echo(f"share {made.id}: purple-sector shares revoke {made.id} ends it", err=True)


@shares.command("list")
@click.argument("session", required=False)
@click.option("--all", "ended", is_flag=True, help="Those that were revoked or have expired, too.")
def list_(session: str | None, ended: bool) -> None:
    """List what is shared with whom: of SESSION, by its key, or of all sessions.

    No link is shown: links are stored nowhere.
    """
    from ingest.store.shares import shares_of

    now = datetime.now(UTC)
    table = table_of("share", "session", "lap", "with", "made by", "made", "until")
    for share in _in_store(lambda conn: shares_of(conn, session)):
        if ended or _until(share, now) not in {"revoked", "expired"}:
            table.add_row(*_cells(share, now))
    print_table(table)


@shares.command()
@click.argument("share", type=click.IntRange(1, 2**63 - 1))
def revoke(share: int) -> None:
    """Revoke SHARE, by its number. Pages that its link has opened are closed within seconds."""
    from ingest.store.shares import revoke_share

    ended = _in_store(lambda conn: revoke_share(conn, share))
    audit("share_revoked", name=_MADE_BY, share=ended.id, session=ended.session_key)
    click.echo(f"revoked: share {ended.id} of {ended.session_key}")


def _cells(share: "Share", now: datetime) -> list[str]:
    lap = "" if share.lap_number is None else str(share.lap_number)
    with_whom = ", ".join(share.users) or "whoever has the link"
    made = f"{share.made_at:%Y-%m-%d %H:%M}"
    names = (share.session_key, lap, with_whom, share.made_by)
    return [str(share.id), *names, made, _until(share, now)]


def _until(share: "Share", now: datetime) -> str:
    if share.revoked_at is not None:
        return "revoked"
    if share.expires_at is None:
        return "revoked only"
    return "expired" if share.expires_at <= now else f"{share.expires_at:%Y-%m-%d %H:%M}"


def _make(new: "NewShare") -> "Share":
    from analytics.errors import UnknownLap, UnknownSession
    from ingest.store.shares import add_share

    try:
        return _in_store(lambda conn: add_share(conn, new))
    except UnknownSession as error:
        raise PurpleSectorError(
            f"session {new.key!r} is not in the store; purple-sector status lists the last ones"
        ) from error
    except UnknownLap as error:
        raise PurpleSectorError(
            f"session {new.key!r} has no finished lap {new.lap_number}; the page lists its laps"
        ) from error


def _in_store(run: "Callable[[Connection], T]") -> T:
    with _connected() as conn:
        return run(conn)


@contextmanager
def _connected() -> "Iterator[Connection]":
    import psycopg

    from serve.store_errors import translate_database_errors

    settings = bridge_database(DatabaseSettings.read())
    with (
        translate_database_errors(settings.address),
        psycopg.connect(settings.url.get_secret_value(), connect_timeout=5) as conn,
    ):
        yield conn


def _address(page: str) -> str:
    """Return the page's address: the given one, or that of the system that runs here."""
    running = Instance.find(state_folder(os.environ))
    return page or (running.page if running else "")
