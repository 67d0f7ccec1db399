"""Holds the sockets to Assetto Corsa's remote telemetry: on this machine, on another one, or on a
console.

The game is the server. It sends each listener only one stream: the car's updates or the ends of
laps. So there are two sockets. The game identifies listeners by address, and may keep one that left
without unsubscribing. So an unsubscribe request precedes a handshake. The sockets are connected:
datagrams from another address do not reach us.
"""

import select
import socket
from collections.abc import Iterator

from ingest.collectors.games.ac.clocks import ClockReading
from ingest.collectors.games.ac.handshake import HandshakeSchedule
from ingest.collectors.games.ac.udp_protocol import (
    HANDSHAKE,
    SUBSCRIBE_SPOT,
    SUBSCRIBE_UPDATE,
    UNSUBSCRIBE,
    Answer,
    CarInfo,
    InvalidDatagram,
    LapDone,
    parse,
)
from ingest.collectors.games.ac.udp_sessions import UdpSessions
from ingest.collectors.games.anomalies import AnomalyCounts
from ingest.collectors.games.interface import GameEvent

# As many as fit into a socket's buffer: a flood of datagrams does not keep the caller here.
_AT_ONCE = 500
_LARGEST_BYTES = 65_536


class UdpSubscription:
    """A socket, and the subscription that is made on it."""

    def __init__(self, subscription: bytes) -> None:
        self._subscription = subscription
        self.handshakes = HandshakeSchedule()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)

    def begin(self, address: tuple[str, int], now_s: float) -> None:
        """Send a handshake to ``address``, after an unsubscribe request where needed.

        Raises OSError for an invalid address.
        """
        unsubscribe = self.handshakes.begin(now_s)
        self.socket.connect(address)
        if unsubscribe:
            self._send(UNSUBSCRIBE)
        self._send(HANDSHAKE)

    def subscribe(self) -> None:
        """Subscribe to the car's updates."""
        self.handshakes.answered = True
        self._send(self._subscription)

    def leave(self) -> None:
        """End the subscription, and shake hands again later."""
        self._send(UNSUBSCRIBE)
        self.handshakes.again()

    def datagrams(self) -> Iterator[bytes]:
        """Yield the datagrams that have arrived."""
        for _ in range(_AT_ONCE):
            try:
                yield self.socket.recv(_LARGEST_BYTES)
            # none there; or a datagram of ours reached no one, which each system reports
            # differently
            except OSError:
                return

    def discard(self) -> None:
        """Discard the datagrams that have arrived."""
        while list(self.datagrams()):
            pass

    def _send(self, request: bytes) -> None:
        try:
            self.socket.send(request)
        except OSError:
            return  # no game there yet, or not connected: the handshake is repeated anyway


class UdpClient:
    """Client of the game at ``address``. `take` waits for nothing; `wait` waits for something to
    take.
    """

    def __init__(
        self, address: tuple[str, int], complaints: AnomalyCounts, *, steering_lock_deg: float = 0.0
    ) -> None:
        self.received_s = float("-inf")
        self._address, self._complaints = address, complaints
        self._left = False
        self._updates, self._spots = self._lines = (
            UdpSubscription(SUBSCRIBE_UPDATE),
            UdpSubscription(SUBSCRIBE_SPOT),
        )
        self._sessions = UdpSessions(complaints, steering_lock_deg=steering_lock_deg)

    def take(self, now: ClockReading) -> list[GameEvent]:
        """Return the events since the last call; repeat the handshake in silence."""
        if self._left:
            self._left = False
            for line in self._lines:  # datagrams received meanwhile are outdated
                line.discard()
        events = [
            event
            for line in self._lines
            for datagram in line.datagrams()
            for event in self._handle(line, datagram, now)
        ]
        self._send_handshakes(now.monotonic_s)
        return events or self._sessions.waited(now.monotonic_s)

    def wait(self, timeout_s: float) -> None:
        """Wait until there is something to take, at most ``timeout_s``."""
        select.select([line.socket for line in self._lines], [], [], timeout_s)

    def leave(self, reason: str) -> list[GameEvent]:
        """Unsubscribe until `take` is called again, and end the session."""
        self._left = True
        for line in self._lines:
            line.leave()
        return self._sessions.end(reason)

    def close(self) -> None:
        """Unsubscribe from the game, and close the sockets."""
        for line in self._lines:
            line.leave()
            line.socket.close()

    def _send_handshakes(self, now_s: float) -> None:
        if self._updates.handshakes.due(now_s):
            self._spots.handshakes.again()
        try:
            for line in self._lines:
                if line.handshakes.due(now_s):
                    line.begin(self._address, now_s)
        except (OSError, TypeError) as wrong:  # TypeError for an impossible name, such as "ü..de"
            self._complaints.add("address cannot be reached", f"{self._address[0]}: {wrong}")

    def _handle(self, line: UdpSubscription, datagram: bytes, now: ClockReading) -> list[GameEvent]:
        try:
            message = parse(datagram)
        except InvalidDatagram as wrong:
            self._complaints.add(wrong.kind, wrong.detail)
            return []
        self.received_s = now.monotonic_s
        match message:
            case Answer():
                return self._answered(line, message)
            case LapDone():
                self._sessions.lap_done(message)
                return []
            case CarInfo():
                self._updates.handshakes.received(now.monotonic_s)
                if self._spots.handshakes.answered:
                    self._spots.handshakes.received(now.monotonic_s)
                return self._sessions.car(message, now)

    def _answered(self, line: UdpSubscription, answer: Answer) -> list[GameEvent]:
        if line.handshakes.answered:  # the answer to a repeated handshake
            return []
        line.subscribe()
        return self._sessions.answered(answer) if line is self._updates else []
