"""Checks the login of a REST request, and reads the store only as far as its caller may.

The rule: a route gets a `GuardedStore`, never the store itself. What its caller may not read gets
the answer of what does not exist.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any, TypeVar

import psycopg
import pyarrow as pa
from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse

from analytics.errors import UnknownLap, UnknownSession
from analytics.laps.best_laps import Colours
from analytics.model.lap import Lap
from analytics.model.session import SessionInfo
from analytics.model.summary import LapSummary
from analytics.store import best_laps, queries, summaries
from serve.bridge.access.audit import audit_refusal
from serve.bridge.access.callers import Caller, NotAuthenticated
from serve.bridge.access.policy import (
    Reach,
    hidden_owners,
    may_delete,
    may_see_statistics,
    may_watch,
    reach,
    readable_owners,
    shared_keys,
)
from serve.bridge.live.websocket import Bridge
from serve.bridge.rest.answers import TRACE, instant
from serve.bridge.rest.store_reader import StoreReader

T = TypeVar("T")
Connection = psycopg.Connection[Any]

_CHALLENGE = {"www-authenticate": "Bearer"}


class NotPermitted(Exception):
    """The caller is known, and its role may not do this."""


@dataclass(frozen=True, slots=True)
class ReadableLaps:
    """The finished laps that the caller may read, with their colours.

    ``whole``: they are all laps of the session.
    """

    laps: list[Lap]
    colours: dict[int, Colours]
    whole: bool


class GuardedStore:
    """Reads the store for one caller."""

    def __init__(self, store: StoreReader, caller: Caller) -> None:
        self._store = store
        self._caller = caller
        self._readable: dict[str, Any] = {
            "owners": readable_owners(caller),
            "shared": shared_keys(caller),
            "hidden_of": hidden_owners(caller),
        }

    def sessions(self, **where: Any) -> list[SessionInfo]:
        """Return a page of the sessions of which the caller may read something."""

        def read(conn: Connection) -> list[SessionInfo]:
            found = queries.sessions(conn, **self._readable, **where)
            reached = [(one, self._reach_of(one)) for one in found]
            return [_within(conn, one, part) for one, part in reached if part]

        return self._store.query(read)

    def session(self, key: str) -> SessionInfo:
        """Return a session. Raises UnknownSession where the caller may read nothing of it."""
        return self._store.query(lambda conn: _within(conn, *self._find(conn, key)))

    def may_change(self, session: SessionInfo) -> bool:
        """Return whether the caller may rename, hide and delete this session."""
        return may_delete(self._caller, session.user_id)

    def may_watch(self, session: SessionInfo) -> bool:
        """Return whether the caller may know what is live of a session."""
        return may_watch(self._caller, session.user_id, session.key)

    def read_whole(self, key: str, run: Callable[[Connection], T]) -> T:
        """Return what ``run`` reads of a session.

        Raises UnknownSession where the caller may not read all of it.
        """

        def checked(conn: Connection) -> T:
            if not self._find(conn, key)[1].whole:
                raise UnknownSession(key)
            return run(conn)

        return self._store.query(checked)

    def laps(self, key: str) -> ReadableLaps:
        """Return the laps of a session. Raises UnknownSession."""

        def read(conn: Connection) -> ReadableLaps:
            _, part = self._find(conn, key)
            return ReadableLaps(_laps(conn, key, part), best_laps.colours(conn, key), part.whole)

        return self._store.query(read)

    def trace(self, key: str, lap_number: int) -> pa.Table:
        """Return the columns of `TRACE` of a lap. Raises UnknownSession, UnknownLap."""

        def read(conn: Connection) -> pa.Table:
            found, part = self._find(conn, key)
            # A shared lap has ended: the number may be that of the lap in progress by now.
            if not part.whole and lap_number not in {n.lap_number for n in _laps(conn, key, part)}:
                raise UnknownLap(key, lap_number)
            return queries.frames_of_lap(conn, found, lap_number, columns=TRACE)

        return self._store.query(read)

    def lap_summaries(self, key: str, first: int | None, last: int | None) -> list[LapSummary]:
        """Return sums of the laps from ``first`` to ``last``. Raises UnknownSession."""

        def read(conn: Connection) -> list[LapSummary]:
            _, part = self._find(conn, key)
            found = summaries.lap_summaries(conn, key, first=first, last=last)
            ended = None if part.whole else {lap.lap_number for lap in _laps(conn, key, part)}
            return [one for one in found if ended is None or one.lap_number in ended]

        return self._store.query(read)

    def _find(self, conn: Connection, key: str) -> tuple[SessionInfo, Reach]:
        found = queries.session(conn, key, **self._readable)
        part = self._reach_of(found)
        if not part:
            raise UnknownSession(key)
        return found, part

    def _reach_of(self, session: SessionInfo) -> Reach:
        return reach(self._caller, session.user_id, session.key)


def _laps(conn: Connection, key: str, part: Reach) -> list[Lap]:
    return [lap for lap in queries.laps(conn, key) if part.has_lap(lap.lap_number)]


def _within(conn: Connection, session: SessionInfo, part: Reach) -> SessionInfo:
    """Return the session as it is where it has no more than the laps that may be read."""
    if part.whole:
        return session
    laps = _laps(conn, session.key, part)
    return replace(
        session,
        started_at=instant(laps[0].started_at_us) if laps else None,
        last_frame_at=instant(laps[-1].ended_at_us) if laps else None,
        frames=sum(lap.frames for lap in laps),
    )


# Not in the thread pool, as FastAPI runs plain functions: logins belong to the loop.
async def _caller_of(request: Request) -> Caller:
    bridge: Bridge = request.app.state.bridge
    given = request.headers.get("authorization", "")
    return bridge.logins.of_request(given, bridge.address_of(request))


LoggedIn = Annotated[Caller, Depends(_caller_of)]


async def _store_of(request: Request, caller: LoggedIn) -> GuardedStore:
    return GuardedStore(request.app.state.store, caller)


async def _engineer_of(request: Request, caller: LoggedIn) -> Caller:
    if not may_see_statistics(caller):
        address = request.app.state.bridge.address_of(request)
        audit_refusal("not_permitted", name=caller.name, address=address, path=request.url.path)
        raise NotPermitted
    return caller


Store = Annotated[GuardedStore, Depends(_store_of)]
Engineer = Annotated[Caller, Depends(_engineer_of)]


def add_login_errors(app: FastAPI) -> None:
    """Answer 401 without a valid login, 403 without the right, and 429 to too many attempts."""
    app.add_exception_handler(NotAuthenticated, _not_authenticated)
    app.add_exception_handler(NotPermitted, _not_permitted)


async def _not_authenticated(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, NotAuthenticated)
    bridge: Bridge = request.app.state.bridge
    address = bridge.address_of(request)
    if not bridge.admission.shake_hands(address, now=bridge.clock()):
        return JSONResponse({"error": "too many logins were refused"}, 429, {"retry-after": "1"})
    bridge.logins.refuse(error.reason, address, "request")
    answer = {"error": str(error), "reason": error.reason.value}
    return JSONResponse(answer, 401, _CHALLENGE)


async def _not_permitted(_: Request, __: Exception) -> JSONResponse:
    return JSONResponse({"error": "this login may not do that"}, 403)
