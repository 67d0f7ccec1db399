"""Makes the store's tables and functions, or brings them up to date.

Safe to run twice and by two processes at once. Table ``telemetry`` gets its columns from `analytics.channels`: a channel
that is added there appears in an existing store as a nullable column.
"""

from importlib.resources import files

import psycopg
from psycopg import sql

from analytics.channels import FRAMES, column_definitions

# Any constant will do, as long as nothing else in this database takes the same one.
_MIGRATION_LOCK = 7_205_759_403


def migrate(conn: psycopg.Connection) -> None:
    """Bring the database that ``conn`` is connected to up to this version of the schema, in one transaction."""
    with conn.transaction():
        conn.execute("SELECT pg_advisory_xact_lock(%s)", [_MIGRATION_LOCK])
        # Notices about what already exists are no news to anybody.
        conn.execute("SET LOCAL client_min_messages = warning")
        for name in ("schema.sql", "advance.sql"):
            conn.execute(files("ingest").joinpath(name).read_bytes())
        _migrate_telemetry(conn)


def _migrate_telemetry(conn: psycopg.Connection) -> None:
    # The definitions are constants of this program, never input.
    definitions = [sql.SQL(d) for d in column_definitions()]
    conn.execute(sql.SQL("CREATE TABLE IF NOT EXISTS telemetry ({})").format(sql.SQL(", ").join(definitions)))
    for name, definition in zip(FRAMES.names, column_definitions(), strict=True):
        if name not in _columns(conn):
            nullable = definition.removesuffix(" NOT NULL")
            conn.execute(sql.SQL("ALTER TABLE telemetry ADD COLUMN {}").format(sql.SQL(nullable)))
    conn.execute("CREATE INDEX IF NOT EXISTS telemetry_session_time ON telemetry (session_id, time)")


def _columns(conn: psycopg.Connection) -> set[str]:
    rows = conn.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'telemetry'::regclass AND attnum > 0 AND NOT attisdropped"
    )
    return {name for (name,) in rows}


def edition(conn: psycopg.Connection) -> str:
    """Which store this is, in words: what is in force decides features, never correctness."""
    row = conn.execute("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'").fetchone()
    version = str(conn.info.server_version // 10_000)
    if row is None:
        return f"PostgreSQL {version}, without TimescaleDB: an ordinary table, no compression"
    return f"PostgreSQL {version} with TimescaleDB {row[0]} installed; table telemetry does not use it yet"
