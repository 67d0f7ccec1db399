"""Determines a database's edition: plain PostgreSQL, TimescaleDB Apache, or TimescaleDB Community.

Tables, views and columns have the same names in all editions, and queries return the same results.
Rule: the edition decides features, never correctness. This module detects and reports missing
features, and the store works without them.
"""

import re
from dataclasses import dataclass, replace

import psycopg
from psycopg.rows import class_row

from ingest.errors import LicenceLost

# If the server did not preload the library, CREATE EXTENSION would end the connection. Only the
# library knows the setting that is queried here. Few roles may read shared_preload_libraries.
_EDITION = """
SELECT current_setting('server_version_num')::integer / 10000 AS postgresql,
       coalesce(extversion, '') AS timescaledb,
       coalesce(default_version, '') AS available,
       current_setting('timescaledb.max_background_workers', true) IS NOT NULL AS preloaded,
       extversion IS NOT NULL AND coalesce(current_setting('timescaledb.license',
           true) = 'timescale', false) AS licensed
  FROM (VALUES ('timescaledb')) AS wanted(name)
  LEFT JOIN pg_extension ON extname = name
  LEFT JOIN pg_available_extensions USING (name)
"""

# Objects that only the Community edition makes. The views read here work under either licence.
_COMMUNITY_ONLY = """
SELECT format('%s compressed chunks', count(*)) AS kept
  FROM timescaledb_information.chunks
 WHERE is_compressed AND hypertable_schema = current_schema() AND hypertable_name = 'telemetry'
HAVING count(*) > 0
UNION ALL
SELECT format('%s continuous aggregates', count(*))
  FROM timescaledb_information.continuous_aggregates WHERE view_schema = current_schema()
HAVING count(*) > 0
UNION ALL
SELECT format('%s policies', count(*))
  FROM timescaledb_information.jobs
 WHERE proc_name IN ('policy_compression', 'policy_retention',
     'policy_refresh_continuous_aggregate')
    OR (proc_name IN ('expire', 'sum_up_laps') AND proc_schema = current_schema())
HAVING count(*) > 0
"""

# The first version with the columnstore's procedures and refreshes in one piece, all that we
# require.
_FIRST = (2, 19)


@dataclass(frozen=True, slots=True)
class Edition:
    """The edition in force. ``timescaledb`` is its version in this database, ``available`` the
    server's version.

    ``unlicensed`` counts the objects that the Community edition made, if the server's licence no
    longer covers them.
    """

    postgresql: int
    timescaledb: str
    available: str
    preloaded: bool
    licensed: bool
    unlicensed: tuple[str, ...] = ()

    @property
    def update_pending(self) -> bool:
        """Return whether the server's library is newer than the extension in this database."""
        return bool(self.timescaledb) and _version(self.available) > _version(self.timescaledb)

    @property
    def hypertable(self) -> bool:
        """Return whether table telemetry is in chunks."""
        return bool(self.timescaledb)

    @property
    def community(self) -> bool:
        """Return whether old chunks are compressed, jobs run, and summaries are computed ahead."""
        return self.licensed and _numbers(self.timescaledb) >= _FIRST

    @property
    def off(self) -> tuple[str, ...]:
        """Return the missing features, each with its reason."""
        if not self.hypertable:
            return (f"hypertable, columnstore, policies, continuous aggregates: {self._why_plain}",)
        if not self.community:
            why = (
                f"{self.timescaledb} is older than 2.19"
                if self.licensed
                else "the Apache edition has none"
            )
            return (f"columnstore, policies, continuous aggregates: {why}",)
        return ()

    @property
    def _why_plain(self) -> str:
        if not self.available:
            return "the server has no TimescaleDB"
        if not self.preloaded:
            return (
                f"the server has TimescaleDB {self.available}, but not in shared_preload_libraries"
            )
        return (
            f"the server has TimescaleDB {self.available}, this database has not:"
            " purple-sector database upgrade makes it, as a user who may"
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return the problems that a person must fix, each with its remedy."""
        pending = (
            f"the server has TimescaleDB {self.available}, this database still {self.timescaledb}:"
            " purple-sector database upgrade updates it"
        )
        lost = (str(LicenceLost(self.unlicensed)),) if self.unlicensed else ()
        return lost + ((pending,) if self.update_pending else ())

    def __str__(self) -> str:
        if not self.hypertable:
            return (
                f"PostgreSQL {self.postgresql}, without TimescaleDB: an ordinary table, no"
                " compression"
            )
        kind = "Community edition" if self.licensed else "Apache edition"
        kind += ": a hypertable, " + (
            "compressed when it is old" if self.community else "no compression"
        )
        return f"PostgreSQL {self.postgresql} with TimescaleDB {self.timescaledb}, {kind}"


def _numbers(version: str) -> tuple[int, ...]:
    """Parse ``2.23.0-dev`` as (2, 23)."""
    return _version(version)[:2]


def _version(version: str) -> tuple[int, ...]:
    """Parse ``2.23.0-dev`` as (2, 23, 0)."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def read_edition(conn: psycopg.Connection) -> Edition:
    """Query the edition of the database that ``conn`` is connected to."""
    with conn.cursor(row_factory=class_row(Edition)) as cursor:
        edition = cursor.execute(_EDITION).fetchone()
    assert edition is not None
    if edition.timescaledb and not edition.licensed:
        return replace(edition, unlicensed=community_only(conn))
    return edition


def community_only(conn: psycopg.Connection) -> tuple[str, ...]:
    """Count the objects that only the Community edition can have made in this database, each in
    words.
    """
    return tuple(kept for (kept,) in conn.execute(_COMMUNITY_ONLY))


def refuse_lost_licence(conn: psycopg.Connection) -> None:
    """Raise LicenceLost if the server's licence does not cover the objects in this database."""
    edition = read_edition(conn)
    if edition.unlicensed:
        raise LicenceLost(edition.unlicensed)


def update_extension(url: str) -> str | None:
    """Update TimescaleDB in a database to the server's library. Return its version, or None if it
    is current.

    TimescaleDB accepts the statement only as the first of a session. A session that did anything
    else has loaded the library of the extension's version. If the server lost that library, the
    session can do nothing else (58P01 on 2.19.3).
    """
    if not _update_is_pending(url):
        return None
    with psycopg.connect(url, autocommit=True, connect_timeout=5) as conn:
        conn.execute("ALTER EXTENSION timescaledb UPDATE")
    with psycopg.connect(url, connect_timeout=5) as conn:
        return read_edition(conn).timescaledb


def _update_is_pending(url: str) -> bool:
    try:
        with psycopg.connect(url, connect_timeout=5) as conn:
            return read_edition(conn).update_pending
    except psycopg.errors.UndefinedFile as missing:
        if "timescaledb" in str(missing):
            return True
        raise


def make_extension(conn: psycopg.Connection) -> None:
    """Make the extension TimescaleDB if the server has it and this user may. If not, the table
    stays ordinary.
    """
    edition = read_edition(conn)
    if edition.timescaledb or not (edition.available and edition.preloaded):
        return
    try:
        with conn.transaction():
            conn.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
    except psycopg.errors.InsufficientPrivilege:
        pass  # `Edition.off` reports it
