"""Sets the limits of a replica's sockets for which Ray has no option.

Ray makes its uvicorn without options for WebSockets, so this module changes uvicorn's defaults. The
rule: a viewer that does not read costs a bounded buffer. A viewer that sends too much is closed
before it costs the others time. A closed socket is gone some seconds later, even if its viewer does
not read.
"""

import asyncio
import socket
from typing import Any

import structlog
import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

from serve.bridge.live.client_messages import MAX_MESSAGE_BYTES, MessageBudget
from serve.bridge.live.viewer import TOO_MANY_MESSAGES, Close

log = structlog.get_logger()

_BUFFER_BYTES = 64 * 1024  # per viewer and layer: a second and a half of ten cars
_CLOSE_S = 5.0
#: A handshake that the library does not accept is refused after this time. HAProxy sends each
#: handshake whole.
_HANDSHAKE_S = 5.0
#: The bytes that are parsed before frames are counted: some 170 of the shortest frames. asyncio
#: passes 256 KiB at once. Parsing 40,000 pings takes as long as half a second, in which no other
#: viewer is served.
_PARSED_BYTES = 1024
_REFUSAL = (
    b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: text/plain\r\ncontent-length:"
    b" 22\r\n\r\nnot a usable handshake"
)

_DEFAULTS = {
    "ws_max_size": MAX_MESSAGE_BYTES,
    "ws_max_queue": 4,
    "ws_ping_interval": 20.0,
    "ws_ping_timeout": 20.0,
    # live/websocket.py checks for our own proxies; uvicorn trusts any header from loopback
    "proxy_headers": False,
    # costs more than it saves on small messages, and memory for every viewer
    "ws_per_message_deflate": False,
}


class ViewerProtocol(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket protocol with bounded buffers, a budget of frames, and a close with a
    deadline.

    The close does not wait for a viewer that never reads. All frames count in one budget. uvicorn
    passes only whole messages to the application. Pings and fragments cost the application nothing,
    and this process all the more.
    """

    #: How many frames a viewer may send a second; twice as many at once.
    messages_per_s = 10.0

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self._budget = MessageBudget(per_second=self.messages_per_s, burst=2 * self.messages_per_s)
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Bound the buffers below the handler, so that a slow viewer sees frames of seconds ago,
        not of minutes.
        """
        super().connection_made(transport)
        self.transport.set_write_buffer_limits(high=_BUFFER_BYTES)
        raw = self.transport.get_extra_info("socket")
        if raw is not None and raw.family != socket.AF_UNIX:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        self.loop.call_later(_HANDSHAKE_S, self._refuse_handshake)

    def data_received(self, data: bytes) -> None:
        """Parse a little at a time, and nothing more once the viewer must go."""
        for begin in range(0, len(data), _PARSED_BYTES):
            if self._ended or self.transport.is_closing():
                return
            super().data_received(data[begin : begin + _PARSED_BYTES])
        if self.conn.handshake_exc is not None:
            self._refuse_handshake()

    def handle_text(self, event: Frame) -> None:
        """Count a text message, or its first fragment, and pass it on."""
        if self._spend():
            super().handle_text(event)

    def handle_bytes(self, event: Frame) -> None:
        """Count a message of bytes, or its first fragment, and pass it on."""
        if self._spend():
            super().handle_bytes(event)

    def handle_cont(self, event: Frame) -> None:
        """Count a fragment and pass it on."""
        if self._spend():
            super().handle_cont(event)

    def handle_ping(self) -> None:
        """Count a ping. The library has answered it already."""
        if self._spend():
            super().handle_ping()

    def handle_pong(self, event: Frame) -> None:
        """Count a pong, requested or not."""
        if self._spend():
            super().handle_pong(event)

    def pause_writing(self) -> None:
        """Stop reading from a viewer that does not read its replies (backpressure)."""
        super().pause_writing()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """Read again, unless the application has not taken the last message."""
        super().resume_writing()
        if not self.read_paused:
            self.transport.resume_reading()

    async def receive(self) -> Any:
        """Return the next event, and pause reading while writes wait.

        uvicorn reads on after each event, even if the earlier writes have not left.
        """
        event = await super().receive()
        if not self.writable.is_set():
            self.transport.pause_reading()
        return event

    async def send(self, message: Any) -> None:
        """Send as uvicorn does, except for a close frame.

        A close frame goes out at once behind a full buffer, and its deadline is final.
        """
        if message["type"] != "websocket.close":
            return await super().send(message)
        self.writable.set()
        await super().send(message)
        self._end_soon()
        return None

    def keepalive_timeout(self) -> None:
        """End a socket whose viewer answers no keep-alive ping. It will not read the close frame
        either.
        """
        super().keepalive_timeout()
        self._end_soon()

    def _spend(self) -> bool:
        """Count one frame; return False if it was one too many and the viewer must go."""
        if self._ended or self.close_sent:
            return not self._ended
        if not self._budget.spend(now=self.loop.time()):
            self._end(TOO_MANY_MESSAGES)
        return not self._ended

    def _end(self, why: Close) -> None:
        """Close from this side, ahead of the application, and report to it that its viewer has
        gone.
        """
        self._ended = self.close_sent = True
        self.conn.data_to_send()  # drop the answers to the frames that were too many
        self.conn.send_close(why.code, why.reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.queue.put_nowait(
            {"type": "websocket.disconnect", "code": why.code, "reason": why.reason}
        )
        log.info("viewer_closed", close=str(why))
        self._end_soon()

    def _refuse_handshake(self) -> None:
        """Refuse a handshake that the library left unanswered. Do nothing if one was accepted or
        refused.
        """
        if self.handshake_initiated or self.transport.is_closing():
            return
        self._ended = True
        self.transport.write(_REFUSAL)
        self.transport.close()
        self._end_soon()

    def _end_soon(self) -> None:
        # transport.close() would wait for the buffer to drain, and a viewer that never reads
        # prevents that.
        self.loop.call_later(_CLOSE_S, self.transport.abort)


def limit_sockets(messages_per_s: float = 10.0) -> None:
    """Set these limits for every later uvicorn of this process. Call it before Ray starts the
    replica's server.
    """
    ViewerProtocol.messages_per_s = messages_per_s
    original = uvicorn.Config.__init__
    if getattr(original, "limits_sockets", False):
        return

    def limited(self: uvicorn.Config, *args: Any, **options: Any) -> None:
        original(self, *args, **({"ws": ViewerProtocol} | _DEFAULTS | options))

    limited.limits_sockets = True  # type: ignore[attr-defined]
    uvicorn.Config.__init__ = limited  # type: ignore[method-assign]
