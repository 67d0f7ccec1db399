"""States the schema of a database, so that a process that may not change it can check it."""

import hashlib
from importlib.resources import files

import psycopg
from psycopg import sql

from analytics.model.channels import column_definitions
from ingest.errors import SchemaOutdated
from ingest.store.schema.analyst_views import VIEWS
from ingest.store.schema.continuous_aggregates import SUMMARIES
from ingest.store.schema.grants import RIGHTS

_FILES = ("schema.sql", "advance.sql", "expire.sql", "deletion.sql")
# A comment: every role may read it, and a dump holds it.
_STATED = "SELECT obj_description(to_regclass('partition_offsets'), 'pg_class')"

_MAY_MIGRATE = """
SELECT to_regclass('sessions') IS NULL
    OR (SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = to_regclass('sessions'))
"""


def scripts() -> list[bytes]:
    """Return the statements of the schema, one script after another."""
    return [files("ingest.store.schema").joinpath(name).read_bytes() for name in _FILES]


def may_migrate(conn: psycopg.Connection) -> bool:
    """Return whether this user owns the tables, or there are none yet."""
    return conn.execute(_MAY_MIGRATE).fetchone() == (True,)


def state_version(conn: psycopg.Connection) -> None:
    """Write the version of the schema into the database, within the migration."""
    conn.execute(
        sql.SQL("COMMENT ON TABLE partition_offsets IS {}").format(sql.Literal(_version()))
    )


def refuse_other_version(conn: psycopg.Connection, address: str) -> None:
    """Raise SchemaOutdated if another version of this program migrated the database last."""
    stated = (conn.execute(_STATED).fetchone() or (None,))[0]
    if stated != _version():
        raise SchemaOutdated(
            address, f"its schema is {stated or 'of no stated version'}, not {_version()}"
        )


def _version() -> str:
    rest = repr((column_definitions(), SUMMARIES, VIEWS, RIGHTS)).encode()
    return f"schema {hashlib.sha256(b''.join([*scripts(), rest])).hexdigest()[:16]}"
