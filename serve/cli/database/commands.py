"""Makes the tables and roles of the store, or shows its state: ``purple-sector database``.

All commands connect as the owner of the tables, where OWNER_DATABASE_URL is set.
"""

import re
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import click

from ingest.errors import PurpleSectorError
from ingest.settings import DatabaseSettings, owner_database
from serve.cli.database.passwords import parse_passwords

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from ingest.store.schema.roles import Login

# A USER_ID that fits into the name of a role: PostgreSQL cuts longer ones off, and two users could
# become one.
_USER = re.compile(r"(?!pg_|none$|public$)[A-Za-z0-9._-]{1,63}")
_PERSONAL = {"user", "password", "passfile"}
_VARIABLES = {"purple_ingest": "DATABASE_URL", "purple_bridge": "SERVE_DATABASE_URL"}


@click.group()
def database() -> None:
    """Create the tables and roles of the store, or show its edition."""


@database.command("upgrade")
def upgrade() -> None:
    """Create the tables, or migrate them to this version. Safe to run twice, and by two processes
    at once.

    The rights of the roles, where there are roles, are renewed with them.
    """
    from serve.local.system import prepare_database

    prepare_database(owner_database(DatabaseSettings.read()), click.echo)


@database.command("status")
def status() -> None:
    """Show the edition of the store, the features that are off, its contents and its jobs."""
    from serve.cli.store_status import read_store_status

    with _connected() as (conn, settings):
        click.echo("\n".join([f"the store at {settings.address}", *read_store_status(conn).lines]))


def _checked_user(_: click.Context, __: click.Parameter, user: str | None) -> str | None:
    if user is not None and not _USER.fullmatch(user):
        raise click.BadParameter(
            "want 1 to 63 letters, digits, dots, dashes or _; pg_..., none and public are"
            " PostgreSQL's own"
        )
    return user


@database.command("roles")
@click.option(
    "--analyst",
    callback=_checked_user,
    help="Make a login that reads only the sessions of this USER_ID.",
)
@click.option("--new-passwords", is_flag=True, help="Give logins that exist new passwords as well.")
@click.option(
    "--passwords",
    "file",
    type=click.File(encoding="utf-8"),
    help="Take passwords from this file, one LOGIN=password a line; - is the standard input.",
)
def roles(analyst: str | None, new_passwords: bool, file: IO[str] | None) -> None:
    """Create the roles of ingest, of the page and of analysts, and set what each may do.

    Safe to run again. The password of a new login is printed once, within the address that its
    part connects to. Run it as the owner of the tables who may make roles.
    """
    given = parse_passwords(file.read()) if file else {}
    for login, address in _make(analyst, given, renew=new_passwords):
        name = _VARIABLES.get(login.name, "DATABASE_URL")
        click.echo(f"{name}={address}")
    click.echo("the roles have their rights, and no others", err=True)


def _make(analyst: str | None, given: dict[str, str], *, renew: bool) -> "list[tuple[Login, str]]":
    from ingest.store.schema.grants import have_all_roles
    from ingest.store.schema.roles import make_analyst, make_roles

    known = {analyst} if analyst else set(_VARIABLES)
    if unknown := sorted(set(given) - known):
        raise PurpleSectorError(f"{unknown[0]} is none of {', '.join(sorted(known))}: no login")
    with _connected() as (conn, settings):
        url = settings.url.get_secret_value()
        if not analyst:
            made = make_roles(conn, given, renew=renew)
        else:
            # Roles that are there are left alone: their views may be in use.
            made = [] if have_all_roles(conn) else make_roles(conn, {})
            made += make_analyst(conn, analyst, given, renew=renew)
    # Printed after the commit, and not where the password was in a file already.
    return [
        (login, address_of(url, login.name, None if login.name in given else login.password))
        for login in made
    ]


def address_of(url: str, user: str, password: str | None) -> str:
    """Return the address of a database with another user and password; ``...`` stands for None."""
    parts = urlsplit(url)
    hosts = parts.netloc.rpartition("@")[2]
    shown = "..." if password is None else quote(password, safe="")
    # Who the owner is may stand there too.
    rest = [(name, value) for name, value in parse_qsl(parts.query) if name not in _PERSONAL]
    netloc = f"{quote(user, safe='')}:{shown}@{hosts}"
    return urlunsplit(parts._replace(netloc=netloc, query=urlencode(rest)))


@contextmanager
def _connected() -> "Iterator[tuple[psycopg.Connection, DatabaseSettings]]":
    import psycopg

    from serve.store_errors import translate_database_errors

    settings = owner_database(DatabaseSettings.read())
    with (
        translate_database_errors(settings.address),
        psycopg.connect(settings.url.get_secret_value(), connect_timeout=5) as conn,
    ):
        yield conn, settings
