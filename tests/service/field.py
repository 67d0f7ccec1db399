"""A session of the simulated field in the store, and all that is read of it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pyarrow as pa
from psycopg import sql

from analytics.laps.engine import advance
from analytics.model.channels import FRAMES
from analytics.store import queries as store
from analytics.store import summaries
from analytics.store.arrow_fetch import read_table
from ingest.batching.write_batch import of_store
from ingest.codec.decode import decode
from tests.bench.records import serialized_session
from tests.pglite import insert_frames

Conn = psycopg.Connection[Any]

FRAMES_DRIVEN = 9_000  # two and a half minutes, with a whole lap in them


def driven(*, days_ago: float, seed: int = 1) -> pa.Table:
    """The frames of a session that began so long ago."""
    started_at = datetime.now(UTC) - timedelta(days=days_ago)
    values = serialized_session(
        FRAMES_DRIVEN, seed=seed, started_at_ms=int(started_at.timestamp() * 1000)
    )
    return decode(values, [b"driven"] * len(values)).frames


def keep(conn: Conn, key: str, frames: pa.Table) -> pa.Table:
    """Store a session as ingest would, but without COPY; its frames as they are stored."""
    row = conn.execute(
        "INSERT INTO sessions (key, frames, topic, partition) VALUES (%s, %s, 'telemetry', 0)"
        " RETURNING id",
        [key, frames.num_rows],
    ).fetchone()
    assert row is not None
    frames = of_store(frames, row[0]).combine_chunks()
    insert_frames(conn, frames)
    for lap in advance(frames, None)[0]:
        conn.execute(
            "INSERT INTO laps (session_id, lap_number, started_at, ended_at, lap_time_ms, frames,"
            " gaps, max_speed_kmh) VALUES (%s, %s, to_timestamp(%s / 1e6), to_timestamp(%s / 1e6),"
            " %s, %s, %s, %s)",
            [
                row[0],
                lap.lap_number,
                lap.started_at_us,
                lap.ended_at_us,
                lap.lap_time_ms,
                lap.frames,
                lap.gaps,
                lap.max_speed_kmh,
            ],
        )
    return frames


def stored(conn: Conn, session: pa.Table) -> pa.Table:
    """The frames of a session that the store has, in order of time."""
    source = sql.SQL(" FROM telemetry WHERE session_id = %(id)s ORDER BY time").format()
    return read_table(conn, FRAMES, source, {"id": session["session_id"][0].as_py()})


def answers(conn: Conn, key: str) -> tuple[Any, ...]:
    """All that is read of a session."""
    laps = store.laps(conn, key)
    return (
        summaries.seconds(conn, key),
        summaries.lap_summaries(conn, key),
        laps,
        [store.lap_frames(conn, key, lap.lap_number) for lap in laps],
    )


class Sent(psycopg.Cursor[Any]):
    """Notes the last query that was sent, and what was asked of it."""

    last: tuple[str, Any] = "", None

    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        Sent.last = _text(query, self), params
        return super().execute(query, params, **options)

    def copy(self, statement: Any, params: Any = None, **options: Any) -> Any:
        Sent.last = (
            _text(statement, self)
            .removeprefix("COPY (")
            .removesuffix(") TO STDOUT (FORMAT BINARY)"),
            params,
        )
        return super().copy(statement, params, **options)


def _text(query: Any, cursor: psycopg.Cursor[Any]) -> str:
    if isinstance(query, sql.Composable):
        return query.as_string(cursor)
    return query if isinstance(query, str) else query.decode()


def plan(conn: Conn, question: Callable[[Conn], Any], *, analyze: bool = False) -> str:
    """How the database goes about what a question asks it last: the very query that was sent."""
    usual = conn.cursor_factory
    conn.cursor_factory = Sent
    try:
        question(conn)
    finally:
        conn.cursor_factory = usual
    query, params = Sent.last
    # As COPY has them, and ordinary queries until they are prepared: with the values in the text.
    with psycopg.ClientCursor(conn) as cursor:
        rows = cursor.execute(
            f"EXPLAIN ({'ANALYZE, TIMING OFF' if analyze else 'COSTS'}) {query}", params
        ).fetchall()
    return "\n".join(line for (line,) in rows)
