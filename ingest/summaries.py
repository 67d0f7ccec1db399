"""Makes the summaries that `analytics.summaries` reads: continuous aggregates where there are any, else views of the same names.

A continuous aggregate answers from what it has computed, and from the frames for what is newer: a running session is right at
once. Frames that come late, into a time that has been computed already, show when the policy has run again (`ingest.policies`).
"""

from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg import sql

from analytics.summaries import BRAKING, FULL_THROTTLE
from ingest.edition import Edition


@dataclass(frozen=True, slots=True)
class Summary:
    """Frames of a session grouped by a bucket of time, and by ``more`` columns. ``values`` says what is kept of each group."""

    name: str
    bucket: str
    width: LiteralString
    more: tuple[str, ...]
    values: LiteralString


SECONDS = Summary(
    "telemetry_1s",
    "second",
    "1 second",
    (),
    """
    count(*) AS frames,
    max(lap_number) AS lap_number,
    avg(speed_kmh) AS avg_speed_kmh,
    max(speed_kmh) AS max_speed_kmh,
    avg(throttle) AS avg_throttle,
    avg(brake) AS avg_brake,
    avg(steering) AS avg_steering,
    avg(rpm)::float8 AS avg_rpm,
    avg(x_m) AS avg_x_m,
    avg(z_m) AS avg_z_m
    """,
)

# A continuous aggregate has a bucket of time in its groups, and a lap has none: this is what `_LAP_SUMMARY` adds up.
LAP_MINUTES = Summary(
    "lap_minutes",
    "minute",
    "1 minute",
    ("lap_number",),
    """
    count(*) AS frames,
    min(time) AS first_frame_at,
    max(time) AS last_frame_at,
    min(speed_kmh) AS min_speed_kmh,
    sum(speed_kmh::float8) AS sum_speed_kmh,
    max(speed_kmh) AS max_speed_kmh,
    count(*) FILTER (WHERE throttle >= {full_throttle}) AS full_throttle_frames,
    count(*) FILTER (WHERE brake >= {braking}) AS braking_frames,
    max(rpm) AS max_rpm
    """,
)

SUMMARIES = (SECONDS, LAP_MINUTES)

_LAP_SUMMARY = """
SELECT session_id, lap_number,
       min(first_frame_at) AS first_frame_at,
       max(last_frame_at) AS last_frame_at,
       sum(frames)::bigint AS frames,
       min(min_speed_kmh) AS min_speed_kmh,
       sum(sum_speed_kmh) / sum(frames)::float8 AS avg_speed_kmh,
       max(max_speed_kmh) AS max_speed_kmh,
       sum(full_throttle_frames)::float8 / sum(frames)::float8 AS full_throttle_share,
       sum(braking_frames)::float8 / sum(frames)::float8 AS braking_share,
       max(max_rpm) AS max_rpm
  FROM {minutes} GROUP BY session_id, lap_number
"""

# What is asked for by time: a view would know it only when all frames of the session are grouped. A function of one SELECT
# becomes part of the query that names it, and its body is looked up then: views may be dropped under it.
_OF = """
CREATE OR REPLACE FUNCTION {name}(of_session integer, since timestamptz, until timestamptz)
RETURNS TABLE ({columns}) LANGUAGE sql STABLE AS {body}
"""

_COLUMNS = """
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
 WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""


def migrate_summaries(conn: psycopg.Connection, edition: Edition) -> None:
    """Make what is absent; a view becomes a continuous aggregate where that has become possible."""
    computed = _computed(conn) if edition.hypertable else set()
    for summary in SUMMARIES:
        if summary.name in computed:
            continue
        if edition.community:
            conn.execute("DROP VIEW IF EXISTS lap_summary")
            conn.execute(sql.SQL("DROP VIEW IF EXISTS {}").format(sql.Identifier(summary.name)))
            conn.execute(_as_aggregate(summary))
        else:
            conn.execute(_as_view(summary))
    laps = sql.SQL(_LAP_SUMMARY)
    conn.execute(
        sql.SQL("CREATE OR REPLACE VIEW lap_summary AS {}").format(laps.format(minutes=sql.SQL("lap_minutes")))
    )
    for summary in SUMMARIES:
        _make_function(conn, summary.name, _within(summary, edition))
    _make_function(conn, "lap_summary", laps.format(minutes=sql.SQL("lap_minutes_of(of_session, since, until)")))


def _computed(conn: psycopg.Connection) -> set[str]:
    rows = conn.execute(
        "SELECT view_name FROM timescaledb_information.continuous_aggregates WHERE view_schema = current_schema()"
    )
    return {name for (name,) in rows}


def _as_aggregate(summary: Summary) -> sql.Composed:
    # Without data: it is computed by the policy, and answers from the frames until then.
    return sql.SQL(
        "CREATE MATERIALIZED VIEW {} WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS {} WITH NO DATA"
    ).format(sql.Identifier(summary.name), _query(summary, sql.SQL("time_bucket")))


def _as_view(summary: Summary) -> sql.Composed:
    return sql.SQL("CREATE OR REPLACE VIEW {} AS {}").format(
        sql.Identifier(summary.name), _query(summary, sql.SQL("date_bin"))
    )


def _within(summary: Summary, edition: Edition) -> sql.Composed:
    """The buckets of a session from since to until, which are the ends of buckets, or one would be told by a part of its frames."""
    if edition.community:
        name, bucket = sql.Identifier(summary.name), sql.Identifier(summary.bucket)
        where = sql.SQL("session_id = of_session AND {} >= since AND {} < until").format(bucket, bucket)
        return sql.SQL("SELECT * FROM {} WHERE {}").format(name, where)
    return _query(summary, sql.SQL("date_bin"), " WHERE session_id = of_session AND time >= since AND time < until")


def _make_function(conn: psycopg.Connection, name: str, body: sql.Composed) -> None:
    """Of the rows that the view or aggregate ``name`` has, those that ``body`` selects: ``name_of(session, since, until)``."""
    columns = [
        sql.SQL("{} {}").format(sql.Identifier(column), sql.SQL(of)) for column, of in conn.execute(_COLUMNS, [name])
    ]
    conn.execute(
        sql.SQL(_OF).format(
            name=sql.Identifier(f"{name}_of"), columns=sql.SQL(", ").join(columns), body=sql.Literal(body.as_string())
        )
    )


def _query(summary: Summary, bucket: sql.SQL, where: LiteralString = "") -> sql.Composed:
    groups = sql.SQL(", ").join(map(sql.Identifier, ["session_id", *summary.more]))
    return sql.SQL("SELECT {}, {}({}, time, timestamptz 'epoch') AS {}, {} FROM telemetry{} GROUP BY {}, {}").format(
        groups,
        bucket,
        sql.SQL("interval '{}'").format(sql.SQL(summary.width)),
        sql.Identifier(summary.bucket),
        sql.SQL(summary.values).format(full_throttle=sql.Literal(FULL_THROTTLE), braking=sql.Literal(BRAKING)),
        sql.SQL(where),
        groups,
        sql.Identifier(summary.bucket),
    )
