"""Routes that rename, hide and delete a session: PATCH and DELETE of /api/sessions/{key}.

The rule: a session that the caller may not read gets the answer of one that does not exist; one
that it may read and not change gets 403. A page of another site changes nothing, also where no
login is needed.
"""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, StrictBool

from analytics.errors import UnknownSession
from analytics.model.session import SessionInfo
from ingest.store.removal.deletions import change_session, delete_session
from ingest.store.removal.titles import LONGEST_TITLE, InvalidTitle, checked_title
from serve.bridge.access.audit import audit, audit_refusal
from serve.bridge.access.callers import Caller
from serve.bridge.access.policy import may_delete
from serve.bridge.live.websocket import Bridge
from serve.bridge.rest.answers import SessionRow
from serve.bridge.rest.guarded import Connection, LoggedIn, NotPermitted, Store
from serve.bridge.rest.routes import row_of
from serve.bridge.rest.store_reader import StoreReader

router = APIRouter(prefix="/api")


class SessionChange(BaseModel):
    """The title that is shown in place of the key, and whether others see the session.

    What is absent stays as it is. An empty title takes the title away.
    """

    model_config = ConfigDict(extra="forbid")

    title: Annotated[str, Field(max_length=2 * LONGEST_TITLE)] | None = None
    hidden: StrictBool | None = None


class ForeignOrigin(Exception):
    """A page of another site sent the request."""


class Changer:
    """Changes one session for a caller who may."""

    def __init__(self, request: Request, caller: Caller, session: SessionInfo) -> None:
        self._store: StoreReader = request.app.state.store
        self._address = request.app.state.bridge.address_of(request)
        self._caller, self.session = caller, session
        if not may_delete(caller, session.user_id):
            self._note(audit_refusal, "change_refused")
            raise NotPermitted

    def change(self, wanted: SessionChange) -> None:
        """Rename, hide or show the session. Raises InvalidTitle and UnknownSession."""
        title = None if wanted.title is None else checked_title(wanted.title)
        key, user = self.session.key, self.session.user_id
        self._do(lambda conn: change_session(conn, key, user, title=title, hidden=wanted.hidden))
        self._note(audit, "session_changed")

    def delete(self) -> None:
        """Delete the session. Raises UnknownSession."""
        key, user = self.session.key, self.session.user_id
        self._do(lambda conn: delete_session(conn, key, user))
        self._note(audit, "session_deleted")

    def _do(self, run: Callable[[Connection], bool]) -> None:
        if not self._store.change(run):
            raise UnknownSession(self.session.key)

    def _note(self, log: Callable[..., None], what: str) -> None:
        log(
            what,
            name=self._caller.name,
            session=self.session.key,
            owner=self.session.user_id,
            address=self._address,
        )


def _refuse_foreign_pages(request: Request) -> None:
    bridge: Bridge = request.app.state.bridge
    if not bridge.is_ours(request):
        address = bridge.address_of(request)
        audit_refusal("foreign_origin", address=address, way="request")
        raise ForeignOrigin


def _changer(request: Request, key: str, store: Store, caller: LoggedIn) -> Changer:
    return Changer(request, caller, store.session(key))


Change = Annotated[Changer, Depends(_changer)]
_OURS = [Depends(_refuse_foreign_pages)]


@router.patch("/sessions/{key:path}", dependencies=_OURS)
def change(change: Change, wanted: SessionChange, store: Store, request: Request) -> SessionRow:
    """Rename, hide or show a session, for those who may change it. Returns it as it is then."""
    change.change(wanted)
    return row_of(store.session(change.session.key), store, request.app.state.bridge)


@router.delete("/sessions/{key:path}", dependencies=_OURS, status_code=204)
def delete(change: Change) -> Response:
    """Delete a session for good, for those who may change it. It has no answer but 204."""
    change.delete()
    return Response(status_code=204)


def add_change_routes(app: FastAPI) -> None:
    """Add the routes and their errors to an application."""
    app.include_router(router)
    app.add_exception_handler(InvalidTitle, _invalid)
    app.add_exception_handler(ForeignOrigin, _foreign)


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error": str(error)}, 422)


async def _foreign(_: Request, __: Exception) -> JSONResponse:
    return JSONResponse({"error": "a page of another site may change nothing here"}, 403)
