"""Serves the stored sessions, laps and traces of a lap over REST, with summaries of each second and lap.

Its queries run in the server's thread pool, never on the loop. The rule: a database that does not answer, or was not
upgraded, results in 503 with one sentence. An unknown session or lap results in 404. Neither touches the live path.
"""

import json
import re
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse
from psycopg_pool import ConnectionPool
from pydantic import AwareDatetime, BeforeValidator

from analytics.errors import UnknownLap, UnknownSession
from analytics.laps.best_laps import Colours
from analytics.model.axes import AXES
from analytics.model.lap import Lap
from analytics.model.session import SessionInfo
from analytics.store import best_laps, queries, summaries
from ingest.errors import NotAllowed, PurpleSectorError, SchemaOutdated, StoreUnavailable
from ingest.settings import DatabaseSettings
from serve.bridge.live.websocket import Bridge
from serve.store_errors import asking_store

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
    "x_m",
    "z_m",
)

# The longest part of a session in one answer. The thread that builds it keeps the interpreter, and the live path waits:
# 20 ms for an hour.
_PIECE = timedelta(hours=1)

# The most sessions of a page, and the longest search text in characters.
_PAGE_SESSIONS, _LONGEST_SEARCH = 100, 200
_LAST_ID = 2**63 - 1

_SPACE_FOR_PLUS = re.compile(r" (?=\d\d:?\d\d$)")
_INSTANT = "%Y-%m-%dT%H:%M:%SZ"

_CONNECTIONS = 4
_WAIT_S = 2.0


class StoreReader:
    """Reads from the store through a small pool of connections."""

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
        """Allow connections. None is made before it is needed."""
        self._pool.open()

    def close(self) -> None:
        """Give all connections back."""
        self._pool.close()

    def answers(self) -> bool:
        """Return whether the database answers within seconds."""
        try:
            self.ask(lambda conn: conn.execute("SELECT 1"))
        except PurpleSectorError:
            return False
        return True

    def ask(self, question: Callable[[psycopg.Connection[Any]], T]) -> T:
        """Run a query and return its result. Raises StoreUnavailable, SchemaOutdated, NotAllowed."""
        with asking_store(self._address), self._pool.connection() as conn:
            return question(conn)


def add_routes(app: FastAPI, stored: StoreReader, bridge: Bridge) -> None:
    """Add /api/axes, and /api/sessions with the routes below it."""

    @app.exception_handler(StoreUnavailable)
    async def unavailable(_: Request, error: StoreUnavailable) -> JSONResponse:
        return JSONResponse({"error": f"no database answers at {error.address}; stored laps are back when it is"}, 503)

    @app.exception_handler(SchemaOutdated)
    @app.exception_handler(NotAllowed)
    async def outdated(_: Request, error: PurpleSectorError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, 503)

    @app.exception_handler(UnknownSession)
    @app.exception_handler(UnknownLap)
    async def unknown(_: Request, error: LookupError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, 404)

    def row_of(session: SessionInfo) -> dict[str, Any]:
        return asdict(session) | {"live": session.key in bridge.hub.sessions}

    # ``older`` is the ``before`` of the next, older page; it is null in the last page.
    @app.get("/api/sessions")
    def sessions(
        before: Annotated[int | None, Query(ge=1, le=_LAST_ID)] = None,
        limit: Annotated[int, Query(ge=1, le=_PAGE_SESSIONS)] = _PAGE_SESSIONS,
        search: Annotated[str, Query(max_length=_LONGEST_SEARCH)] = "",
    ) -> dict[str, Any]:
        found = stored.ask(lambda conn: queries.sessions(conn, limit=limit + 1, before=before, search=search))
        page = found[:limit]
        return {"sessions": [row_of(one) for one in page], "older": page[-1].id if len(found) > limit else None}

    @app.get("/api/axes")
    async def axes() -> dict[str, dict[str, int]]:
        # The direction of each game's z on a map with x to the right: 1 up, -1 down.
        return {"mapZ": {game: one.z for game, one in AXES.items()}}

    # A key may hold slashes, which arrive decoded: the key is the whole text in between.
    @app.get("/api/sessions/{key:path}/laps")
    def laps(key: str) -> dict[str, Any]:
        finished, told = stored.ask(lambda conn: (queries.laps(conn, key), best_laps.colours(conn, key)))
        rows = [lap_row(lap, told.get(lap.lap_number, Colours())) for lap in finished]
        began = finished[-1].ended_at_us if finished else None
        return {"laps": rows, "open_lap": queries.open_lap(finished), "open_lap_started_at": began and _instant(began)}

    @app.get("/api/sessions/{key:path}/laps/{lap_number}")
    def lap(key: str, lap_number: int) -> dict[str, Any]:
        frames = stored.ask(lambda conn: queries.lap_frames(conn, key, lap_number, columns=TRACE))
        return {"session": key, "lap_number": lap_number, "columns": trace(frames)}

    @app.get("/api/sessions/{key:path}/seconds")
    def seconds(key: str, since: Annotated[AwareDatetime | None, BeforeValidator(_with_plus)] = None) -> Response:
        piece = stored.ask(lambda conn: summaries.seconds_from(conn, key, since, length=_PIECE))
        following = piece.next and piece.next.astimezone(UTC).strftime(_INSTANT)
        answer = {"session": key, "columns": summed(piece.seconds), "next": following}
        # Encode the JSON here: FastAPI would check every value one by one, and on the loop.
        return Response(json.dumps(answer), media_type="application/json")

    @app.get("/api/sessions/{key:path}/lap-summaries")
    def lap_summaries(key: str, first: int | None = None, last: int | None = None) -> dict[str, Any]:
        laps = stored.ask(lambda conn: summaries.lap_summaries(conn, key, first=first, last=last))
        return {"session": key, "laps": [asdict(lap) for lap in laps]}

    # This route must come last: a key may end as the addresses above do.
    @app.get("/api/sessions/{key:path}")
    def session(key: str) -> dict[str, Any]:
        return row_of(stored.ask(lambda conn: queries.session(conn, key)))


def _with_plus(instant: object) -> object:
    """Restore the ``+`` before an instant's offset. URL decoding made it a space if it was not written as %2B."""
    return _SPACE_FOR_PLUS.sub("+", instant) if isinstance(instant, str) else instant


def lap_row(lap: Lap, told: Colours) -> dict[str, Any]:
    """Return a lap with its colours. Its start and end are instants, like those of sessions."""
    row = asdict(lap)
    for name in ("started_at", "ended_at"):
        row[name] = _instant(row.pop(f"{name}_us"))
    return row | {"colour": told.lap, "sector_colours": told.sectors, "colour_version": told.version}


def _instant(time_us: int) -> datetime:
    return datetime.fromtimestamp(time_us / 1e6, UTC)


def trace(frames: pa.Table) -> dict[str, list[Any]]:
    """Return the columns that lap comparison draws, as lists of the same length."""
    # A frame without the car's position or lap clock has no place in a comparison.
    known = frames.filter(pc.and_(frames["normalized_position"].is_valid(), frames["lap_clock_ms"].is_valid()))
    return {name: known.column(name).to_pylist() for name in TRACE}


def summed(seconds: pa.Table) -> dict[str, list[Any]]:
    """Return the columns of seconds for JSON: instants as text, and numbers rounded to a thousandth.

    No pixel shows the difference.
    """
    columns = {name: seconds.column(name) for name in seconds.column_names if name != "second"}
    floats = {name for name, column in columns.items() if pa.types.is_floating(column.type)}
    rounded = {
        name: pc.round(column.cast(pa.float64()), 3) if name in floats else column for name, column in columns.items()
    }
    second = pc.strftime(seconds.column("second").cast(pa.timestamp("s", tz="UTC")), format=_INSTANT)
    return {"second": second.to_pylist()} | {name: column.to_pylist() for name, column in rounded.items()}
