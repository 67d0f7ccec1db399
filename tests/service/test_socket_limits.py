"""A viewer that sends without reading is not read any more, until it reads: on a real socket of
uvicorn's.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import uvicorn

from serve.bridge.live import socket_limits
from serve.bridge.live.socket_limits import ViewerProtocol

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
)
#: A client's frames: masked with zeros, of 125 bytes each.
PING = bytes([0x89, 0x80 + 125, 0, 0, 0, 0]) + bytes(125)
TEXT = bytes([0x81, 0x80 + 125, 0, 0, 0, 0]) + b"x" * 125
PONG_BYTES = 2 + 125
#: Their pongs are more than what all buffers hold.
PINGS = 3_000


@dataclass
class Connection:
    """A viewer's end of a socket, the server's protocol, and the gate that lets the application
    take its next event.
    """

    viewer: socket.socket
    protocol: ViewerProtocol
    gate: asyncio.Event
    taken: list[Any]

    @property
    def is_read(self) -> bool:
        return bool(self.protocol.transport.is_reading())

    def arrive(self, data: bytes) -> None:
        """Let it arrive in one read, larger than what the kernel may have taken by then."""
        self.protocol.data_received(data)

    async def send(self, data: bytes) -> None:
        """Send it as fast as the server reads."""
        await asyncio.get_running_loop().sock_sendall(self.viewer, data)

    async def receive(self, size: int) -> int:
        """Read so many bytes, or as many as there are before the end."""
        read = 0
        while read < size and (data := await _received(self.viewer)):
            read += len(data)
        return read


async def _received(viewer: socket.socket) -> bytes:
    return await asyncio.get_running_loop().sock_recv(viewer, 1 << 16)


@asynccontextmanager
async def connected() -> AsyncIterator[Connection]:
    """A viewer with small buffers whose handshake the application has accepted."""
    protocols: list[ViewerProtocol] = []
    gate, taken = asyncio.Event(), []

    class Watched(ViewerProtocol):
        """With a budget that nobody spends."""

        messages_per_s = 1e9

        def __init__(self, *given: Any, **more: Any) -> None:
            super().__init__(*given, **more)
            protocols.append(self)

    async def app(
        _: object, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while not taken or taken[-1]["type"] != "websocket.disconnect":
            await gate.wait()
            taken.append(await receive())

    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as viewer:
        limits = socket_limits._DEFAULTS | {"ws": Watched, "lifespan": "off", "log_config": None}
        server = uvicorn.Server(uvicorn.Config(app, **limits))
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        viewer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 15)
        viewer.setblocking(False)
        await asyncio.get_running_loop().sock_connect(viewer, listening.getsockname())
        await asyncio.get_running_loop().sock_sendall(viewer, HANDSHAKE)
        assert b" 101 " in await _received(viewer)
        try:
            yield Connection(viewer, protocols[0], gate, taken)
        finally:
            gate.set()
            viewer.close()
            server.should_exit = True
            await serving


@pytest.fixture(autouse=True)
def small_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_limits, "_BUFFER_BYTES", 1 << 15)


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0)


def test_a_viewer_that_does_not_read_its_replies_is_not_read_until_it_does() -> None:
    async def run() -> None:
        async with connected() as connection:
            sending = asyncio.create_task(connection.send(PING * PINGS))
            await until(lambda: not connection.protocol.writable.is_set())
            assert not connection.is_read

            assert await connection.receive(PINGS * PONG_BYTES) == PINGS * PONG_BYTES
            await sending
            await until(lambda: connection.is_read)

    asyncio.run(run())


def test_a_message_that_the_application_takes_meanwhile_changes_nothing() -> None:
    """uvicorn reads on after each event."""

    async def run() -> None:
        async with connected() as connection:
            connection.arrive(TEXT + PING * PINGS)
            await until(lambda: not connection.protocol.writable.is_set())

            connection.gate.set()
            await until(lambda: connection.taken)
            assert connection.taken[0]["text"] == "x" * 125
            assert not connection.is_read

            await connection.receive(PINGS * PONG_BYTES)
            await until(lambda: connection.is_read)

    asyncio.run(run())


def test_while_the_application_has_a_message_to_take_nothing_is_read_either() -> None:
    async def run() -> None:
        async with connected() as connection:
            connection.arrive(TEXT + PING * PINGS)
            await until(lambda: not connection.protocol.writable.is_set())
            await connection.receive(PINGS * PONG_BYTES)
            await until(connection.protocol.writable.is_set)
            assert not connection.is_read

            connection.gate.set()
            await until(lambda: connection.is_read)

    asyncio.run(run())
