"""REST over what is stored: sessions, laps and the traces of a lap.

Its functions run in the server's thread pool, never on the loop. The rule: a database that does not answer is 503 with one
sentence, something it does not know is 404, and neither touches the live path.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import psycopg
import pyarrow as pa
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from psycopg_pool import ConnectionPool, PoolTimeout

from ingest.errors import StoreUnavailable
from ingest.settings import DatabaseSettings
from serve.bridge import Bridge

T = TypeVar("T")

TRACE = (
    "normalized_position",
    "lap_clock_ms",
    "speed_kmh",
    "throttle",
    "brake",
    "steering",
    "gear",
    "rpm",
)

_CONNECTIONS = 4
_WAIT_S = 2.0


class NotStored(Exception):
    """The store knows no such thing. The sentence goes to the client."""


class Stored:
    """The read side of the store, through a small pool."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self._address = settings.address
        self._pool = ConnectionPool(
            settings.url.get_secret_value(),
            min_size=0,
            max_size=_CONNECTIONS,
            timeout=_WAIT_S,
            open=False,
            kwargs={
                "connect_timeout": 2,
                "options": "-c statement_timeout=5000 -c default_transaction_read_only=on",
            },
        )

    def open(self) -> None:
        """Allow connections; none is made before it is needed."""
        self._pool.open()

    def close(self) -> None:
        """Give all connections back."""
        self._pool.close()

    def ask(self, question: Callable[[psycopg.Connection[Any]], T]) -> T:
        """The answer to a question. Raises StoreUnavailable."""
        try:
            with self._pool.connection() as conn:
                return question(conn)
        except (psycopg.OperationalError, PoolTimeout) as failure:
            raise StoreUnavailable(self._address, str(failure).partition("\n")[0]) from failure


def add_routes(app: FastAPI, stored: Stored, bridge: Bridge) -> None:
    """Add /api/sessions and what is below it."""

    import importlib

    database = importlib.import_module("analytics.database") if importlib.util.find_spec("analytics.database") else None

    @app.exception_handler(StoreUnavailable)
    async def unavailable(_: Request, error: StoreUnavailable) -> JSONResponse:
        return JSONResponse({"error": f"no database answers at {error.address}; stored laps are back when it is"}, 503)

    @app.exception_handler(NotStored)
    async def unknown(_: Request, error: NotStored) -> JSONResponse:
        return JSONResponse({"error": str(error)}, 404)

    @app.get("/api/sessions")
    def sessions() -> dict[str, list[dict[str, Any]]]:
        live = bridge.hub.sessions
        return {"sessions": [row | {"live": row["key"] in live} for row in stored.ask(database.sessions)]}

    @app.get("/api/sessions/{key}/laps")
    def laps(key: str) -> dict[str, list[dict[str, Any]]]:
        return {"laps": stored.ask(lambda conn: _known(database.laps(conn, key), f"no session {key!r}"))}

    @app.get("/api/sessions/{key}/laps/{lap_number}")
    def lap(key: str, lap_number: int) -> dict[str, Any]:
        frames = stored.ask(lambda conn: database.lap_frames(conn, key, lap_number))
        if frames is None or not frames.num_rows:
            raise NotStored(f"no lap {lap_number} of session {key!r}")
        return {"session": key, "lap_number": lap_number, "columns": trace(frames)}


def trace(frames: pa.Table) -> dict[str, list[Any]]:
    """The columns that lap comparison draws, as lists of the same length."""
    return {name: frames.column(name).to_pylist() for name in TRACE}


def _known(rows: list[dict[str, Any]] | None, otherwise: str) -> list[dict[str, Any]]:
    if rows is None:
        raise NotStored(otherwise)
    return rows
