"""Builds the web application of sockets, REST and the page, for any ASGI server.

Imports no Ray. The rule: the live path needs neither the database nor a broker that answers.
Without the database REST answers with 503. Without the broker viewers wait.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from fastapi import APIRouter, FastAPI, Request, Response, WebSocket
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ingest.settings import DatabaseSettings, KafkaSettings
from serve.bridge.access.admission import AdmissionLimits
from serve.bridge.access.callers import Authenticator, NoLogin
from serve.bridge.access.hosts import Hosts
from serve.bridge.access.login_check import LoginCheck
from serve.bridge.access.logins import LoginOffer
from serve.bridge.front.headers import security_headers
from serve.bridge.front.proxies import ProxyChain
from serve.bridge.live.hub import Hub
from serve.bridge.live.kafka_reader import LiveReader
from serve.bridge.live.websocket import Bridge
from serve.bridge.live.withdrawn import follow_withdrawn
from serve.bridge.rest.answers import Health, ReplicaStatistics, SessionStatistics
from serve.bridge.rest.changes import add_change_routes
from serve.bridge.rest.guarded import Engineer
from serve.bridge.rest.routes import add_routes
from serve.bridge.rest.store_reader import StoreReader
from serve.bridge.sharing.share_routes import add_share_routes
from serve.bridge.sharing.stored_shares import StoredShares

PAGE = Path(__file__).parents[1] / "page"
_EXPIRE_EVERY_S = 1.0

# What one caller may read is in no cache of a browser or proxy that another uses.
_NOT_KEPT = [(b"cache-control", b"no-store")]

# Nobody sends more than names and a time.
_MOST_BODY_BYTES = 16 * 1024
_TOO_LARGE = PlainTextResponse("a body has at most 16 KiB, and a Content-Length\n", 413)

_UNKNOWN_HOST = PlainTextResponse(
    "the Host of this request is none of this page's: ALLOWED_HOSTS names them, besides addresses"
    " and localhost\n",
    421,
)


router = APIRouter()


def make_app(
    kafka: KafkaSettings,
    database: DatabaseSettings,
    limits: AdmissionLimits | None = None,
    proxies: ProxyChain | None = None,
    hosts: Hosts | None = None,
    logins: Authenticator | None = None,
    offer: LoginOffer | None = None,
    headers: Mapping[str, str] | None = None,
) -> FastAPI:
    """Build the application, which reads Kafka from its startup to its shutdown.

    ``proxies`` know whose forwarded addresses are trusted. ``hosts`` are the names of the page.
    ``logins`` decide who may come in, and ``offer`` is what the page shows before a login.
    ``headers`` are those of every answer.
    """
    hosts, logins, offer = hosts or Hosts(), logins or NoLogin(), offer or LoginOffer()
    store = StoreReader(database)
    shares = StoredShares(store)
    check = LoginCheck(logins, shares)
    bridge = Bridge(Hub(), limits=limits, proxies=proxies, hosts=hosts, logins=check)
    # No /docs: those pages load scripts from elsewhere, which the policy above forbids.
    app = FastAPI(title="Purple Sector", lifespan=_lifespan, docs_url=None, redoc_url=None)
    app.state.kafka, app.state.logins, app.state.offer = kafka, logins, offer
    app.state.shares = shares
    app.add_middleware(KnownHosts, hosts=hosts)
    app.add_middleware(SecurityHeaders, headers=headers or security_headers(offer.issuer_origin))
    app.add_middleware(SmallBodies)
    app.include_router(router)
    add_share_routes(app)
    add_change_routes(app)
    add_routes(app, store, bridge)
    app.mount("/", StaticFiles(directory=PAGE, html=True, check_dir=False), name="page")
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    bridge: Bridge = app.state.bridge
    store: StoreReader = app.state.store
    reader = app.state.reader = LiveReader(
        app.state.kafka, asyncio.get_running_loop(), bridge.deliver
    )
    logins: Authenticator = app.state.logins
    reader.start()
    store.open()
    logins.start()
    shares: StoredShares = app.state.shares
    tasks = [asyncio.create_task(_expire(bridge))]
    if logins.required:
        tasks.append(asyncio.create_task(shares.follow()))
    tasks.append(asyncio.create_task(follow_withdrawn(bridge.hub, store)))
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await asyncio.to_thread(logins.stop)
        await asyncio.to_thread(reader.stop)
        await asyncio.to_thread(store.close)


@router.websocket("/ws")
async def watch(socket: WebSocket) -> None:
    """Serve a viewer's WebSocket to its end."""
    bridge: Bridge = socket.app.state.bridge
    await bridge.handle(socket)


@router.get("/api/login")
async def login(request: Request) -> LoginOffer:
    """Return how the page logs in: the mode, and the issuer and client of OpenID Connect."""
    offer: LoginOffer = request.app.state.offer
    return offer


@router.get("/api/stats")
async def stats(request: Request, _: Engineer) -> ReplicaStatistics:
    """Return the numbers of this replica. They name sessions of everybody."""
    return statistics(request.app.state.bridge, wall=time.time)


@router.get("/api/health")
def health(request: Request, response: Response) -> Health:
    """Return whether broker and store answer; 503 where one does not.

    It needs no login. Where logins are on, it has the status alone.
    """
    reader: LiveReader = request.app.state.reader
    store: StoreReader = request.app.state.store
    reachable = {"broker": reader.reachable, "store": store.reachable()}
    away = [name for name, answers in reachable.items() if not answers]
    response.status_code = 503 if away else 200
    if request.app.state.bridge.logins.required:
        return {"status": "unavailable" if away else "ok"}
    return {
        "status": f"no answer from the {' and the '.join(away)}" if away else "ok",
        "brokerReachable": reachable["broker"],
        "storeReachable": reachable["store"],
        "partitions": reader.partitions,
    }


def statistics(bridge: Bridge, *, wall: Callable[[], float]) -> ReplicaStatistics:
    """Return the numbers of /api/stats for this replica since it started. ``lastSeen`` is in ms
    since 1970.
    """
    hub = bridge.hub
    return {
        "clientsConnected": hub.viewers,
        "messagesRelayed": bridge.relayed.messages,
        "bytesRelayed": bridge.relayed.size_bytes,
        "kafkaStats": {
            "messagesReceived": hub.received,
            "recordsForeign": hub.foreign,
            "valuesBlanked": dict(hub.blanked),
            "sessionStats": _session_statistics(hub, bridge.clock(), wall() * 1000),
        },
    }


def _session_statistics(hub: Hub, now: float, today_ms: float) -> dict[str, SessionStatistics]:
    return {
        key: {"count": s.count, "lastSeen": round(today_ms - (now - s.seen_at) * 1000)}
        for key, s in hub.sessions.items()
    }


async def _expire(bridge: Bridge) -> None:
    while True:
        await asyncio.sleep(_EXPIRE_EVERY_S)
        bridge.hub.expire(now=bridge.clock())
        bridge.recheck()


class KnownHosts:
    """Middleware that refuses HTTP and WebSocket requests for a name that is not ours."""

    def __init__(self, app: ASGIApp, hosts: Hosts) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request of the ASGI server."""
        if scope["type"] == "lifespan" or self._hosts.allows(Headers(scope=scope).getlist("host")):
            await self._app(scope, receive, send)
        else:
            await _UNKNOWN_HOST(scope, receive, send)


class SmallBodies:
    """Middleware that refuses a request with a body that is large, or of unknown length."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request of the ASGI server."""
        if scope["type"] == "http" and not _is_small(Headers(scope=scope)):
            await _TOO_LARGE(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _is_small(headers: Headers) -> bool:
    length = headers.get("content-length", "0")
    small = length.isdecimal() and len(length) < 10 and int(length) <= _MOST_BODY_BYTES
    return small and "transfer-encoding" not in headers


class SecurityHeaders:
    """Middleware that adds headers to every HTTP answer; they limit a browser's use of it."""

    def __init__(self, app: ASGIApp, headers: Mapping[str, str]) -> None:
        self._app = app
        self._headers = [(name.encode(), value.encode()) for name, value in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request of the ASGI server."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                more = _NOT_KEPT if scope["path"].startswith("/api/") else []
                message["headers"] = [*message.get("headers", []), *self._headers, *more]
            await send(message)

        await self._app(scope, receive, with_headers)
