"""``python -m tests.bench.compression``: prints a table, and writes build/bench-compression.json.

Bytes per frame before and after the columnstore took them over, and the time of reading a lap, for
the simulated field and for each recording; on the Community edition that `tests.pglite` runs, whose
times are WebAssembly's. Every value is read back and compared. Beside them what xz makes of the
same columns when each is given as the second differences of its bits, bytes of equal weight
together: no database's codec, but what is in the data.
"""

import json
import lzma
import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
import pyarrow as pa
from psycopg import sql
from rich.console import Console
from rich.table import Table

from analytics.files.recording import open_recording
from analytics.model.channels import FRAMES
from analytics.store import queries as store
from ingest.codec.decode import decode
from ingest.store.schema.migrations import migrate
from tests.bench.records import serialized_session
from tests.paths import SHARED
from tests.pglite import community, connect, make_timescaledb
from tests.service.field import Conn, keep, stored

REPORT = Path("build/bench-compression.json")
RECORDINGS = SHARED / "data"
BUDGET_BYTES = 8.0
_READINGS = 15

_SIZES = """
SELECT before_compression_total_bytes::float8, after_compression_total_bytes::float8
  FROM hypertable_columnstore_stats('telemetry')
"""

# The catalog's chunks name them too, by compressed_chunk_id, which 2.29 has not any more; this both
# have.
COMPRESSED = """
SELECT n.nspname, c.relname
  FROM _timescaledb_catalog.compression_settings s
  JOIN pg_class c ON c.oid = s.compress_relid
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE s.relid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'telemetry'::regclass)
"""

console = Console(highlight=False, width=130)


@dataclass(frozen=True, slots=True)
class CompressionFigures:
    """What one session measured. Bytes are per frame; before and after with indexes and the space
    left free in pages, which tells in short sessions; ``values_bytes`` without, and ``columns`` are
    its parts."""

    name: str
    frames: int
    rate_hz: float
    channels: int
    before_bytes: float
    after_bytes: float
    values_bytes: float
    xz_bytes: float
    lap_frames: int
    lap_before_ms: float
    lap_after_ms: float
    columns: dict[str, float]


@click.command()
@click.option(
    "--frames",
    default=216_000,
    show_default=True,
    help="Frames of the simulated session: an hour of them.",
)
def main(frames: int) -> None:
    """Measure what the columnstore saves."""
    figures = []
    for name, session in _sessions(frames):
        console.print(f"[dim]{name}: {session.num_rows:,} frames[/]")
        with community() as url, connect(url) as conn:
            make_timescaledb(conn)
            migrate(conn)
            figures.append(_measure(conn, name, session))
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(
        json.dumps(
            {"budget_bytes": BUDGET_BYTES, "sessions": [asdict(f) for f in figures]}, indent=2
        )
    )
    console.print(_table(figures))
    console.print(_of_columns(figures[0]))
    console.print(f"written to {REPORT}")


def _sessions(frames: int) -> Iterator[tuple[str, pa.Table]]:
    values = serialized_session(frames)
    yield "simulated field", decode(values, [b"bench"] * frames).frames
    for path in sorted(RECORDINGS.glob("*.parquet")):
        recorded = open_recording(path).frames()
        # A collector that replays it would number them.
        numbers = pa.array(np.arange(1, recorded.num_rows + 1))
        yield (
            path.stem,
            recorded.set_column(FRAMES.get_field_index("sequence"), "sequence", numbers),
        )


def _measure(conn: Conn, name: str, session: pa.Table) -> CompressionFigures:
    frames = keep(conn, name, session)
    lap_number = store.laps(conn, name)[1].lap_number
    before_ms, lap_frames = _read_lap(conn, name, lap_number)
    for (chunk,) in conn.execute("SELECT show_chunks('telemetry')::text").fetchall():
        conn.execute("CALL convert_to_columnstore(%s::regclass)", [chunk])
    after_ms, _ = _read_lap(conn, name, lap_number)
    if not stored(conn, frames).equals(frames):
        raise AssertionError(f"{name}: what was compressed is not what was stored")
    before, after = conn.execute(_SIZES).fetchone() or (0, 0)
    count = frames.num_rows
    columns = _column_bytes(conn, count)
    interval_us = float(np.median(np.diff(frames["time"].cast(pa.int64()).to_numpy())))
    return CompressionFigures(
        name=name,
        frames=count,
        rate_hz=round(1e6 / interval_us, 1),
        channels=sum(frames[column].null_count < count for column in FRAMES.names[3:]),
        before_bytes=before / count,
        after_bytes=after / count,
        values_bytes=sum(columns.values()),
        xz_bytes=sum(_xz_bytes(frames[column]) for column in FRAMES.names) / count,
        lap_frames=lap_frames,
        lap_before_ms=before_ms,
        lap_after_ms=after_ms,
        columns=columns,
    )


def _read_lap(conn: Conn, name: str, lap_number: int) -> tuple[float, int]:
    """The median time of reading a lap into Arrow, and how many frames it has."""
    times_ms = []
    for _ in range(_READINGS):
        started_at = time.perf_counter()
        frames = store.lap_frames(conn, name, lap_number)
        times_ms.append((time.perf_counter() - started_at) * 1000)
    return statistics.median(times_ms), frames.num_rows


def _column_bytes(conn: Conn, count: int) -> dict[str, float]:
    totals = dict.fromkeys(FRAMES.names, 0.0)
    sizes = sql.SQL(", ").join(
        sql.SQL("coalesce(sum(pg_column_size({})), 0)::float8").format(sql.Identifier(column))
        for column in totals
    )
    for place in conn.execute(COMPRESSED).fetchall():
        row = conn.execute(
            sql.SQL("SELECT {} FROM {}").format(sizes, sql.Identifier(*place))
        ).fetchone()
        assert row is not None
        for column, size in zip(totals, row, strict=True):
            totals[column] += size / count
    return totals


def _xz_bytes(column: pa.ChunkedArray) -> int:
    values = column.drop_null().to_numpy()
    bits = values.view(f"i{values.itemsize}").astype(np.int64)
    differences = np.diff(np.diff(bits, prepend=0), prepend=0)
    # Small numbers of either sign to small ones without: 0, -1, 1, -2, …
    folded = (differences << 1) ^ (differences >> 63)
    planes = folded.view(np.uint8).reshape(-1, 8).T
    return len(lzma.compress(planes.tobytes(), preset=6))


def _table(figures: list[CompressionFigures]) -> Table:
    table = Table(
        title=f"Bytes per frame; the budget is {BUDGET_BYTES:g} at 60 Hz", title_justify="left"
    )
    for column in (
        "session",
        "frames",
        "Hz",
        "channels",
        "before",
        "after",
        "values",
        "xz",
        "a lap of",
        "read before",
        "read after",
    ):
        table.add_column(column, justify="left" if column == "session" else "right")
    for f in figures:
        sizes = [
            f"{size:.1f}" for size in (f.before_bytes, f.after_bytes, f.values_bytes, f.xz_bytes)
        ]
        lap = [f"{f.lap_frames:,}", f"{f.lap_before_ms:.1f} ms", f"{f.lap_after_ms:.1f} ms"]
        table.add_row(f.name, f"{f.frames:,}", f"{f.rate_hz:g}", str(f.channels), *sizes, *lap)
    return table


def _of_columns(f: CompressionFigures) -> Table:
    table = Table(
        title=f"{f.name}: bytes per frame of each column, compressed", title_justify="left"
    )
    table.add_column("column")
    table.add_column("bytes", justify="right")
    for column, size in sorted(f.columns.items(), key=lambda item: -item[1]):
        table.add_row(column, f"{size:.2f}")
    return table


if __name__ == "__main__":
    main()
