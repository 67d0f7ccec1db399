"""The page with its REST and sockets, as uvicorn serves it, in a thread of the test's process.

Neither Kafka nor Ray is needed: frames are handed to the bridge as its reader does it.
"""

import asyncio
import json
import socket
import threading
from collections.abc import Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import httpx
import uvicorn
from fastapi import FastAPI
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from ingest.settings import DatabaseSettings, KafkaSettings, ServeSettings
from ingest.telemetry_pb2 import TelemetryFrame
from serve.bridge.access.admission import AdmissionLimits
from serve.bridge.access.hosts import Hosts
from serve.bridge.access.logins import make_logins, offer_of
from serve.bridge.front.headers import headers_of
from serve.bridge.front.proxies import ProxyChain
from serve.bridge.live.hub import LiveRecord
from serve.bridge.live.socket_limits import limit_sockets
from serve.bridge.web_app import make_app
from tests.waiting import WITHIN_S, wait_until

NOWHERE = "postgresql://postgres@127.0.0.1:1/postgres"


@dataclass
class Page:
    """A page that runs, and what one does to it."""

    port: int
    app: FastAPI
    loop: asyncio.AbstractEventLoop

    def get(self, path: str, credential: str | None = None, **headers: str) -> httpx.Response:
        if credential is not None:
            headers["authorization"] = f"Bearer {credential}"
        url = f"http://127.0.0.1:{self.port}{path}"
        return httpx.get(url, headers=headers, timeout=WITHIN_S, trust_env=False)

    def send(
        self,
        method: str,
        path: str,
        credential: str | None = None,
        body: object = None,
        **headers: str,
    ) -> httpx.Response:
        """A request that changes something."""
        url = f"http://127.0.0.1:{self.port}{path}"
        if credential is not None:
            headers["authorization"] = f"Bearer {credential}"
        return httpx.request(
            method, url, headers=headers, json=body, timeout=WITHIN_S, trust_env=False
        )

    def deliver(self, session: str, user: str, *speeds: float) -> None:
        """Hand frames to the bridge, and wait until it has them."""
        records = [
            LiveRecord(session, user, TelemetryFrame(timestamp=1, speed=s).SerializeToString())
            for s in speeds
        ]

        async def deliver() -> None:
            self.app.state.bridge.deliver(records)

        asyncio.run_coroutine_threadsafe(deliver(), self.loop).result(WITHIN_S)

    @asynccontextmanager
    async def socket(
        self, credential: str | None = None, query: str = "", origin: str | None = None
    ):
        """A socket that has logged in, where a credential is given."""
        url = f"ws://127.0.0.1:{self.port}/ws{query}"
        async with connect(url, compression=None, proxy=None, origin=origin) as socket:
            if credential is not None:
                await socket.send(json.dumps({"type": "auth", "token": credential}))
            yield socket


async def answer(socket: ClientConnection) -> dict[str, object]:
    """The next reply of a socket."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            if isinstance(raw := await socket.recv(), str):
                return json.loads(raw)


async def asked(socket: ClientConnection, **message: object) -> dict[str, object]:
    """The reply to a message."""
    await socket.send(json.dumps(message))
    return await answer(socket)


async def ended(socket: ClientConnection) -> tuple[int, str]:
    """Code and reason of a socket's end."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            try:
                await socket.recv()
            except ConnectionClosed as end:
                return (end.rcvd.code, end.rcvd.reason) if end.rcvd else (0, "")


@contextmanager
def running_page(
    serve: ServeSettings,
    *,
    database_url: str = NOWHERE,
    limits: AdmissionLimits | None = None,
    own_proxies: Collection[str] = (),
) -> Iterator[Page]:
    """Serve the page with these settings until the block ends."""
    limit_sockets()
    kafka = KafkaSettings(brokers="127.0.0.1:1")
    app = make_app(
        kafka,
        DatabaseSettings(url=database_url),
        limits or AdmissionLimits(handshakes_per_s=1000.0),
        proxies=ProxyChain(own_proxies, serve.proxies.split(",")),
        hosts=Hosts(serve.allowed_hosts.split(","), bound=serve.host),
        logins=make_logins(serve),
        offer=offer_of(serve),
        headers=headers_of(serve),
    )
    # Bound here: a port that is only found free may be another test's by the time of the bind.
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
    found: list[asyncio.AbstractEventLoop] = []

    async def main() -> None:
        found.append(asyncio.get_running_loop())
        await server.serve(sockets=[listener])

    thread = threading.Thread(target=asyncio.run, args=[main()])
    thread.start()
    try:
        wait_until(lambda: server.started or not thread.is_alive(), "the page")
        assert thread.is_alive(), "the page has ended"
        yield Page(listener.getsockname()[1], app, found[0])
    finally:
        server.should_exit = server.force_exit = True
        thread.join(WITHIN_S)
        listener.close()
