"""Makes the summaries that `analytics.store.summaries` reads: continuous aggregates, or views of
the same names.

The edition decides: views stand in where there are no continuous aggregates. A continuous aggregate
returns the values that it has computed, and computes newer ones from the frames. So a running
session is correct at once. TimescaleDB notes late data in a time that has been computed, until the
policy runs again (`ingest.store.schema.timescale_policies`). Until then ``telemetry_1s_of`` reads a
session of that time from its frames. Only the view ``telemetry_1s`` lacks them.
"""

from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg import sql

from analytics.store.summaries import finished_laps, lap_sums
from ingest.store.schema.edition import Edition


@dataclass(frozen=True, slots=True)
class Summary:
    """Frames of a session grouped by a bucket of time. ``values`` are the columns kept of each
    group.
    """

    name: str
    bucket: str
    width: LiteralString
    values: LiteralString


SECONDS = Summary(
    "telemetry_1s",
    "second",
    "1 second",
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

SUMMARIES = (SECONDS,)

# A job of TimescaleDB, whose retention drops frames and keeps summaries
# (`ingest.store.schema.timescale_policies`). Takes laps that are over, the oldest first, as many as
# a run finishes in seconds. Frames older than ``days`` are gone; 0 means that none are.
_SUM_UP_LAPS = """
INSERT INTO lap_sums
SELECT l.session_id, l.lap_number, l.started_at, l.ended_at, l.frames, s.frames, s.first_frame_at,
       s.last_frame_at,
       s.min_speed_kmh, s.avg_speed_kmh, s.max_speed_kmh, s.full_throttle_share, s.braking_share,
       s.max_rpm
  FROM (SELECT l.session_id, l.lap_number, l.started_at, l.ended_at, l.frames
          FROM laps l
         WHERE l.ended_at < now() - interval '10 minutes'
           AND (0 = (config ->> 'days')::integer
               OR l.started_at > now() - (config ->> 'days')::integer * interval '1 day')
           AND NOT EXISTS (SELECT FROM telemetry_pending p WHERE p.session_id = l.session_id)
           AND NOT EXISTS (
                 SELECT FROM lap_sums k
                  WHERE (k.session_id, k.lap_number, k.started_at, k.ended_at, k.lap_frames)
                      = (l.session_id, l.lap_number, l.started_at, l.ended_at, l.frames))
         ORDER BY l.started_at LIMIT 1000) AS l
 CROSS JOIN LATERAL (
       SELECT {sums} FROM telemetry t
        WHERE t.session_id = l.session_id AND t.time >= l.started_at AND t.time < l.ended_at) AS s
    ON CONFLICT (session_id, lap_number) DO UPDATE
   SET (started_at, ended_at, lap_frames, frames, first_frame_at, last_frame_at, min_speed_kmh,
       avg_speed_kmh, max_speed_kmh,
        full_throttle_share, braking_share, max_rpm)
     = (excluded.started_at, excluded.ended_at, excluded.lap_frames, excluded.frames,
         excluded.first_frame_at,
        excluded.last_frame_at, excluded.min_speed_kmh, excluded.avg_speed_kmh,
        excluded.max_speed_kmh,
        excluded.full_throttle_share, excluded.braking_share, excluded.max_rpm)
"""

# Covers laps whose frames may have been dropped since. The minutes are those of the game's lap
# counter. If their number of frames differs from the lap's, nothing is kept of them.
_KEEP_LAP_MINUTES = """
INSERT INTO lap_sums
SELECT l.session_id, l.lap_number, l.started_at, l.ended_at, l.frames, sum(m.frames),
       min(first_frame_at), max(last_frame_at),
       min(min_speed_kmh), sum(sum_speed_kmh) / sum(m.frames)::float8, max(m.max_speed_kmh),
       sum(full_throttle_frames)::float8 / sum(m.frames)::float8,
       sum(braking_frames)::float8 / sum(m.frames)::float8, max(max_rpm)
  FROM laps l
  JOIN lap_minutes m ON m.session_id = l.session_id
                    AND m.first_frame_at >= l.started_at - interval '1 second'
                    AND m.last_frame_at < l.ended_at + interval '1 second'
                    AND m.first_frame_at + (m.last_frame_at - m.first_frame_at) / 2 BETWEEN
                        l.started_at AND l.ended_at
 WHERE l.ended_at IS NOT NULL
 GROUP BY 1, 2, 3, 4, 5
HAVING abs(sum(m.frames) - l.frames) <= 0.01 * l.frames
    ON CONFLICT DO NOTHING
"""

# For queries by time: a view would have to group all frames of the session first. A function of one
# SELECT is inlined into the query that names it. Its body is looked up at that moment, so views may
# be dropped under it.
_OF = """
CREATE OR REPLACE FUNCTION {name}(of_session integer, since timestamptz, until timestamptz)
RETURNS TABLE ({columns}) LANGUAGE sql STABLE AS {body}
"""

_OF_FRAMES: LiteralString = " WHERE session_id = of_session AND time >= since AND time < until"

_COLUMNS = """
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
 WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""


# True if frames were written into times of this session after those were computed. The log has µs
# since 1970. The next refresh removes such notes. TimescaleDB notes chunks that it dropped in the
# same way.
_STALE = """
EXISTS (SELECT FROM _timescaledb_catalog.continuous_aggs_hypertable_invalidation_log i
          JOIN _timescaledb_catalog.hypertable h ON h.id = i.hypertable_id
          JOIN sessions s ON s.id = of_session
         WHERE h.schema_name = current_schema() AND h.table_name = 'telemetry'
           AND i.lowest_modified_value <= extract(epoch FROM s.last_frame_at) * 1000000
           AND i.greatest_modified_value >= extract(epoch FROM s.started_at) * 1000000)
"""

# Retention has dropped the frames of earlier seconds. The values computed from those stay valid.
_FIRST_FRAME = """
(SELECT coalesce(date_bin(interval '1 second', min(time), timestamptz 'epoch'), 'infinity')
    FROM telemetry
  WHERE session_id = of_session)
"""

_NOTES_STALE = """
SELECT count(*) = 3 FROM pg_attribute
 WHERE attrelid = to_regclass('_timescaledb_catalog.continuous_aggs_hypertable_invalidation_log')
   AND NOT attisdropped
   AND attname IN ('hypertable_id', 'lowest_modified_value', 'greatest_modified_value')
"""


def migrate_summaries(conn: psycopg.Connection, edition: Edition) -> None:
    """Make absent summaries.

    A view becomes a continuous aggregate where that has become possible.
    """
    computed = _computed(conn) if edition.hypertable else set()
    for summary in SUMMARIES:
        if summary.name in computed:
            continue
        if edition.community:
            conn.execute(sql.SQL("DROP VIEW IF EXISTS {}").format(sql.Identifier(summary.name)))
            conn.execute(_as_aggregate(summary))
        else:
            conn.execute(_as_view(summary))
    for summary in SUMMARIES:
        _make_function(
            conn,
            (summary.name,),
            _within(summary, edition, notes_stale=conn.execute(_NOTES_STALE).fetchone() == (True,)),
        )
    sums = lap_sums()
    conn.execute(sql.SQL("CREATE OR REPLACE VIEW lap_summary AS {}").format(finished_laps()))
    conn.execute(
        sql.SQL(
            "CREATE OR REPLACE PROCEDURE sum_up_laps(job_id integer, config jsonb) LANGUAGE sql"
            " AS {}"
        ).format(sql.Literal(sql.SQL(_SUM_UP_LAPS).format(sums=sums).as_string()))
    )
    _drop_laps_by_counter(conn, "lap_minutes" in computed)


def summarize_frames(conn: psycopg.Connection, schema: str) -> None:
    """Make the summaries in ``schema``, of its own ``telemetry``: always from the frames.

    Whoever reads a continuous aggregate must have the right to read all of it, also behind a view:
    TimescaleDB checks the rights of the caller where it reads how far the aggregate was computed.
    """
    for summary in SUMMARIES:
        conn.execute(_as_view(summary, schema))
        body = _query(summary, sql.SQL("date_bin"), _OF_FRAMES, schema)
        _make_function(conn, (schema, summary.name), body)


def drop_summaries_of_frames(conn: psycopg.Connection, schema: str) -> None:
    """Drop what `summarize_frames` made in ``schema``."""
    for summary in SUMMARIES:
        function = sql.Identifier(schema, f"{summary.name}_of")
        conn.execute(sql.SQL("DROP FUNCTION IF EXISTS {}").format(function))
        view = sql.Identifier(schema, summary.name)
        conn.execute(sql.SQL("DROP VIEW IF EXISTS {}").format(view))


def _drop_laps_by_counter(conn: psycopg.Connection, computed: bool) -> None:
    """Drop the sums by the game's lap counter, minute by minute, that older versions made."""
    for name in ("lap_summary_of", "lap_minutes_of"):
        conn.execute(sql.SQL("DROP FUNCTION IF EXISTS {}").format(sql.Identifier(name)))
    if computed:
        conn.execute(_KEEP_LAP_MINUTES)
        conn.execute("DROP MATERIALIZED VIEW lap_minutes")
    else:
        conn.execute("DROP VIEW IF EXISTS lap_minutes")


def _computed(conn: psycopg.Connection) -> set[str]:
    rows = conn.execute(
        "SELECT view_name FROM timescaledb_information.continuous_aggregates WHERE view_schema ="
        " current_schema()"
    )
    return {name for (name,) in rows}


def _as_aggregate(summary: Summary) -> sql.Composed:
    # Without data: the policy computes it, and it reads from the frames until then.
    return sql.SQL(
        "CREATE MATERIALIZED VIEW {} WITH (timescaledb.continuous, timescaledb.materialized_only ="
        " false) AS {} WITH NO DATA"
    ).format(sql.Identifier(summary.name), _query(summary, sql.SQL("time_bucket")))


def _as_view(summary: Summary, *schema: str) -> sql.Composed:
    return sql.SQL("CREATE OR REPLACE VIEW {} AS {}").format(
        sql.Identifier(*schema, summary.name), _query(summary, sql.SQL("date_bin"), "", *schema)
    )


def _within(summary: Summary, edition: Edition, *, notes_stale: bool) -> sql.Composed:
    """Select the buckets of a session from ``since`` to ``until``.

    Both are ends of buckets, or a part of its frames would stand for a bucket.
    """
    if not edition.community:
        return _query(summary, sql.SQL("date_bin"), _OF_FRAMES)
    name, bucket = sql.Identifier(summary.name), sql.Identifier(summary.bucket)
    where = sql.SQL("session_id = of_session AND {} >= since AND {} < until").format(bucket, bucket)
    computed = sql.SQL("SELECT * FROM {} WHERE {}").format(name, where)
    if not notes_stale:
        return computed
    stale = sql.SQL(_STALE)
    frames = _query(summary, sql.SQL("date_bin"), _OF_FRAMES + " AND " + _STALE)
    dropped = sql.SQL("{} < {}").format(bucket, sql.SQL(_FIRST_FRAME))
    return sql.SQL("{} AND (NOT {} OR {}) UNION ALL ({})").format(computed, stale, dropped, frames)


def _make_function(conn: psycopg.Connection, name: tuple[str, ...], body: sql.Composed) -> None:
    """Make ``name_of(session, since, until)``: the rows of view or aggregate ``name`` that ``body``
    selects. The name may have a schema.
    """
    *schema, summary = name
    columns = [
        sql.SQL("{} {}").format(sql.Identifier(column), sql.SQL(of))
        for column, of in conn.execute(_COLUMNS, [sql.Identifier(*name).as_string()])
    ]
    conn.execute(
        sql.SQL(_OF).format(
            name=sql.Identifier(*schema, f"{summary}_of"),
            columns=sql.SQL(", ").join(columns),
            body=sql.Literal(body.as_string()),
        )
    )


def _query(
    summary: Summary, bucket: sql.SQL, where: LiteralString = "", *schema: str
) -> sql.Composed:
    return sql.SQL(
        "SELECT session_id, {}({}, time, timestamptz 'epoch') AS {}, {} FROM {}{} GROUP BY"
        " session_id, {}"
    ).format(
        bucket,
        sql.SQL("interval '{}'").format(sql.SQL(summary.width)),
        sql.Identifier(summary.bucket),
        sql.SQL(summary.values),
        sql.Identifier(*schema, "telemetry"),
        sql.SQL(where),
        sql.Identifier(summary.bucket),
    )
