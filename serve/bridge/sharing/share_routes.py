"""Routes of /api/sessions/{key}/shares: makes, lists and revokes shares.

The rule: a token is in one answer, to the request that made it, and is stored nowhere.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from ingest.errors import PurpleSectorError, TooManyShares, UnknownShare
from ingest.store.shares import NewShare, Share, add_share, revoke_share, share_of, shares_of
from serve.bridge.access.audit import audit, audit_refusal
from serve.bridge.access.callers import Caller
from serve.bridge.access.policy import may_share
from serve.bridge.live.websocket import Bridge
from serve.bridge.rest.guarded import Connection, LoggedIn, NotPermitted, Store
from serve.bridge.rest.store_reader import StoreReader
from serve.bridge.sharing.links import digest_of, new_token
from serve.bridge.sharing.stored_shares import StoredShares

router = APIRouter(prefix="/api")

_MOST_USERS = 50
_LAST_LAP = 2**31 - 1


def _printable(name: str) -> str:
    if not name.isprintable():
        raise ValueError("want the name of a user in printable letters")
    return name


def _in_future(at: datetime) -> datetime:
    if at <= datetime.now(at.tzinfo):
        raise ValueError("want a time that has not passed")
    return at


UserName = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]
Expiry = Annotated[AwareDatetime, AfterValidator(_in_future)]


class ShareRequest(BaseModel):
    """A share to be made: of a lap, or without one of the session.

    With ``users`` it is for them; without, for whoever has the link.
    """

    model_config = ConfigDict(extra="forbid")

    lap_number: Annotated[int, Field(ge=0, le=_LAST_LAP)] | None = None
    users: Annotated[list[UserName], Field(max_length=_MOST_USERS)] = []
    expires_at: Expiry | None = None


@dataclass(frozen=True, slots=True)
class ShareRow:
    """A share, without its link. It is valid until ``expires_at``, unless it was revoked."""

    id: int
    lap_number: int | None
    users: list[str]
    made_by: str
    made_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class MadeShare(ShareRow):
    """A share that was made. The link is the page's address with ``#share=`` and ``token``.

    The token is shown only now. A share for users has none: they log in.
    """

    token: str | None


@dataclass(frozen=True, slots=True)
class ShareList:
    """The shares of a session, the newest first; those that ended, too."""

    shares: list[ShareRow]


class NoLogins(Exception):
    """Nothing can be shared where everybody may read everything."""


class Sharer:
    """Makes and revokes the shares of one session for one caller."""

    def __init__(self, request: Request, key: str, caller: Caller, owner: str) -> None:
        self._store: StoreReader = request.app.state.store
        self._shares: StoredShares = request.app.state.shares
        self._address = request.app.state.bridge.address_of(request)
        self._key, self._caller = key, caller
        if not may_share(caller, owner):
            audit_refusal("share_refused", name=caller.name, session=key, address=self._address)
            raise NotPermitted

    def all(self) -> list[Share]:
        """Return the shares of the session."""
        return self._store.query(lambda conn: shares_of(conn, self._key))

    def make(self, wanted: ShareRequest) -> tuple[Share, str | None]:
        """Make a share; return it, and the token of its link."""
        token = None if wanted.users else new_token()
        new = NewShare(
            self._key,
            self._caller.name,
            wanted.lap_number,
            tuple(dict.fromkeys(wanted.users)),
            wanted.expires_at,
            digest_of(token) if token else None,
        )
        return self._changed("share_made", lambda conn: add_share(conn, new)), token

    def revoke(self, id: int) -> Share:
        """Revoke a share of this session. Raises UnknownShare."""

        def change(conn: Connection) -> Share:
            if share_of(conn, id).session_key != self._key:
                raise UnknownShare(id)
            return revoke_share(conn, id)

        return self._changed("share_revoked", change)

    def _changed(self, what: str, change: Callable[[Connection], Share]) -> Share:
        share = self._store.change(change)
        audit(what, name=self._caller.name, address=self._address, **facts_of(share))
        # The other replicas see it within seconds, and so does this one if it cannot read it now.
        with suppress(PurpleSectorError):
            self._shares.refresh()
        return share


def facts_of(share: Share) -> dict[str, str | int]:
    """Return what the audit log has of a share."""
    lap = {} if share.lap_number is None else {"lap": share.lap_number}
    users = ", ".join(share.users)
    return {"share": share.id, "session": share.session_key, "users": users, **lap}


def _sharer(request: Request, key: str, store: Store, caller: LoggedIn) -> Sharer:
    bridge: Bridge = request.app.state.bridge
    if not bridge.logins.required:
        raise NoLogins
    return Sharer(request, key, caller, store.session(key).user_id)


Shares = Annotated[Sharer, Depends(_sharer)]


@router.get("/sessions/{key:path}/shares")
def shares(shares: Shares) -> ShareList:
    """Return the shares of a session, for those who may share it."""
    return ShareList([ShareRow(**_row(one)) for one in shares.all()])


@router.post("/sessions/{key:path}/shares", status_code=201)
def share(shares: Shares, wanted: ShareRequest) -> MadeShare:
    """Share a session or one finished lap of it. The answer alone has the link's token."""
    made, token = shares.make(wanted)
    return MadeShare(**_row(made), token=token)


@router.delete("/sessions/{key:path}/shares/{share_id}")
def revoke(shares: Shares, share_id: Annotated[int, Field(ge=1, lt=2**63)]) -> ShareRow:
    """Revoke a share. Its guests' sockets are closed within seconds."""
    return ShareRow(**_row(shares.revoke(share_id)))


def add_share_routes(app: FastAPI) -> None:
    """Add the routes and their errors to an application."""
    app.include_router(router)
    app.add_exception_handler(UnknownShare, _unknown)
    app.add_exception_handler(TooManyShares, _conflict)
    app.add_exception_handler(NoLogins, _no_logins)


def _row(share: Share) -> dict[str, Any]:
    return {
        "id": share.id,
        "lap_number": share.lap_number,
        "users": list(share.users),
        "made_by": share.made_by,
        "made_at": share.made_at,
        "expires_at": share.expires_at,
        "revoked_at": share.revoked_at,
    }


async def _unknown(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error": str(error)}, 404)


async def _conflict(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error": str(error)}, 409)


async def _no_logins(_: Request, __: Exception) -> JSONResponse:
    sentence = "nothing can be shared where everybody may read everything: set AUTH_MODE"
    return JSONResponse({"error": sentence}, 409)
