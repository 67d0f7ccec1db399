"""Checks the login of a REST request, and reads the store only as far as its caller may.

The rule: a route gets a `GuardedStore`, never the store itself. What its caller may not read gets
the answer of what does not exist.
"""

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import psycopg
from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse

from analytics.model.session import SessionInfo
from analytics.store import queries
from serve.bridge.access.audit import audit_refusal
from serve.bridge.access.callers import Caller, NotAuthenticated
from serve.bridge.access.policy import may_see_statistics, readable_owners
from serve.bridge.live.websocket import Bridge
from serve.bridge.rest.store_reader import StoreReader

T = TypeVar("T")
Connection = psycopg.Connection[Any]

_CHALLENGE = {"www-authenticate": "Bearer"}


class NotPermitted(Exception):
    """The caller is known, and its role may not do this."""


class GuardedStore:
    """Reads the store for one caller."""

    def __init__(self, store: StoreReader, caller: Caller) -> None:
        self._store = store
        self._owners = readable_owners(caller)

    def sessions(self, **where: Any) -> list[SessionInfo]:
        """Return a page of the sessions that the caller may read."""
        return self._store.query(lambda conn: queries.sessions(conn, owners=self._owners, **where))

    def session(self, key: str) -> SessionInfo:
        """Return a session. Raises UnknownSession where the caller may not read it."""
        return self._store.query(lambda conn: queries.session(conn, key, owners=self._owners))

    def read(self, key: str, run: Callable[[Connection], T]) -> T:
        """Return what ``run`` reads of a session.

        Raises UnknownSession where the caller may not read it.
        """

        def checked(conn: Connection) -> T:
            queries.session(conn, key, owners=self._owners)
            return run(conn)

        return self._store.query(checked)


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
