"""Sends the hub's queued messages over WebSockets, and carries out the requests of viewers.

This is the only file that awaits a WebSocket. Each viewer has a reader and a writer task. The first
task to end, or the hub's verdict, ends the connection. The rule: the writer sends one message at a
time and waits for the socket (backpressure). Messages that a viewer does not read stay in its own
bounded queue.
"""

import asyncio
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, assert_never

import structlog
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from serve.bridge.access.admission import Admission, AdmissionLimits
from serve.bridge.access.audit import audit, audit_refusal
from serve.bridge.access.callers import Caller, NoLogin, NotAuthenticated
from serve.bridge.access.hosts import Hosts
from serve.bridge.access.login_check import LoginCheck
from serve.bridge.access.policy import may_play_demo
from serve.bridge.demo import play
from serve.bridge.front.proxies import ProxyChain
from serve.bridge.live.client_messages import (
    InvalidMessage,
    LogIn,
    Ping,
    Reply,
    Request,
    StartDemo,
    StopDemo,
    Subscribe,
    Unsubscribe,
    named_watch,
    parse,
)
from serve.bridge.live.hub import Hub, LiveRecord, Subscription
from serve.bridge.live.socket_login import authenticated, log_in
from serve.bridge.live.viewer import (
    BAD_REQUEST,
    FOREIGN_ORIGIN,
    NOT_LOGGED_IN,
    Close,
    Outgoing,
    Viewer,
)

log = structlog.get_logger()

_CLOSE_S = 10.0

_TOO_MANY_HANDSHAKES = PlainTextResponse(
    "too many handshakes from this address", status_code=429, headers={"retry-after": "1"}
)

#: The errors of a socket whose other side has gone. Starlette raises RuntimeError for a send after
#: that.
_GONE = (WebSocketDisconnect, RuntimeError)


@dataclass(slots=True)
class Relayed:
    """Counts the messages and bytes sent to viewers since the start."""

    messages: int = 0
    size_bytes: int = 0


class Bridge:
    """Connects the hub to the sockets of its viewers."""

    def __init__(
        self,
        hub: Hub,
        *,
        clock: Callable[[], float] = time.monotonic,
        limits: AdmissionLimits | None = None,
        proxies: ProxyChain | None = None,
        hosts: Hosts | None = None,
        logins: LoginCheck | None = None,
    ) -> None:
        self.hub = hub
        self.logins = logins or LoginCheck(NoLogin())
        self.admission = Admission(limits)
        self._connections: set[_ViewerConnection] = set()
        self._proxies = proxies or ProxyChain()
        self._hosts = hosts or Hosts()
        self.clock = clock
        self.relayed = Relayed()

    def deliver(self, records: list[LiveRecord]) -> None:
        """Pass records that arrived from Kafka to the hub."""
        self.hub.publish(records, now=self.clock())

    def recheck(self) -> None:
        """Close the sockets whose login or link has ended, and note what is shared by now.

        Call it every second.
        """
        callers = {connection.caller for connection in self._connections}
        changed = {
            caller: now for caller in callers if (now := self.logins.current(caller)) != caller
        }
        for connection in self._connections if changed else ():
            if connection.caller in changed:
                connection.change_caller(changed[connection.caller])

    async def handle(self, socket: WebSocket) -> None:
        """Serve a viewer from its handshake to its close."""
        address = self.address_of(socket)
        if not self.admission.shake_hands(address, now=self.clock()):
            await socket.send_denial_response(_TOO_MANY_HANDSHAKES)
            return
        await socket.accept()
        if (refused := self.admission.enter(address)) is not None:
            log.info("viewer_refused", close=str(refused))
            await _close(socket, refused)
            return
        try:
            await self._attend(socket, address)
        finally:
            self.admission.leave(address)

    async def _attend(self, socket: WebSocket, address: str) -> None:
        if not self.is_ours(socket):
            audit_refusal("foreign_origin", address=address, way="socket")
            await _close(socket, FOREIGN_ORIGIN)
            return
        try:
            caller = await log_in(socket, self.logins, address)
        except NotAuthenticated as refused:
            await _close(socket, Close(NOT_LOGGED_IN.code, str(refused)))
            return
        if (full := self.admission.admit_caller(caller)) is not None:
            audit_refusal("socket_refused", name=caller.name, address=address, reason=str(full))
            await _close(socket, full)
            return
        try:
            await self._serve(socket, address, caller)
        finally:
            self.admission.release_caller(caller)

    async def _serve(self, socket: WebSocket, address: str, caller: Caller) -> None:
        connection = _ViewerConnection(self, socket, address, caller)
        try:
            connection.begin()
        except InvalidMessage as wrong:
            await _close(socket, Close(BAD_REQUEST.code, str(wrong)))
            return
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)

    def is_ours(self, connection: HTTPConnection) -> bool:
        """Return whether a request or socket comes from no page of another site."""
        headers = connection.headers
        return self._hosts.is_ours(headers.get("origin"), headers.get("host", ""))

    def address_of(self, connection: HTTPConnection) -> str:
        """Return the address that a request or socket counts for."""
        peer = connection.client.host if connection.client else ""
        return self._proxies.client_of(peer, connection.headers.getlist("x-forwarded-for"))


class _ViewerConnection:
    """A viewer and its socket."""

    def __init__(self, bridge: Bridge, socket: WebSocket, address: str, caller: Caller) -> None:
        self._bridge = bridge
        self._address = address
        self._socket = socket
        self._waiting = asyncio.Event()
        self._verdict: asyncio.Future[Close] = asyncio.get_running_loop().create_future()
        self._demo: asyncio.Task[None] | None = None
        as_text = socket.query_params.get("format") == "json"
        self._viewer = Viewer(
            as_text=as_text, wake=self._waiting.set, close=self._end, caller=caller
        )

    @property
    def caller(self) -> Caller:
        """Return who has logged in."""
        return self._viewer.caller

    def change_caller(self, caller: Caller | None) -> None:
        """Go on as this caller, with whom more or less is shared; None: close the socket."""
        if caller is not None:
            self._bridge.hub.renew(self._viewer, caller)
            return
        audit(
            "login_ended", name=self.caller.name, role=self.caller.role.value, address=self._address
        )
        self._end(Close(NOT_LOGGED_IN.code, "the login has ended"))

    def begin(self) -> None:
        """Join, and watch the sessions and users in the URL's query. Raises InvalidMessage."""
        params = self._socket.query_params
        if params.get("format", "protobuf") not in {"protobuf", "json"}:
            raise InvalidMessage("format must be protobuf or json")
        watches = [
            named_watch(field, name)
            for field, name in params.multi_items()
            if field in {"session", "userId"}
        ]
        self._check_number(set(watches))
        self._bridge.hub.join(self._viewer)
        if self._bridge.logins.required:
            self._reply(authenticated(self.caller))
        for watch in watches:
            self._bridge.hub.watch(self._viewer, watch, now=self._bridge.clock())

    async def run(self) -> None:
        """Read and write until either task ends or the viewer must go; then leave."""
        tasks = [asyncio.ensure_future(self._read()), asyncio.ensure_future(self._write())]
        try:
            ends: list[asyncio.Future[Any]] = [*tasks, self._verdict]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._bridge.hub.leave(self._viewer)
            await _stop([*tasks, *([self._demo] if self._demo else [])])
        if self._verdict.done():
            await _close(self._socket, self._verdict.result())

    def _end(self, verdict: Close) -> None:
        if not self._verdict.done():
            log.info("viewer_closed", close=str(verdict))
            self._verdict.set_result(verdict)

    async def _write(self) -> None:
        queue, relayed = self._viewer.queue, self._bridge.relayed
        while True:
            message = queue.take(now=self._bridge.clock())
            if message is None:
                await self._waiting.wait()
                self._waiting.clear()
                continue
            payload = message.payload(as_text=self._viewer.as_text)
            await self._send(payload)
            relayed.messages += 1
            relayed.size_bytes += len(payload)

    async def _send(self, payload: bytes | str) -> None:
        if isinstance(payload, str):
            await self._socket.send_text(payload)
        else:
            await self._socket.send_bytes(payload)

    async def _read(self) -> None:
        while True:
            event = await self._socket.receive()
            if event["type"] == "websocket.disconnect":
                return
            self._handle(event.get("text"))

    def _handle(self, text: str | None) -> None:
        try:
            if text is None:
                raise InvalidMessage("want text, not bytes")
            self._do(parse(text))
        except InvalidMessage as wrong:
            self._reply(Reply("error", error=str(wrong)))

    def _do(self, request: Request) -> None:
        match request:
            case Subscribe():
                self._subscribe(request)
            case Unsubscribe():
                self._bridge.hub.unwatch(self._viewer, request.watch)
                self._reply(Reply("unsubscribed", **request.watch.as_json()))
            case StartDemo():
                self._start_demo(request.seed)
            case StopDemo():
                self._stop_demo()
            case LogIn():
                self._log_in_again(request.token)
            case Ping():
                self._reply(Reply("pong"))
            case _:
                assert_never(request)

    def _log_in_again(self, token: str) -> None:
        try:
            caller = self._bridge.logins.of_socket(token, self._address)
        except NotAuthenticated as refused:
            raise InvalidMessage(str(refused)) from None
        if (caller.name, caller.share_id) != (self.caller.name, self.caller.share_id):
            raise InvalidMessage("a socket keeps its name: connect again with the other one")
        self._bridge.hub.renew(self._viewer, caller)
        self._reply(authenticated(caller))

    def _subscribe(self, request: Subscribe) -> None:
        hub, watch = self._bridge.hub, request.watch
        self._check_number(hub.watches(self._viewer) | {watch})
        self._reply(Reply("subscribed", **watch.as_json()))
        hub.watch(self._viewer, watch, now=self._bridge.clock())

    def _check_number(self, watches: Collection[Subscription]) -> None:
        most = self._bridge.admission.limits.subscriptions
        if len(watches) > most:
            raise InvalidMessage(f"at most {most} subscriptions")

    def _start_demo(self, seed: int) -> None:
        if self._demo is not None and not self._demo.done():
            raise InvalidMessage("the demo is playing already")
        if not may_play_demo(self.caller):
            raise InvalidMessage("a link shows its session, and no demo")
        if (full := self._bridge.admission.start_demo(self._address)) is not None:
            raise InvalidMessage(full)
        self._demo = asyncio.ensure_future(play(self._reply, seed=seed, clock=self._bridge.clock))
        # Release it here, not in the task. A task that is cancelled before it begins runs none of
        # its code.
        self._demo.add_done_callback(lambda _: self._bridge.admission.end_demo(self._address))

    def _stop_demo(self) -> None:
        if self._demo is not None:
            self._demo.cancel()
            self._demo = None
        self._reply(Reply("demo_stopped"))

    def _reply(self, message: Outgoing) -> None:
        self._viewer.offer(message, now=self._bridge.clock())


async def _stop(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait for them. Log their errors, except those of a viewer that is gone."""
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception) and not isinstance(outcome, _GONE):
            log.error("viewer_failed", exc_info=outcome)


async def _close(socket: WebSocket, why: Close) -> None:
    with suppress(*_GONE, TimeoutError):
        await asyncio.wait_for(socket.close(why.code, why.reason[:100]), _CLOSE_S)
