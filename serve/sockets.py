"""Limits of the sockets in a replica, set where Ray leaves no option for them.

Ray makes its uvicorn without options for WebSockets, so the defaults are changed. The rule: a viewer that does not read
costs a bounded buffer, and a socket that is closed is gone some seconds later whether its viewer reads or not.
"""

import asyncio
import socket
from typing import Any

import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from serve.messages import MAX_MESSAGE_BYTES

_BUFFER_BYTES = 64 * 1024  # per viewer and layer: a second and a half of ten cars
_CLOSE_S = 5.0

_DEFAULTS = {
    "ws_max_size": MAX_MESSAGE_BYTES,
    "ws_max_queue": 4,
    "ws_ping_interval": 20.0,
    "ws_ping_timeout": 20.0,
    "ws_per_message_deflate": False,  # costs more than it saves on small messages, and memory for every viewer
}


class ViewerProtocol(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket, with bounded buffers and a close that does not wait for a viewer that never reads."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Bound what waits below the handler, so that a slow viewer sees frames of seconds ago, not of minutes."""
        super().connection_made(transport)
        self.transport.set_write_buffer_limits(high=_BUFFER_BYTES)
        raw = self.transport.get_extra_info("socket")
        if raw is not None and raw.family != socket.AF_UNIX:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)

    async def send(self, message: Any) -> None:
        """Send as uvicorn does, but a close frame goes out behind a full buffer at once, and its deadline is final."""
        if message["type"] != "websocket.close":
            return await super().send(message)
        self.writable.set()
        await super().send(message)
        self._end_soon()
        return None

    def keepalive_timeout(self) -> None:
        """The viewer answers no ping: it will not read the close frame either."""
        super().keepalive_timeout()
        self._end_soon()

    def _end_soon(self) -> None:
        # transport.close() would wait for the buffer to drain, which a viewer that never reads keeps from happening.
        self.loop.call_later(_CLOSE_S, self.transport.abort)


def limit_sockets() -> None:
    """From now on every uvicorn of this process has these limits. Call it before Ray starts the replica's server."""
    original = uvicorn.Config.__init__
    if getattr(original, "limits_sockets", False):
        return

    def limited(self: uvicorn.Config, *args: Any, **options: Any) -> None:
        original(self, *args, **({"ws": ViewerProtocol} | _DEFAULTS | options))

    limited.limits_sockets = True  # type: ignore[attr-defined]
    uvicorn.Config.__init__ = limited  # type: ignore[method-assign]
