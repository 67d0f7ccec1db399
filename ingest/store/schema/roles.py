"""Makes the roles of the store on the server, and sets their passwords.

Rule: no password stands in a statement, because a server may log its statements. libpq computes the
SCRAM verifier here, and only that is sent.
"""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql

from ingest.errors import PurpleSectorError
from ingest.store.schema.analyst_views import VIEW_SCHEMA
from ingest.store.schema.grants import (
    ANALYSTS,
    BRIDGE,
    INGEST,
    ROLES,
    grant_rights,
    refuse_strong_roles,
)

_ROLE = """
SELECT EXISTS (SELECT FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
                WHERE m.member = r.oid AND g.rolname = %(group)s)
       AND NOT (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls)
  FROM pg_roles r WHERE rolname = %(name)s
"""

_OWNER = """
SELECT rolname FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner
 WHERE c.oid = to_regclass('sessions')
"""


class NotAnAnalyst(PurpleSectorError):
    """A role of this name exists, and is no analyst."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"role {name} exists and is no member of {ANALYSTS}; an analyst needs a login whose"
            " name is a driver's USER_ID and nobody else's"
        )
        self.name = name


class NoTables(PurpleSectorError):
    """The database has no tables to give rights to."""

    def __init__(self) -> None:
        super().__init__("the database has no tables yet: run purple-sector database upgrade first")


@dataclass(frozen=True, slots=True)
class Login:
    """A login with the password that it has now."""

    name: str
    password: str


def make_roles(
    conn: psycopg.Connection, passwords: Mapping[str, str], *, renew: bool = False
) -> list[Login]:
    """Make the roles that are absent, and give all of them their rights and no other, or nothing.

    Returns the logins that got a password: those made now, those in ``passwords``, and with
    ``renew`` all. Raises NoTables and RoleTooStrong.
    """
    with conn.transaction():
        conn.execute("SET LOCAL client_min_messages = error")
        owner = _owner(conn)
        made = [name for name in ROLES if _make_role(conn, name)]
        _close_database(conn, owner)
        with _as_role(conn, owner):
            grant_rights(conn)
        refuse_strong_roles(conn)
        logins = (INGEST, BRIDGE)
        changed = [name for name in logins if renew or name in made or name in passwords]
        return [_set_password(conn, name, passwords.get(name)) for name in changed]


def make_analyst(
    conn: psycopg.Connection, name: str, passwords: Mapping[str, str], *, renew: bool = False
) -> list[Login]:
    """Make a login that reads the sessions of the user ``name``; return it if it got a password.

    The roles must exist. Raises NotAnAnalyst.
    """
    with conn.transaction():
        found = conn.execute(_ROLE, {"name": name, "group": ANALYSTS}).fetchone()
        if found == (False,):
            raise NotAnAnalyst(name)
        login = sql.Identifier(name)
        if found is None:
            conn.execute(
                sql.SQL("CREATE ROLE {} LOGIN IN ROLE {}").format(login, sql.Identifier(ANALYSTS))
            )
        _set_defaults(conn, login)
        if found is None or renew or name in passwords:
            return [_set_password(conn, name, passwords.get(name))]
        return []


def _owner(conn: psycopg.Connection) -> str:
    row = conn.execute(_OWNER).fetchone()
    if row is None:
        raise NoTables
    return str(row[0])


def _make_role(conn: psycopg.Connection, name: str) -> bool:
    """Make a role if it is absent. Another database's run may be making it at this moment."""
    if conn.execute("SELECT FROM pg_roles WHERE rolname = %s", [name]).fetchone():
        return False
    kind = sql.SQL("NOLOGIN" if name == ANALYSTS else "LOGIN")
    try:
        with conn.transaction():
            conn.execute(sql.SQL("CREATE ROLE {} {}").format(sql.Identifier(name), kind))
    except (psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
        return False
    return True


def _close_database(conn: psycopg.Connection, owner: str) -> None:
    """Let our roles connect, and nobody but owners create."""
    database, schema = (
        sql.Identifier(str(name))
        for name in conn.execute("SELECT current_database(), current_schema()").fetchone() or ()
    )
    roles = sql.SQL(", ").join(map(sql.Identifier, ROLES))
    for statement in (
        sql.SQL("REVOKE CREATE, TEMPORARY ON DATABASE {} FROM PUBLIC, {}").format(database, roles),
        sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, roles),
        sql.SQL("REVOKE CREATE ON SCHEMA {} FROM PUBLIC, {}").format(schema, roles),
        sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(schema, roles),
        sql.SQL("CREATE SCHEMA IF NOT EXISTS {} AUTHORIZATION {}").format(
            sql.Identifier(VIEW_SCHEMA), sql.Identifier(owner)
        ),
    ):
        conn.execute(statement)


@contextmanager
def _as_role(conn: psycopg.Connection, role: str) -> Iterator[None]:
    """Act as the owner of the tables, so that a superuser's views do not read with all rights."""
    conn.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))
    yield
    conn.execute("RESET ROLE")


def _set_defaults(conn: psycopg.Connection, login: sql.Identifier) -> None:
    """Put the views before the tables, whose schema has the functions of TimescaleDB too.

    No query of an analyst takes parallel workers. The planner has them read the two parts of
    `analyst.telemetry`: to start them took 55 ms, for a lap that is read in 2 ms.
    """
    row = conn.execute("SELECT current_database(), current_schema()").fetchone()
    assert row is not None
    database, schema = row
    conn.execute(
        sql.SQL("ALTER ROLE {} IN DATABASE {} SET search_path = {}, {}").format(
            login, *map(sql.Identifier, (database, VIEW_SCHEMA, schema))
        )
    )
    conn.execute(
        sql.SQL("ALTER ROLE {} IN DATABASE {} SET max_parallel_workers_per_gather = 0").format(
            login, sql.Identifier(database)
        )
    )


def _set_password(conn: psycopg.Connection, name: str, given: str | None) -> Login:
    """Set a password, or a new one of 256 random bits. Return the login."""
    password = given or secrets.token_urlsafe(32)
    verifier = conn.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256")
    conn.execute(
        sql.SQL("ALTER ROLE {} PASSWORD {}").format(
            sql.Identifier(name), sql.Literal(verifier.decode())
        )
    )
    return Login(name, password)
