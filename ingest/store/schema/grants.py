"""Grants the roles of the store their rights: ingest writes, the page reads and shares, analysts
read what is theirs or shared with them.

The owner of the tables runs this. Rule: the rights are stated here in full. A grant takes away
whatever else a role has on our tables, so that it may run again, and after every migration.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg import sql

from ingest.errors import PurpleSectorError
from ingest.store.schema.analyst_views import VIEW_SCHEMA, make_views

INGEST = "purple_ingest"
BRIDGE = "purple_bridge"
#: A group. Each analyst has a login of their own in it.
ANALYSTS = "purple_analyst"
ROLES = (INGEST, BRIDGE, ANALYSTS)

# FOR UPDATE needs the right to update, so ingest has it on frames that wait. Frames in their place
# are never changed.
_INGEST: Mapping[str, LiteralString] = {
    "sessions": "SELECT, INSERT, UPDATE",
    "clock_corrections": "SELECT, INSERT, UPDATE",
    "tracks": "SELECT, INSERT",
    "laps": "SELECT, INSERT, UPDATE, DELETE",
    "lap_sums": "SELECT",
    "lap_summary": "SELECT",
    "lap_colours": "SELECT, INSERT, UPDATE",
    "bests": "SELECT, INSERT, DELETE",
    "judgements_due": "SELECT, DELETE",
    "deleted_sessions": "SELECT",
    "gaps": "SELECT, INSERT, UPDATE",
    "dead_letters": "SELECT, INSERT, UPDATE, DELETE",
    "dead_letters_not_kept": "SELECT, INSERT, UPDATE",
    "partition_offsets": "SELECT, INSERT, UPDATE",
    "telemetry": "SELECT, INSERT",
    "telemetry_1s": "SELECT",
    "telemetry_pending": "SELECT, INSERT, UPDATE, DELETE",
}
# A share is made whole and is never changed, but for being revoked.
_SHARES: LiteralString = (
    "SELECT, INSERT (session_id, lap_number, token_sha256, users, made_by, expires_at),"
    " UPDATE (revoked_at)"
)
_BRIDGE: Mapping[str, LiteralString] = {
    **dict.fromkeys(
        (
            "sessions", "tracks", "laps", "lap_sums", "lap_summary", "lap_colours", "bests",
            "telemetry", "telemetry_1s", "deleted_sessions",
        ),
        "SELECT",
    ),
    "shares": _SHARES,
}  # fmt: skip
_RELATIONS = (*_INGEST, "shares")


@dataclass(frozen=True, slots=True)
class Rights:
    """The rights of a role: on relations, and the functions that it may call."""

    relations: Mapping[str, LiteralString]
    routines: tuple[str, ...]


# Only jobs call expire and sum_up_laps, as the owner. The functions of deletion.sql act as the
# owner, and each does one thing: no other statement of these roles changes or deletes a session.
RIGHTS: Mapping[str, Rights] = {
    INGEST: Rights(_INGEST, ("advance", "telemetry_1s_of", "erase_session")),
    BRIDGE: Rights(_BRIDGE, ("telemetry_1s_of", "change_session", "delete_session")),
    ANALYSTS: Rights({}, ()),
}
_ROUTINES = (
    "advance", "expire", "sum_up_laps", "telemetry_1s_of", "change_session", "delete_session",
    "judge_again", "erase_session",
)  # fmt: skip

_OUR_ROUTINES = """
SELECT proname, oid::regprocedure::text FROM pg_proc
 WHERE pronamespace = current_schema()::regnamespace AND proname = ANY(%s)
"""

# A right of PUBLIC is a right of every role.
_TOO_MUCH = """
SELECT r.rolname, what
  FROM pg_roles r
 CROSS JOIN LATERAL (VALUES
       ('create tables in schema ' || current_schema(),
        has_schema_privilege(r.oid, current_schema(), 'CREATE')),
       ('create schemas', has_database_privilege(r.oid, current_database(), 'CREATE')),
       ('create temporary tables', has_database_privilege(r.oid, current_database(), 'TEMPORARY')),
       ('act for others, as a superuser or as one who makes roles',
        rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls),
       ('act as a role that it is a member of',
        EXISTS (SELECT FROM pg_auth_members m WHERE m.member = r.oid))
       ) AS rights(what, has)
 WHERE r.rolname = ANY(%s) AND has
 ORDER BY 1, 2
"""


class RoleTooStrong(PurpleSectorError):
    """A role of ours may do more than it should. Nothing was changed."""

    def __init__(self, role: str, right: str) -> None:
        super().__init__(
            f"role {role} may {right}, and must not: revoke it from {role} and from PUBLIC, or run"
            " this as the owner of the database; nothing was changed"
        )
        self.role = role
        self.right = right


def existing_roles(conn: psycopg.Connection) -> list[str]:
    """Return those of our roles that the server has."""
    rows = conn.execute(
        "SELECT rolname FROM pg_roles WHERE rolname = ANY(%s) ORDER BY 1", [list(ROLES)]
    )
    return [name for (name,) in rows]


def have_roles(conn: psycopg.Connection) -> bool:
    """Return whether the roles were ever made for this database."""
    return conn.execute("SELECT to_regnamespace(%s) IS NOT NULL", [VIEW_SCHEMA]).fetchone() == (
        True,
    )


def have_all_roles(conn: psycopg.Connection) -> bool:
    """Return whether this database has its views, and the server all roles.

    A database that was restored elsewhere may have the views alone.
    """
    return have_roles(conn) and len(existing_roles(conn)) == len(ROLES)


def grant_rights(conn: psycopg.Connection) -> None:
    """Make the analysts' views, and set the rights of those of our roles that there are.

    Runs in a transaction, as the owner of the tables. Schema `VIEW_SCHEMA` must exist.
    """
    roles = existing_roles(conn)
    make_views(conn)
    # What PUBLIC may call, every login of the server may.
    _each(conn, "REVOKE ALL ON ROUTINE {} FROM PUBLIC", _routines(conn, _ROUTINES))
    for role in roles:
        _grant_to(conn, role, RIGHTS[role])
    if ANALYSTS in roles:
        views = (sql.Identifier(VIEW_SCHEMA), sql.Identifier(ANALYSTS))
        conn.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(*views))
        conn.execute(sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA {} TO {}").format(*views))


def refuse_strong_roles(conn: psycopg.Connection) -> None:
    """Raise RoleTooStrong if a role of ours may create something, or act for others."""
    found = conn.execute(_TOO_MUCH, [list(ROLES)]).fetchone()
    if found is not None:
        raise RoleTooStrong(*found)


def _grant_to(conn: psycopg.Connection, role: str, rights: Rights) -> None:
    to = sql.Identifier(role)
    _each(conn, "REVOKE ALL ON {} FROM {}", map(sql.Identifier, _RELATIONS), to)
    for relation, what in rights.relations.items():
        conn.execute(
            sql.SQL("GRANT {} ON {} TO {}").format(sql.SQL(what), sql.Identifier(relation), to)
        )
    _each(conn, "REVOKE ALL ON ROUTINE {} FROM {}", _routines(conn, _ROUTINES), to)
    _each(conn, "GRANT EXECUTE ON ROUTINE {} TO {}", _routines(conn, rights.routines), to)


def _routines(conn: psycopg.Connection, names: tuple[str, ...]) -> list[sql.Composable]:
    # The server's own text of the signature, quoted as it must be.
    rows = conn.execute(_OUR_ROUTINES, [list(names)]).fetchall()
    return [sql.SQL(signature) for _, signature in rows]


def _each(
    conn: psycopg.Connection,
    statement: LiteralString,
    relations: "list[sql.Composable] | map[sql.Identifier]",
    *others: sql.Composable,
) -> None:
    for relation in relations:
        conn.execute(sql.SQL(statement).format(relation, *others))
