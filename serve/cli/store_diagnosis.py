"""Diagnoses faults of a store, with their meaning: failed jobs, missing frames, and jobs without a
scheduler.
"""

from dataclasses import dataclass

import psycopg

# A row of telemetry_pending waits for its chunk (`ingest.store.locked_chunks`).
# Frames that retention dropped do not count as lost.
_LACKING = """
WITH there AS (
    SELECT session_id, count(*) AS frames
      FROM (SELECT session_id FROM telemetry UNION ALL SELECT session_id FROM telemetry_pending)
          AS f GROUP BY session_id)
SELECT count(*) AS sessions, coalesce(sum(s.frames - coalesce(there.frames, 0)), 0)::bigint
       AS frames, min(s.key) AS first
  FROM sessions s LEFT JOIN there ON there.session_id = s.id
 WHERE s.frames > coalesce(there.frames, 0)
   AND (%(kept)s::interval IS NULL OR s.started_at > now() - %(kept)s::interval)
"""

_KEPT = """
SELECT config ->> 'drop_after' FROM timescaledb_information.jobs
 WHERE proc_name = 'policy_retention' AND hypertable_schema = current_schema()
   AND hypertable_name = 'telemetry'
"""

# Each database with TimescaleDB has one scheduler. It starts the workers that run its jobs.
_SCHEDULER = """
SELECT (SELECT count(*) FROM pg_stat_activity
         WHERE backend_type = 'TimescaleDB Background Worker Scheduler'
           AND datname = current_database()) AS here,
       (SELECT count(*) FROM pg_stat_activity
           WHERE backend_type = 'TimescaleDB Background Worker Scheduler') AS everywhere,
       (SELECT count(*) FROM pg_database WHERE datallowconn) AS databases,
       current_setting('timescaledb.max_background_workers', true) AS background_workers,
       current_setting('max_worker_processes') AS processes
"""

# The meaning of a failed job's error, by its SQLSTATE and a part of its message.
_JOB_ERRORS = {
    ("24000", "cannot drop portal"): (
        "its work was done and committed: PostgreSQL 17.12 with TimescaleDB up to 2.29.2 marks"
        " every job so, and runs it less and less often, at last at five times its interval;"
        " another PostgreSQL release ends that"
    ),
    ("40P01", ""): "it and another transaction waited for each other; it is run again by itself",
    ("55P03", ""): "what it needs was locked; it is run again by itself",
}


@dataclass(frozen=True, slots=True)
class Lacking:
    """The frames that were counted as stored and are missing. ``first`` is the key of one of their
    sessions.
    """

    sessions: int
    frames: int
    first: str | None

    def __str__(self) -> str:
        return (
            f"{self.frames:,} frames of {self.sessions} sessions were stored once and are not"
            f" there, of {self.first!r} among them: a restore without timescaledb_pre_restore()"
            " loses frames so (docs/backup.md)"
        )


def explain_job_error(code: str | None, message: str) -> str:
    """Return the database's message about a failed job, and its meaning. ``code`` is its SQLSTATE.

    On PostgreSQL 17.12 with TimescaleDB up to 2.29.2 every job does its work and commits it. The
    database then marks the job Failed with 24000.
    """
    for (known, part), meaning in _JOB_ERRORS.items():
        if code == known and part in message:
            return f"{code}: {message}: {meaning}"
    return f"{code or 'no code'}: {message}"


def explain_scheduler(
    *, here: int, everywhere: int, databases: int, background_workers: str | None, processes: str
) -> str:
    """Return the reason why no job of this database runs. Empty where its scheduler runs."""
    if here:
        return ""
    return (
        "TimescaleDB runs no scheduler for this database, so that none of its jobs is run:"
        f" {everywhere} schedulers run in {databases} databases; raise"
        f" timescaledb.max_background_workers (now {background_workers or 'not set'}) and"
        f" max_worker_processes (now {processes}), which the jobs need too"
    )


def read_lacking(
    conn: psycopg.Connection, *, community: bool, timeout_s: float = 10.0
) -> Lacking | None:
    """Count the missing frames. Return None where the count takes longer than ``timeout_s``."""
    kept = conn.execute(_KEPT).fetchone() if community else None
    try:
        with conn.transaction():
            conn.execute(
                "SELECT set_config('statement_timeout', %s, true)", [f"{timeout_s * 1000:.0f}ms"]
            )
            row = conn.execute(_LACKING, {"kept": kept[0] if kept else None}).fetchone()
    except psycopg.errors.QueryCanceled:
        return None
    return Lacking(*(row or (0, 0, None)))


def read_scheduler_fault(conn: psycopg.Connection) -> str:
    """Return the result of `explain_scheduler` for this server."""
    row = conn.execute(_SCHEDULER).fetchone() or (0, 0, 0, None, "")
    here, everywhere, databases, workers, processes = row
    return explain_scheduler(
        here=here,
        everywhere=everywhere,
        databases=databases,
        background_workers=workers,
        processes=processes,
    )
