"""Finds chunks that are locked against writers, and keeps their frames in table
``telemetry_pending`` meanwhile.

TimescaleDB's columnstore job holds an ExclusiveLock on the chunk that it compresses. Late data of
that day would block the live frames of their partition. Measured on 2.29.2: 5 of 33 late batches
waited longer than the lock timeout of 5 s.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
from psycopg import sql
from psycopg.rows import class_row

from analytics.model.channels import FRAMES

_HAS_CHUNKS = "SELECT to_regclass('timescaledb_information.chunks') IS NOT NULL"

# A process that waits for such a lock counts too. It gets the lock before any later request.
_LOCKED = """
SELECT DISTINCT ON (chunk_schema, chunk_name) chunk_schema || '.' || chunk_name AS name,
       (extract(epoch FROM range_start) * 1000000)::bigint AS from_us,
       (extract(epoch FROM range_end) * 1000000)::bigint AS to_us,
       l.mode, l.pid, coalesce(nullif(a.application_name, ''), 'no name') AS application
  FROM pg_locks l
  JOIN pg_class r ON r.oid = l.relation
  JOIN pg_namespace n ON n.oid = r.relnamespace
  JOIN timescaledb_information.chunks c ON c.chunk_schema = n.nspname AND c.chunk_name = r.relname
  LEFT JOIN pg_stat_activity a ON a.pid = l.pid
 WHERE l.locktype = 'relation' AND l.pid <> pg_backend_pid()
   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
   AND c.hypertable_schema = current_schema() AND c.hypertable_name = 'telemetry'
"""

_LOCKED_TABLES = """
SELECT format('table %s is locked (%s) by process %s (%s)', r.relname, l.mode, l.pid,
              coalesce(nullif(a.application_name, ''), 'no name'))
  FROM pg_locks l JOIN pg_class r ON r.oid = l.relation LEFT JOIN pg_stat_activity a
    ON a.pid = l.pid
 WHERE l.locktype = 'relation' AND l.pid <> pg_backend_pid() AND l.granted AND r.relkind = 'r'
   AND r.relnamespace = current_schema()::regnamespace
   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
 ORDER BY 1
"""

_PENDING = "SELECT EXISTS (SELECT FROM telemetry_pending)"

_COLUMNS = sql.SQL(", ").join(map(sql.Identifier, FRAMES.names))

# One statement that commits on its own: a frame is in exactly one of both tables at any time. The
# laps of these sessions were timed without the frames.
_MOVE = sql.SQL("""
WITH chosen AS (
    SELECT p.ctid
      FROM telemetry_pending p JOIN sessions s ON s.id = p.session_id
     WHERE s.topic = %(topic)s AND s.partition = %(index)s
       AND NOT EXISTS (
             SELECT FROM unnest(%(from_us)s::bigint[], %(to_us)s::bigint[])
                    AS locked(from_us, to_us)
              WHERE p.time >= timestamptz 'epoch' + locked.from_us * interval '1 microsecond'
                AND p.time < timestamptz 'epoch' + locked.to_us * interval '1 microsecond')
     LIMIT %(rows)s FOR UPDATE OF p SKIP LOCKED),
moved AS (DELETE FROM telemetry_pending p USING chosen WHERE p.ctid = chosen.ctid RETURNING p.*),
stored AS (INSERT INTO telemetry ({columns}) SELECT {columns} FROM moved)
UPDATE sessions s SET late_from = least(s.late_from, m.first)
  FROM (SELECT session_id, min(time) AS first, count(*) AS frames FROM moved GROUP BY session_id)
      AS m
 WHERE s.id = m.session_id
RETURNING m.frames
""").format(columns=_COLUMNS)
_ROWS_AT_ONCE = 20_000


@dataclass(frozen=True, slots=True)
class LockedChunk:
    """A chunk with frames of ``from_us <= time < to_us`` (µs since 1970), and the process that
    locks it.
    """

    name: str
    from_us: int
    to_us: int
    mode: str
    pid: int
    application: str

    def __str__(self) -> str:
        return (
            f"chunk {self.name} is locked ({self.mode}) by process {self.pid} ({self.application})"
        )


def locked_chunks(conn: psycopg.Connection) -> list[LockedChunk]:
    """Return the chunks of frames that other sessions lock against writers; empty if there are no
    chunks.
    """
    if conn.execute(_HAS_CHUNKS).fetchone() != (True,):
        return []
    with conn.cursor(row_factory=class_row(LockedChunk)) as cursor:
        return cursor.execute(_LOCKED).fetchall()


def describe_locks(conn: psycopg.Connection) -> str:
    """Describe the locks that block writers, and their holders; empty if none is held any more."""
    tables = [table for (table,) in conn.execute(_LOCKED_TABLES)]
    return ", ".join([*map(str, locked_chunks(conn)), *tables])


def split_frames(frames: pa.Table, locked: Sequence[LockedChunk]) -> tuple[pa.Table, pa.Table]:
    """Split frames into those that can be stored now and those of locked chunks."""
    times_us = frames["time"].cast(pa.int64()).to_numpy()
    waits = np.zeros(frames.num_rows, dtype=bool)
    for chunk in locked:
        waits |= (times_us >= chunk.from_us) & (times_us < chunk.to_us)
    return frames.filter(pa.array(~waits)), frames.filter(pa.array(waits))


def move_pending(conn: psycopg.Connection, place: dict[str, Any]) -> int:
    """Move frames of a partition's sessions into chunks that are no longer locked. Return their
    number.
    """
    if conn.execute(_PENDING).fetchone() != (True,):
        return 0
    locked = locked_chunks(conn)
    ranges = {"from_us": [one.from_us for one in locked], "to_us": [one.to_us for one in locked]}
    moved = conn.execute(_MOVE, place | ranges | {"rows": _ROWS_AT_ONCE}).fetchall()
    return sum(frames for (frames,) in moved)
