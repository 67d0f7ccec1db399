"""Makes the store's tables, functions and views, or updates them to this version and to the
database's edition.

Safe to run twice, and by two processes at once: one transaction under a lock makes whatever is
absent. Table ``telemetry`` gets its columns from `analytics.model.channels`. A channel added there
appears in an existing store, as NULL in old frames.
"""

import psycopg
from psycopg import sql

from analytics.model.channels import CHANNELS, FRAMES, column_definitions
from ingest.settings import Retention
from ingest.store.deadlock_retry import retry_on_deadlock
from ingest.store.schema.analyst_views import drop_views
from ingest.store.schema.continuous_aggregates import migrate_summaries
from ingest.store.schema.edition import Edition, make_extension, read_edition, refuse_lost_licence
from ingest.store.schema.grants import grant_rights, have_roles
from ingest.store.schema.timescale_policies import migrate_columnstore, migrate_policies
from ingest.store.schema.version import scripts, state_version

# Any constant works, as long as nothing else in this database uses the same one.
_MIGRATION_LOCK = 7_205_759_403

# The time that a chunk of frames covers. Measured with a week of 20 cars on two CPUs (`python -m
# tests.bench.chunks`). Inserts: 340,000 rows/s in chunks of 1 h, 387,000 of 6 h, 380,000 of a day,
# 367,000 of a week. Reads were alike: 1,000 frames in 3.2 to 3.4 ms, planned in 0.1 to 0.2 ms. A
# day has the fewest chunks of the sizes with equal rates. The columnstore and retention work in
# days too.
CHUNK_HOURS = 24

# Names of older versions, and of this one.
_RENAMED_COLUMNS = (("sessions", "told_at", "reported_at"), ("gaps", "healed_at", "resolved_at"))
_RENAMED_TABLES = (("positions", "partition_offsets"),)
_RENAMED_INDEXES = (
    ("positions_pkey", "partition_offsets_pkey"),
    ("gaps_asked_for", "gaps_open_seen_at"),
)

_KEEP_ALL = Retention()


def migrate(conn: psycopg.Connection, retention: Retention = _KEEP_ALL) -> None:
    """Bring the database that ``conn`` is connected to up to this version of the schema, in one
    transaction.

    Workers may be writing: they wait for it, and it waits for the batches in progress. Raises
    LicenceLost.
    """
    retry_on_deadlock(lambda: _migrate(conn, retention))


def _migrate(conn: psycopg.Connection, retention: Retention) -> None:
    with conn.transaction():
        conn.execute("SELECT pg_advisory_xact_lock(%s)", [_MIGRATION_LOCK])
        # Suppress notices about objects that already exist.
        conn.execute("SET LOCAL client_min_messages = warning")
        # Before the tables: an analyst's query that is waited for keeps no worker waiting.
        drop_views(conn)
        if _columns(conn):
            # Every batch begins with this table. A batch that waits here holds no lock that the
            # migration needs.
            conn.execute("LOCK TABLE ONLY telemetry IN SHARE ROW EXCLUSIVE MODE")
        make_extension(conn)
        refuse_lost_licence(conn)
        migrate_to(conn, read_edition(conn), retention)


def migrate_to(conn: psycopg.Connection, edition: Edition, retention: Retention) -> None:
    """Bring the database to the schema of an edition, within a transaction."""
    _rename_old(conn)
    for script in scripts():
        conn.execute(script)
    _migrate_telemetry(conn)
    if edition.hypertable:
        _migrate_hypertable(conn)
    migrate_summaries(conn, edition)
    if edition.community:
        migrate_columnstore(conn)
        migrate_policies(conn, retention)
    if have_roles(conn):
        grant_rights(conn)
    state_version(conn)


def _rename_old(conn: psycopg.Connection) -> None:
    """Give tables, columns and indexes of an older version's store their names of today. Rows stay
    as they are.
    """
    for table, old, new in _RENAMED_COLUMNS:
        if old in _columns(conn, table):
            names = map(sql.Identifier, (table, old, new))
            conn.execute(sql.SQL("ALTER TABLE {} RENAME COLUMN {} TO {}").format(*names))
    for old, new in _RENAMED_TABLES:
        if _columns(conn, old):
            conn.execute(
                sql.SQL("ALTER TABLE {} RENAME TO {}").format(*map(sql.Identifier, (old, new)))
            )
    for old, new in _RENAMED_INDEXES:
        conn.execute(
            sql.SQL("ALTER INDEX IF EXISTS {} RENAME TO {}").format(
                *map(sql.Identifier, (old, new))
            )
        )


def _migrate_telemetry(conn: psycopg.Connection) -> None:
    # The definitions are constants of this program, never input.
    definitions = [sql.SQL(d) for d in column_definitions()]
    for table in ("telemetry", "telemetry_pending"):
        named = sql.Identifier(table)
        conn.execute(
            sql.SQL("CREATE TABLE IF NOT EXISTS {} ({})").format(
                named, sql.SQL(", ").join(definitions)
            )
        )
        there = _columns(conn, table)
        for name, definition in zip(FRAMES.names, definitions, strict=True):
            if name not in there:
                conn.execute(sql.SQL("ALTER TABLE {} ADD COLUMN {}").format(named, definition))
    _allow_unknown(conn)
    conn.execute(
        "CREATE INDEX IF NOT EXISTS telemetry_session_time ON telemetry (session_id, time)"
    )


def _allow_unknown(conn: psycopg.Connection) -> None:
    """Allow channels to be NULL in a store made when some of them were required."""
    required = conn.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass('telemetry') AND attnotnull"
        " AND attname = ANY(%s)",
        [[channel.name for channel in CHANNELS]],
    ).fetchall()
    if required:
        # One statement for all columns: on a hypertable it visits every chunk.
        drops = [
            sql.SQL("ALTER COLUMN {} DROP NOT NULL").format(sql.Identifier(name))
            for (name,) in required
        ]
        conn.execute(sql.SQL("ALTER TABLE telemetry {}").format(sql.SQL(", ").join(drops)))


def _migrate_hypertable(conn: psycopg.Connection) -> None:
    is_one = conn.execute(
        "SELECT FROM timescaledb_information.hypertables"
        " WHERE hypertable_schema = current_schema() AND hypertable_name = 'telemetry'"
    ).fetchone()
    if is_one is not None:
        return  # calling create_hypertable would lock out the workers that are writing
    # Every query names a session. With an index on time alone beside ours, COPY stored 267,000
    # rows/s instead of 380,000. A lap was read in 10 ms instead of 3, because the planner chose
    # that index. Existing frames move into chunks.
    conn.execute(
        "SELECT create_hypertable('telemetry', by_range('time', make_interval(hours => %s)),"
        " create_default_indexes => false, migrate_data => true)",
        [CHUNK_HOURS],
    )


def _columns(conn: psycopg.Connection, table: str = "telemetry") -> set[str]:
    rows = conn.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT"
        " attisdropped",
        [table],
    )
    return {name for (name,) in rows}
