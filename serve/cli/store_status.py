"""Reads the state for `purple-sector database status`: edition, disabled features, sizes, chunks
and job runs.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg
from psycopg.rows import class_row

from ingest.store.schema.edition import Edition, read_edition
from serve.cli.store_counts import StoreCounts, read_store_counts
from serve.cli.store_diagnosis import Lacking, explain_job_error, read_lacking, read_scheduler_fault

_PLAIN_SIZE = "SELECT pg_total_relation_size('telemetry')"
_HYPERTABLE_SIZE = "SELECT hypertable_size('telemetry')"
_FRAMES = "SELECT coalesce(sum(frames), 0)::bigint FROM sessions"

_CHUNKS = """
SELECT time_interval AS covers, count(chunk_name) AS count, count(*) FILTER (WHERE is_compressed)
       AS compressed
  FROM timescaledb_information.dimensions d
  LEFT JOIN timescaledb_information.chunks c USING (hypertable_schema, hypertable_name)
 WHERE hypertable_schema = current_schema() AND hypertable_name = 'telemetry'
 GROUP BY time_interval
"""

_COMPRESSION = """
SELECT before_compression_total_bytes::bigint AS before_bytes, after_compression_total_bytes::bigint
       AS after_bytes
  FROM hypertable_columnstore_stats('telemetry') WHERE after_compression_total_bytes > 0
"""

# hypertable_name is that of a continuous aggregate or of the table behind it, depending on
# TimescaleDB's version.
_JOBS = """
SELECT CASE j.proc_name WHEN 'policy_compression'
       THEN 'compresses chunks older than ' || (j.config ->> 'compress_after')
                        WHEN 'policy_retention'
                        THEN 'drops chunks older than ' || (j.config ->> 'drop_after')
                        WHEN 'policy_refresh_continuous_aggregate'
                        THEN 'sums up what is older than ' || (j.config ->> 'end_offset')
                        WHEN 'expire' THEN 'deletes rows older than ' || (j.config ->> 'days') ||
                        ' days'
                        WHEN 'sum_up_laps' THEN 'keeps what laps came to'
       END AS does,
       coalesce(a.view_name, j.hypertable_name, j.config ->> 'table') AS relation,
       j.schedule_interval AS every, nullif(s.last_run_started_at, '-infinity') AS last_run_at,
       s.last_run_status AS last_status,
       e.sqlerrcode AS error_code, e.err_message AS error
  FROM timescaledb_information.jobs j
  LEFT JOIN timescaledb_information.job_stats s USING (job_id)
  LEFT JOIN LATERAL (
       SELECT sqlerrcode, err_message FROM timescaledb_information.job_errors e
        WHERE e.job_id = j.job_id AND s.last_run_status = 'Failed' ORDER BY finish_time DESC
            LIMIT 1) AS e ON true
  LEFT JOIN timescaledb_information.continuous_aggregates a
         ON a.materialization_hypertable_schema = j.hypertable_schema
        AND a.materialization_hypertable_name = j.hypertable_name
 WHERE j.proc_name IN ('policy_compression', 'policy_retention',
     'policy_refresh_continuous_aggregate', 'expire', 'sum_up_laps')
 ORDER BY relation, does
"""


@dataclass(frozen=True, slots=True)
class Chunks:
    """The chunks of frames: the time that one covers, their number, and the number of compressed
    ones.
    """

    covers: timedelta
    count: int
    compressed: int


@dataclass(frozen=True, slots=True)
class Compression:
    """The size of the compressed chunks with their indexes, before compression and after."""

    before_bytes: int
    after_bytes: int


@dataclass(frozen=True, slots=True)
class Job:
    """A policy that the database runs automatically. ``last_run_at`` is None before the first run.

    ``error`` is the message of a failed last run, and ``error_code`` its SQLSTATE. Both are None
    where it did not fail.
    """

    does: str
    relation: str
    every: timedelta
    last_run_at: datetime | None
    last_status: str | None
    error_code: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """The state of the store at one moment. Fields that its edition lacks are None or empty."""

    edition: Edition
    frames: int
    frames_bytes: int
    counts: StoreCounts
    chunks: Chunks | None = None
    compression: Compression | None = None
    jobs: tuple[Job, ...] = ()
    lacking: Lacking | None = None
    scheduler_fault: str = ""

    @property
    def faults(self) -> list[str]:
        """Return the faults that need a person's attention."""
        found = list(self.edition.warnings)
        if self.edition.unlicensed:
            pass  # the server refuses to read compressed frames
        elif self.lacking is None:
            found.append("the frames were not counted: that took longer than 10 s")
        elif self.lacking.frames:
            found.append(str(self.lacking))
        return found + [self.scheduler_fault] * bool(self.scheduler_fault)

    @property
    def lines(self) -> list[str]:
        """Return the status as lines for people."""
        lines = [str(self.edition), *(f"warning: {what}" for what in self.faults)]
        lines += [f"off: {what}" for what in self.edition.off]
        lines.append(f"{self.frames:,} frames in {_mb(self.frames_bytes)}")
        lines += [self.counts.letter_text, *filter(None, [self.counts.clock_text])]
        if self.chunks:
            lines.append(_chunks(self.chunks))
        if self.compression:
            lines.append(_compression(self.compression))
        return lines + [_job(job) for job in self.jobs]


def read_store_status(conn: psycopg.Connection) -> StoreStatus:
    """Query the database. Raises psycopg's UndefinedTable where it has no tables yet."""
    edition = read_edition(conn)
    frames, counts = _number(conn, _FRAMES), read_store_counts(conn)
    lacking = None if edition.unlicensed else read_lacking(conn, community=edition.community)
    if not edition.hypertable:
        return StoreStatus(edition, frames, _number(conn, _PLAIN_SIZE), counts, lacking=lacking)
    with conn.cursor(row_factory=class_row(Chunks)) as cursor:
        chunks = cursor.execute(_CHUNKS).fetchone()
    size_bytes = _number(conn, _HYPERTABLE_SIZE if chunks else _PLAIN_SIZE)
    if not edition.community:
        return StoreStatus(edition, frames, size_bytes, counts, chunks, lacking=lacking)
    with conn.cursor(row_factory=class_row(Compression)) as cursor:
        compression = cursor.execute(_COMPRESSION).fetchone()
    with conn.cursor(row_factory=class_row(Job)) as cursor:
        jobs = tuple(cursor.execute(_JOBS).fetchall())
    fault = read_scheduler_fault(conn)
    return StoreStatus(
        edition, frames, size_bytes, counts, chunks, compression, jobs, lacking, fault
    )


def _number(conn: psycopg.Connection, question: str) -> int:
    (number,) = conn.execute(question.encode()).fetchone() or (0,)
    return int(number or 0)


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.1f} MB"


def _chunks(chunks: Chunks) -> str:
    covers = f"{chunks.covers / timedelta(hours=1):g} h"
    return f"{chunks.count} chunks of {covers}, {chunks.compressed} of them compressed"


def _compression(sizes: Compression) -> str:
    return f"compressed: {_mb(sizes.before_bytes)} to {_mb(sizes.after_bytes)}"


def _job(job: Job) -> str:
    when = (
        f"last run {job.last_run_at:%Y-%m-%d %H:%M:%S}, {job.last_status}"
        if job.last_run_at
        else "has not run yet"
    )
    why = f": {explain_job_error(job.error_code, job.error)}" if job.error else ""
    return f"{job.relation}: {job.does}, every {job.every}; {when}{why}"
