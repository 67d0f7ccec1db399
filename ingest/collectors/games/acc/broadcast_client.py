"""Holds the socket to ACC's broadcasting server: sends due datagrams and receives others.

`registration` decides which datagrams are due.
"""

import select
import socket
from collections.abc import Callable, Sequence

from ingest.collectors.games.acc import broadcast_protocol
from ingest.collectors.games.acc.broadcast_messages import Message
from ingest.collectors.games.acc.broadcast_state import BroadcastState
from ingest.collectors.games.acc.registration import SILENT_S, Access, Registration
from ingest.collectors.games.anomalies import AnomalyCounts

#: More than a full grid sends while the client does not read for a moment. The rest waits for the
#: next call.
_AT_ONCE = 500
_LARGEST = 65535


class BroadcastClient:
    """Client of ACC's broadcasting server.

    ``find`` returns the current access to the server, or None where there is none.
    ``own_port`` 0 selects any free port.
    """

    def __init__(
        self,
        find: Callable[[], Access | None],
        *,
        interval_ms: int,
        own_port: int,
        complaints: AnomalyCounts,
    ) -> None:
        self.state = BroadcastState()
        self._find, self._own_port, self._complaints = find, own_port, complaints
        self._registration = Registration(interval_ms=interval_ms, complaints=complaints)
        self._socket: socket.socket | None = None
        self._where = ("", 0)
        self._received_s = float("-inf")

    def is_receiving(self, now_s: float) -> bool:
        """Return whether the server has sent a message lately."""
        return now_s - self._received_s <= SILENT_S

    def poll(self, now_s: float) -> Sequence[Message]:
        """Return the messages received since the last call; wait for nothing."""
        if self._registration.wants_access(now_s):
            self._register(now_s)
        messages = [message for datagram in self._received() if (message := self._parsed(datagram))]
        for message in messages:
            self._received_s = now_s
            self._registration.take(message, now_s)
            self.state.take(message, now_s=now_s)
        self._send(self._registration.due(now_s))
        return messages

    def wait(self, timeout_s: float) -> bool:
        """Wait for a datagram, at most ``timeout_s``; return False without a socket to wait for."""
        if self._socket is None:
            return False
        select.select([self._socket], [], [], timeout_s)
        return True

    def close(self) -> None:
        """Unregister, because the server would go on sending, and close the socket."""
        self._send(self._registration.leave())
        self._disconnect()

    def _register(self, now_s: float) -> None:
        access = self._find()
        if access is None:
            self._registration.postpone(now_s)
        elif self._connected(access):
            self._send(self._registration.register(access, now_s))
        else:
            self._registration.postpone(now_s)

    def _connected(self, access: Access) -> bool:
        """Connect a socket to that server where needed, and return whether there is one.

        Other senders cannot write to it, because it is connected.
        """
        where = (access.host, access.port)
        if self._socket is not None and where == self._where:
            return True
        self._disconnect()
        try:
            family, kind, proto, _, address = socket.getaddrinfo(*where, type=socket.SOCK_DGRAM)[0]
            self._socket = socket.socket(family, kind, proto)
            if self._own_port:
                self._socket.bind(("", self._own_port))
            self._socket.connect(address)
            self._socket.setblocking(False)
        except (OSError, UnicodeError) as wrong:
            self._complaints.add(
                "no way to ACC's broadcasting", f"{access.host}:{access.port}: {wrong}"
            )
            self._disconnect()
            return False
        self._where = where
        return True

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, datagrams: Sequence[bytes]) -> None:
        for datagram in datagrams:
            try:
                if self._socket is not None:
                    self._socket.send(datagram)
            # no listener on that port, because the game is not there: the client registers again
            # later
            except OSError:
                return

    def _received(self) -> list[bytes]:
        datagrams: list[bytes] = []
        while self._socket is not None and len(datagrams) < _AT_ONCE:
            try:
                datagrams.append(self._socket.recv(_LARGEST))
            except BlockingIOError:
                break
            except OSError:  # an earlier datagram of ours reached a closed port
                break
        return datagrams

    def _parsed(self, datagram: bytes) -> Message | None:
        try:
            message, rest = broadcast_protocol.parse(datagram)
        except broadcast_protocol.InvalidBroadcast as wrong:
            self._complaints.add(str(wrong), f"{len(datagram)} bytes")
            return None
        if rest:
            self._complaints.add(
                "message longer than version 4 has it; its end is not used",
                f"{len(rest)} bytes more",
            )
        return message
