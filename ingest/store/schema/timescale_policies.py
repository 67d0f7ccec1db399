"""Sets the automatic jobs of TimescaleDB's Community edition: columnstore, retention, and computing
summaries.

Rule: a job with the right settings is left alone, so its history and its next run stay. One that
differs is made again.
"""

from datetime import timedelta

import psycopg
from psycopg.types.json import Jsonb

from ingest.settings import Retention
from ingest.store.schema.continuous_aggregates import SUMMARIES

# A chunk is compressed when it has been over for this long. By then collectors have sent their
# backlog.
COLUMNSTORE_AFTER = timedelta(days=1)

# Frames of the last minutes are summed up at query time. This job sums up older ones, and late
# data.
_COMPUTED_UP_TO = timedelta(minutes=10)
_COMPUTED_EVERY = timedelta(minutes=5)

_COMPRESSION_ENABLED = """
SELECT compression_enabled FROM timescaledb_information.hypertables
 WHERE hypertable_schema = current_schema() AND hypertable_name = 'telemetry'
"""
# Both jobs lock the chunks of frames. When they began at one moment, a deadlock (40P01) ended one
# of them. Compression begins at 9 and 21 o'clock, retention at 3.
_COMPRESSES_AT_HOUR_UTC = 9
_DROPS_AT_HOUR_UTC = 3

#: The small tables with a time: its column, and the field of `Retention` for it.
_TIMES = {
    "laps": ("started_at", "laps_days"),
    "lap_sums": ("started_at", "summaries_days"),
    "gaps": ("seen_at", "gaps_days"),
    "dead_letters": ("seen_at", "dead_letters_days"),
}


def migrate_columnstore(conn: psycopg.Connection) -> None:
    """Compress chunks when they are old: each session separately, in order of time."""
    if conn.execute(_COMPRESSION_ENABLED).fetchone() != (True,):
        conn.execute(
            "ALTER TABLE telemetry SET (timescaledb.enable_columnstore,"
            " timescaledb.segmentby = 'session_id', timescaledb.orderby = 'time')"
        )
    conn.execute(
        "CALL add_columnstore_policy('telemetry', after => %s, if_not_exists => true)",
        [COLUMNSTORE_AFTER],
    )
    _start_at(conn, "policy_compression", _COMPRESSES_AT_HOUR_UTC)


def migrate_policies(conn: psycopg.Connection, retention: Retention) -> None:
    """Match the jobs to ``retention``, and let summaries follow the frames."""
    _keep(conn, "telemetry", retention.telemetry_days)
    _start_at(conn, "policy_retention", _DROPS_AT_HOUR_UTC)
    for summary in SUMMARIES:
        _keep(conn, summary.name, retention.summaries_days)
        _keep_computed(conn, summary.name, retention.telemetry_days)
    for table, (column, kept) in _TIMES.items():
        _expire(conn, table, column, getattr(retention, kept))
    config: dict[str, str | int] = {"table": "lap_sums", "days": retention.telemetry_days}
    _job(conn, "sum_up_laps", _COMPUTED_EVERY, config, wanted=True)


def _keep(conn: psycopg.Connection, relation: str, days: int) -> None:
    wanted = timedelta(days=days) if days else None
    found = _offset(conn, relation, "policy_retention", "drop_after")
    if (found and found[0]) == wanted:
        return
    conn.execute("SELECT remove_retention_policy(%s, if_exists => true)", [relation])
    if wanted:
        conn.execute(
            "SELECT add_retention_policy(%s, drop_after => %s::interval)", [relation, wanted]
        )


_START_AT = """
SELECT alter_job(job_id, fixed_schedule => true, initial_start => today + make_interval(days => 1,
       hours => %(hour)s),
                 next_start => (SELECT min(at)
                                  FROM generate_series(today + make_interval(hours => %(hour)s),
                                      today + interval '3 days',
                                                       schedule_interval) AS at
                                 WHERE at > now()))
  FROM timescaledb_information.jobs, date_trunc('day', now(), 'UTC') AS today
 WHERE proc_name = %(proc)s AND hypertable_schema = current_schema()
   AND hypertable_name = 'telemetry'
   AND (NOT fixed_schedule OR initial_start IS NULL OR extract(hour
       FROM initial_start AT TIME ZONE 'UTC') <> %(hour)s)
"""


def _start_at(conn: psycopg.Connection, proc: str, hour_utc: int) -> None:
    """Start a job of the frames at that hour, and then after every interval, however long a run
    takes.
    """
    conn.execute(_START_AT, {"proc": proc, "hour": hour_utc})


def _keep_computed(conn: psycopg.Connection, summary: str, frames_days: int) -> None:
    # Not as far back as frames are dropped: a summary without frames would be computed as empty.
    since = timedelta(days=frames_days) if frames_days else None
    if _offset(conn, summary, "policy_refresh_continuous_aggregate", "start_offset") == (since,):
        return
    conn.execute("SELECT remove_continuous_aggregate_policy(%s, if_exists => true)", [summary])
    # In one batch. By default a batch has ten buckets, so the first run takes one step per ten
    # seconds. It covers all time since the oldest frame, driven or not. Measured for three days
    # with one session: over ten minutes by default, 0.07 s in one batch.
    conn.execute(
        "SELECT add_continuous_aggregate_policy(%s, start_offset => %s::interval, end_offset =>"
        " %s::interval, schedule_interval => %s::interval, buckets_per_batch => 0)",
        [summary, since, _COMPUTED_UP_TO, _COMPUTED_EVERY],
    )


def _expire(conn: psycopg.Connection, table: str, column: str, days: int) -> None:
    config: dict[str, str | int] = {"table": table, "column": column, "days": days}
    _job(conn, "expire", timedelta(days=1), config, wanted=days > 0)


def _job(
    conn: psycopg.Connection,
    proc: str,
    every: timedelta,
    config: dict[str, str | int],
    *,
    wanted: bool,
) -> None:
    """Add, replace or delete our job for the table that its configuration names."""
    job = conn.execute(
        "SELECT job_id, config = %s FROM timescaledb_information.jobs WHERE proc_name = %s AND"
        " config ->> 'table' = %s",
        [Jsonb(config), proc, config["table"]],
    ).fetchone()
    if job and not (wanted and job[1]):
        conn.execute("SELECT delete_job(%s)", [job[0]])
    if wanted and not (job and job[1]):
        conn.execute("SELECT add_job(%s, %s::interval, config => %s)", [proc, every, Jsonb(config)])


# TimescaleDB names the table behind a continuous aggregate in older versions, and the aggregate in
# newer ones.
_OFFSET = """
SELECT (config ->> %(offset)s)::interval
  FROM timescaledb_information.jobs j
  LEFT JOIN timescaledb_information.continuous_aggregates a
         ON a.materialization_hypertable_schema = j.hypertable_schema
        AND a.materialization_hypertable_name = j.hypertable_name
 WHERE proc_name = %(proc)s AND coalesce(a.view_name, j.hypertable_name) = %(relation)s
"""


def _offset(
    conn: psycopg.Connection, relation: str, proc: str, offset: str
) -> tuple[timedelta | None] | None:
    """Return the setting ``offset`` of a relation's job; None if there is no such job."""
    return conn.execute(_OFFSET, {"relation": relation, "proc": proc, "offset": offset}).fetchone()
