"""Routes of /api/sessions: sessions, their laps, the trace of a lap, and sums by second and lap.

They run in the server's thread pool, never on the loop. The rule: a database that does not answer,
or was not upgraded, is 503 with one sentence; what the store does not have is 404; neither touches
the live path.
"""

import json
import re
from datetime import UTC, timedelta
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime, BeforeValidator

from analytics.errors import UnknownLap, UnknownSession
from analytics.laps.best_laps import Colours
from analytics.model.axes import AXES
from analytics.model.session import SessionInfo
from analytics.store import queries, summaries
from ingest.errors import LicenceLost, NotAllowed, SchemaOutdated, StoreUnavailable
from serve.bridge.live.websocket import Bridge
from serve.bridge.rest.answers import (
    INSTANT,
    LapList,
    LapSummaries,
    SessionPage,
    SessionRow,
    instant,
    lap_row,
    session_row,
    summed,
    trace,
)
from serve.bridge.rest.guarded import GuardedStore, Store, add_login_errors
from serve.bridge.rest.store_reader import StoreReader

log = structlog.get_logger()
router = APIRouter(prefix="/api")

# As much of a session as one answer holds: to build it keeps the interpreter, and the live path
# waits (20 ms for an hour).
_PIECE = timedelta(hours=1)

# A page of sessions, and the longest search in them.
_PAGE_SESSIONS, _LONGEST_SEARCH = 100, 200
_LAST_ID = 2**63 - 1

_SPACE_FOR_PLUS = re.compile(r" (?=\d\d:?\d\d$)")


def _with_plus(instant: object) -> object:
    """Restore the ``+`` of an offset that was not written as %2B: URL decoding made it a space."""
    return _SPACE_FOR_PLUS.sub("+", instant) if isinstance(instant, str) else instant


def _bridge_of(request: Request) -> Bridge:
    bridge: Bridge = request.app.state.bridge
    return bridge


Live = Annotated[Bridge, Depends(_bridge_of)]
Since = Annotated[AwareDatetime | None, BeforeValidator(_with_plus)]


@router.get("/sessions")
def sessions(
    store: Store,
    bridge: Live,
    before: Annotated[int | None, Query(ge=1, le=_LAST_ID)] = None,
    limit: Annotated[int, Query(ge=1, le=_PAGE_SESSIONS)] = _PAGE_SESSIONS,
    search: Annotated[str, Query(max_length=_LONGEST_SEARCH)] = "",
) -> SessionPage:
    """Return a page of the stored sessions, newest first."""
    found = store.sessions(limit=limit + 1, before=before, search=search)
    page = found[:limit]
    return SessionPage(
        [row_of(one, store, bridge) for one in page], page[-1].id if len(found) > limit else None
    )


@router.get("/axes")
async def axes() -> dict[str, dict[str, int]]:
    """Return how each game's z lies on a map with x to the right: 1 up, -1 down."""
    return {"mapZ": {game: one.z for game, one in AXES.items()}}


# A key may hold slashes, which arrive decoded: it is all that lies between.
@router.get("/sessions/{key:path}/laps")
def laps(key: str, store: Store) -> LapList:
    """Return the finished laps of a session with their colours."""
    found = store.laps(key)
    rows = [lap_row(lap, found.colours.get(lap.lap_number, Colours())) for lap in found.laps]
    if not (found.laps and found.whole):
        return LapList(rows, None, None)
    return LapList(rows, queries.open_lap(found.laps), instant(found.laps[-1].ended_at_us))


@router.get("/sessions/{key:path}/laps/{lap_number}")
def lap(key: str, lap_number: int, store: Store) -> dict[str, Any]:
    """Return the frames of a lap by column."""
    columns = trace(store.trace(key, lap_number))
    return {"session": key, "lap_number": lap_number, "columns": columns}


@router.get("/sessions/{key:path}/seconds")
def seconds(key: str, store: Store, since: Since = None) -> Response:
    """Return a session by the second, an hour an answer; ``next`` is the ``since`` of the following
    one.
    """
    piece = store.read_whole(
        key, lambda conn: summaries.seconds_from(conn, key, since, length=_PIECE)
    )
    following = piece.next and piece.next.astimezone(UTC).strftime(INSTANT)
    answer = {"session": key, "columns": summed(piece.seconds), "next": following}
    # Written here and not by FastAPI, which would look at every value for itself, and on the loop.
    return Response(json.dumps(answer), media_type="application/json")


@router.get("/sessions/{key:path}/lap-summaries")
def lap_summaries(
    key: str, store: Store, first: int | None = None, last: int | None = None
) -> LapSummaries:
    """Return sums of a session's laps, with the lap in progress."""
    return LapSummaries(key, store.lap_summaries(key, first, last))


# The last of them: a key may end as the addresses above do.
@router.get("/sessions/{key:path}")
def session(key: str, store: Store, bridge: Live) -> SessionRow:
    """Return one session."""
    return row_of(store.session(key), store, bridge)


def add_routes(app: FastAPI, store: StoreReader, bridge: Bridge) -> None:
    """Add the routes and their errors to an application."""
    app.state.store, app.state.bridge = store, bridge
    app.include_router(router)
    add_login_errors(app)
    app.add_exception_handler(StoreUnavailable, _unavailable)
    for refused in (SchemaOutdated, NotAllowed, LicenceLost):
        app.add_exception_handler(refused, _outdated)
    for unknown in (UnknownSession, UnknownLap):
        app.add_exception_handler(unknown, _unknown)


def row_of(session: SessionInfo, store: GuardedStore, bridge: Bridge) -> SessionRow:
    """Return a session as its caller sees it."""
    live = session.key in bridge.hub.sessions and store.may_watch(session)
    return session_row(session, live=live, may_change=store.may_change(session))


async def _unavailable(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, StoreUnavailable)
    place = "" if _bridge_of(request).logins.required else f" at {error.address}"
    return JSONResponse(
        {"error": f"no database answers{place}; stored laps are back when it is"}, 503
    )


async def _outdated(request: Request, error: Exception) -> JSONResponse:
    # The sentence names the database: it is for those who run the page, who read its log.
    log.error("store_refused", problem=str(error))
    hidden = _bridge_of(request).logins.required
    sentence = "the store is not as this version needs it" if hidden else str(error)
    return JSONResponse({"error": sentence}, 503)


async def _unknown(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error": str(error)}, 404)
