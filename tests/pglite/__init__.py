"""TimescaleDB's Community edition on any machine that has node: a real one, compiled to
WebAssembly.

For its SQL only: it has one session, runs no background workers, and cannot COPY FROM STDIN. So the
schema, the policies and the read API run on it for real, and ingest does not.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
from psycopg import sql

from analytics.model.channels import CHANNELS, FRAMES
from tests.npm import installed

_HERE = Path(__file__).parent
_ROWS_AT_ONCE = 5_000
_SQL_TYPES = {"time": "timestamptz", "sequence": "bigint", "session_id": "integer"} | {
    c.name: c.sql for c in CHANNELS
}


@contextmanager
def community() -> Iterator[str]:
    """The URL of a server with nothing in its database yet, not even TimescaleDB."""
    # Compiled once and quickly: the optimizing compiler takes as long again as all of a test.
    command = ["node", "--liftoff-only", "server.mjs"]
    with subprocess.Popen(
        command, cwd=installed(_HERE), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            port = server.stdout.readline().strip()
            assert port, f"{' '.join(command)} ended with {server.wait()}"
            # Any password will do, and libpq must have one.
            yield f"postgresql://postgres:any@127.0.0.1:{port}/postgres?sslmode=disable"
        finally:
            server.stdin.close()


def connect(url: str) -> psycopg.Connection[Any]:
    """The one connection that the server has at a time."""
    # A statement that is prepared would still be there for the next connection, under the same
    # name.
    return psycopg.connect(url, autocommit=True, prepare_threshold=None)


def make_timescaledb(conn: psycopg.Connection[Any]) -> None:
    """What the upgrade leaves to others here: the server preloads nothing, and it does not try
    where that is so.
    """
    conn.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")


def insert_frames(conn: psycopg.Connection[Any], frames: pa.Table) -> None:
    """Store frames without COPY."""
    statement = sql.SQL("INSERT INTO telemetry ({}) SELECT * FROM unnest({})").format(
        sql.SQL(", ").join(map(sql.Identifier, FRAMES.names)),
        sql.SQL(", ").join(sql.SQL(f"%s::{_SQL_TYPES[name]}[]") for name in FRAMES.names),
    )
    for start in range(0, frames.num_rows, _ROWS_AT_ONCE):
        conn.execute(statement, list(frames.slice(start, _ROWS_AT_ONCE).to_pydict().values()))
