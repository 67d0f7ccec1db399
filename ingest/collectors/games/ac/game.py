"""Follows Assetto Corsa, the first one, on this machine, on another one, or on a console.

On the game's own machine, its shared memory is best. It has the heading, the sector and the length
of the track, at any rate. Everywhere else, and on Linux without a bridge, there is the remote
telemetry. The rule to remember: use one source at a time, the shared memory first. Otherwise a
session would be sent twice.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path

from ingest.collectors.games.ac.clocks import ClockReading, read_clocks
from ingest.collectors.games.ac.frames import GAME
from ingest.collectors.games.ac.shared_memory import Memory
from ingest.collectors.games.ac.udp_client import UdpClient
from ingest.collectors.games.anomalies import AnomalyCounts
from ingest.collectors.games.interface import GameEvent, SessionBegan
from ingest.settings import AcSettings

#: The game may be silent for so long: the handshake is repeated every three seconds, and the game
#: answers it.
_QUIET_S = 8.0
#: Pages that a game writes change within this time, although its first pictures are slow to appear.
#: Data from the network waits meanwhile.
_COMPARED_S = 0.5


class AcGame:
    """Implements `Game` for Assetto Corsa.

    ``clocks`` reads both clocks. ``sleep`` waits where there is nothing to wait for but time.
    """

    name = GAME

    def __init__(
        self,
        settings: AcSettings,
        *,
        clocks: Callable[[], ClockReading] = read_clocks,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._complaints, self._clocks, self._sleep = AnomalyCounts(self.name), clocks, sleep
        folder = Path(settings.shared_memory) if settings.shared_memory else None
        self._memory = (
            Memory(self._complaints, rate_hz=settings.rate_hz, folder=folder)
            if _is_here(settings.host)
            else None
        )
        address = (settings.host, settings.udp_port)
        self._remote = UdpClient(
            address, self._complaints, steering_lock_deg=settings.steering_lock_deg
        )
        self._listening = False

    @property
    def running(self) -> bool:
        """Return whether the game has sent a datagram or written its pages lately."""
        now_s = self._clocks().monotonic_s
        return now_s - self._remote.received_s < _QUIET_S or (
            self._memory is not None and self._memory.in_use(now_s)
        )

    @property
    def counts(self) -> Mapping[str, int]:
        """Return the counts of unusable received data, by kind."""
        return self._complaints.counts

    def poll(self, timeout_s: float) -> Sequence[GameEvent]:
        """Return the events since the last call; wait at most ``timeout_s`` for the first."""
        until_s = self._clocks().monotonic_s + timeout_s
        while True:
            now = self._clocks()
            events = self._take(now)
            left_s = until_s - now.monotonic_s
            if events or left_s <= 0:
                return events
            self._wait(left_s, now.monotonic_s)

    def close(self) -> Sequence[GameEvent]:
        """Stop following the game. No event is left to return."""
        self._remote.close()
        if self._memory is not None:
            self._memory.close()
        return []

    def _take(self, now: ClockReading) -> list[GameEvent]:
        if self._memory is None:
            return self._remote.take(now)
        events = self._memory.take(now)
        if self._memory.in_use(now.monotonic_s):
            return [*self._stop_listening(), *events]
        self._listening = True
        return events or self._compare(self._memory, self._remote.take(now), now)

    def _compare(
        self, memory: Memory, received: list[GameEvent], now: ClockReading
    ) -> list[GameEvent]:
        """Choose one source where a session begins over the network.

        Both sources may send at once at the start of a session, and after a long pause.
        """
        if not any(isinstance(event, SessionBegan) for event in received):
            return received
        events = memory.look(now)
        until_s = now.monotonic_s + _COMPARED_S
        while memory.there and not memory.in_use(now.monotonic_s) and now.monotonic_s < until_s:
            self._sleep(_COMPARED_S / 50)
            now = self._clocks()
            events = memory.look(now)
        if memory.in_use(now.monotonic_s):
            self._stop_listening()
            return events
        return [*memory.end("the remote telemetry goes on"), *received]

    def _stop_listening(self) -> list[GameEvent]:
        if not self._listening:
            return []
        self._listening = False
        return self._remote.leave("the shared memory goes on")

    def _wait(self, timeout_s: float, now_s: float) -> None:
        if self._memory is None:
            self._remote.wait(timeout_s)
            return
        wait_s = min(timeout_s, max(0.0, self._memory.due_s - now_s))
        if self._listening:
            self._remote.wait(wait_s)
        else:
            self._sleep(wait_s)


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:  # another machine's name
        return False
