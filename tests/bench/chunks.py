"""``python -m tests.bench.chunks``: how long a chunk of frames should be. Prints a table, writes
build/bench-chunks.json.

Twenty cars drive a thousand frames in every hour of a week, and are stored hour after hour as
ingest stores them: binary COPY of twenty thousand rows at a time. For each chunk interval, without
TimescaleDB's own index on time and with it: rows per second, and the times of planning and of
reading one car's frames of one hour.
"""

import json
import statistics
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import psycopg
import pyarrow as pa
from psycopg import sql
from rich.console import Console
from rich.table import Table

from analytics.model.channels import FRAMES
from analytics.store.arrow_fetch import read_table
from ingest.batching.write_batch import of_store
from ingest.codec.decode import decode
from ingest.embedded.postgres import Postgres
from ingest.embedded.timescale import timescale_programs
from ingest.store.partition_writer import COPY_FRAMES
from ingest.store.schema.migrations import migrate
from tests.bench.ingest import encoded
from tests.bench.records import serialized_session

REPORT = Path("build/bench-chunks.json")
CARS, HOURS, FRAMES_AN_HOUR = 20, 7 * 24, 1_000
INTERVALS_H = (1, 6, 24, 7 * 24)
_START = datetime(2026, 1, 1, tzinfo=UTC)
_ONE_CAR = (
    " FROM telemetry WHERE session_id = 7 AND time >= %(start)s AND time < %(end)s ORDER BY time"
)

console = Console(highlight=False, width=130)


@dataclass(frozen=True, slots=True)
class ChunkFigures:
    """What one interval measured; times are medians over hours all through the week."""

    hours: int
    time_index: bool
    chunks: int
    rows_per_s: float
    plan_ms: float
    read_ms: float


@click.command()
def main() -> None:
    """Measure COPY and reading by chunk interval, on the real TimescaleDB."""
    payloads = _week()
    figures = []
    with ExitStack() as stack:
        folder = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="purple-sector-", ignore_cleanup_errors=True)
        )
        Path(folder).chmod(0o755)
        server = stack.enter_context(
            Postgres.start(Path(folder) / "data", programs=timescale_programs)
        )
        conn = stack.enter_context(psycopg.connect(server.url, autocommit=True))
        migrate(conn)
        for time_index in (False, True):
            for hours in INTERVALS_H:
                figures.append(_measure(conn, hours, payloads, time_index=time_index))
                console.print(f"[dim]{figures[-1]}[/]")
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps([asdict(f) for f in figures], indent=2))
    console.print(_table(figures))
    console.print(f"written to {REPORT}")


def _week() -> list[bytes]:
    """The COPY data of each hour."""
    values = serialized_session(FRAMES_AN_HOUR, started_at_ms=int(_START.timestamp() * 1000))
    driven = decode(values, [b"bench"] * len(values)).frames
    cars = pa.concat_tables([of_store(driven, car) for car in range(1, CARS + 1)])
    time_us = cars["time"].cast(pa.int64()).to_numpy()
    place = FRAMES.get_field_index("time")
    field = FRAMES.field("time")
    hours = [pa.array(time_us + hour * 3_600_000_000).cast(field.type) for hour in range(HOURS)]
    return [encoded(cars.set_column(place, field, time).combine_chunks()) for time in hours]


def _measure(
    conn: psycopg.Connection[Any], hours: int, payloads: list[bytes], *, time_index: bool
) -> ChunkFigures:
    conn.execute("TRUNCATE telemetry")
    conn.execute("SELECT set_chunk_time_interval('telemetry', make_interval(hours => %s))", [hours])
    if time_index:
        conn.execute("CREATE INDEX IF NOT EXISTS telemetry_time ON telemetry (time DESC)")
    conn.execute("CHECKPOINT")
    rows_per_s = CARS * FRAMES_AN_HOUR * len(payloads) / _copy_s(conn, payloads)
    conn.execute("ANALYZE telemetry")
    (chunks,) = conn.execute("SELECT count(*) FROM show_chunks('telemetry')").fetchone() or (0,)
    times = [_read_ms(conn, _START + timedelta(hours=hour)) for hour in range(0, HOURS, 8)]
    plan_ms, read_ms = (statistics.median(column) for column in zip(*times, strict=True))
    return ChunkFigures(hours, time_index, chunks, rows_per_s, plan_ms, read_ms)


def _copy_s(conn: psycopg.Connection[Any], payloads: list[bytes]) -> float:
    started_at = time.perf_counter()
    for data in payloads:
        with conn.cursor().copy(COPY_FRAMES) as copy:
            copy.write(data)
    return time.perf_counter() - started_at


def _read_ms(conn: psycopg.Connection[Any], start: datetime) -> tuple[float, float]:
    """Planning as the server says, and reading into Arrow by the clock."""
    where = {"start": start, "end": start + timedelta(hours=1)}
    ((explained,),) = conn.execute(
        "EXPLAIN (SUMMARY, FORMAT JSON) SELECT *" + _ONE_CAR, where
    ).fetchall()
    started_at = time.perf_counter()
    frames = read_table(conn, FRAMES, sql.SQL(_ONE_CAR).format(), where)
    read_ms = (time.perf_counter() - started_at) * 1000
    assert frames.num_rows == FRAMES_AN_HOUR
    return explained[0]["Planning Time"], read_ms


def _table(figures: list[ChunkFigures]) -> Table:
    table = Table(
        title=f"{CARS * FRAMES_AN_HOUR * HOURS:,} frames of {CARS} cars in a week",
        title_justify="left",
    )
    for column in (
        "hours a chunk",
        "index on time",
        "chunks",
        "COPY, rows/s",
        "plan, ms",
        "read 1,000 frames, ms",
    ):
        table.add_column(column, justify="right")
    for f in figures:
        times = [f"{f.plan_ms:.1f}", f"{f.read_ms:.1f}"]
        table.add_row(
            str(f.hours),
            "yes" if f.time_index else "no",
            str(f.chunks),
            f"{f.rows_per_s:,.0f}",
            *times,
        )
    return table


if __name__ == "__main__":
    main()
