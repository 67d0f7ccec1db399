"""Records in Kafka → committed rows with laps, beside a bare COPY of the same rows into the same
table.

The baseline is what `COPY ... FROM STDIN (FORMAT BINARY)` stores from bytes that were encoded
beforehand, in batches of the same size: over one connection, and over two at once, which is all
that two CPUs can store. Each runs before and after ingest, and the faster of the two counts.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import LiteralString

import pgpq
import psycopg
import pyarrow as pa

from analytics.model.channels import FRAMES
from ingest.batching.write_batch import of_store
from ingest.codec.decode import decode
from ingest.settings import DatabaseSettings, IngestSettings, KafkaSettings, LogSettings
from ingest.store.partition_writer import COPY_FRAMES
from ingest.workers.supervisor import ClusterSettings, start_ingest, stop_ingest
from tests.bench.records import publish, serialized_session, session_keys

SESSIONS = 20
PARTITIONS = 10
BATCH_ROWS = 20_000


@dataclass(frozen=True, slots=True)
class IngestFigures:
    """What one run measured. Rates are per second."""

    frames: int
    laps: int
    frames_per_s: float
    copy_rows_per_s: float
    ratio: float
    parallel_copy_rows_per_s: float
    parallel_ratio: float


def measure_ingest(
    kafka: KafkaSettings, database: DatabaseSettings, *, frames: int, report: Callable[[str], None]
) -> IngestFigures:
    """Measure on an empty topic and an empty store, with Ray connected. Leaves both as it found
    them, but for the topic.
    """
    values = serialized_session(frames // SESSIONS)
    keys = session_keys(SESSIONS, partitions=PARTITIONS)
    total = len(values) * len(keys)
    payloads = _payloads(values)
    report(f"COPY of {total:,} rows, before")
    before = [_time_copy(database, payloads, connections) for connections in (1, 2)]
    report(f"publishing {total:,} records")
    publish(kafka, keys, values, partitions=PARTITIONS)
    report("ingest")
    rate, laps = _time_ingest(kafka, database, total)
    report("COPY, after")
    after = [_time_copy(database, payloads, connections) for connections in (1, 2)]
    one, two = map(max, zip(before, after, strict=True))
    return IngestFigures(total, laps, rate, one, rate / one, two, rate / two)


def _payloads(values: list[bytes]) -> list[list[bytes]]:
    """For each session, the COPY data of its batches."""
    table = decode(values, [b"bench"] * len(values)).frames
    return [
        [
            encoded(of_store(table.slice(start, BATCH_ROWS), session))
            for start in range(0, len(values), BATCH_ROWS)
        ]
        for session in range(1, SESSIONS + 1)
    ]


def encoded(frames: pa.Table) -> bytes:
    encoder = pgpq.ArrowToPostgresBinaryEncoder(FRAMES)
    header = encoder.write_header()
    batches = [encoder.write_batch(batch) for batch in frames.to_batches()]
    return b"".join([header, *batches, encoder.finish()])


def _time_copy(database: DatabaseSettings, payloads: list[list[bytes]], connections: int) -> float:
    """Rows per second into the empty table, a transaction for each batch."""
    url = database.url.get_secret_value()
    empty(database)
    threads = [
        threading.Thread(target=_copy, args=[url, payloads[i::connections]])
        for i in range(connections)
    ]
    started_at = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed_s = time.perf_counter() - started_at
    rows = _count(url, "SELECT count(*) FROM telemetry")
    empty(database)
    return rows / elapsed_s


def _copy(url: str, sessions: list[list[bytes]]) -> None:
    with psycopg.connect(url, autocommit=True) as conn, conn.cursor() as cursor:
        for batches in sessions:
            for data in batches:
                with cursor.copy(COPY_FRAMES) as copy:
                    copy.write(data)


def _time_ingest(kafka: KafkaSettings, database: DatabaseSettings, total: int) -> tuple[float, int]:
    """Frames per second between the first commit that is seen and the last, and the laps that were
    timed.
    """
    url = database.url.get_secret_value()
    start_ingest(ClusterSettings(kafka, database, IngestSettings(), LogSettings(level="ERROR")))
    try:
        first_at, first = _await_frames(url, 1)
        last_at, last = _await_frames(url, total)
        return (last - first) / (last_at - first_at), _count(url, "SELECT count(*) FROM laps")
    finally:
        stop_ingest()


def _await_frames(url: str, wanted: int, *, within_s: float = 300) -> tuple[float, int]:
    deadline = time.perf_counter() + within_s
    with psycopg.connect(url, autocommit=True) as conn:
        while time.perf_counter() < deadline:
            (stored,) = conn.execute(
                "SELECT coalesce(sum(frames), 0)::bigint FROM sessions"
            ).fetchone() or (0,)
            if stored >= wanted:
                return time.perf_counter(), stored
            time.sleep(0.02)
    raise TimeoutError(f"{stored} of {wanted} frames stored within {within_s} s")


def _count(url: str, query: LiteralString) -> int:
    with psycopg.connect(url) as conn:
        (count,) = conn.execute(query).fetchone() or (0,)
        return int(count)


def empty(database: DatabaseSettings) -> None:
    """Leave nothing in the store."""
    with psycopg.connect(database.url.get_secret_value(), autocommit=True) as conn:
        conn.execute(
            "TRUNCATE telemetry, sessions, laps, lap_colours, bests, tracks, gaps, dead_letters,"
            " partition_offsets, shares"
        )
        conn.execute("CHECKPOINT")
