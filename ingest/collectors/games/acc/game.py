"""Implements `Game` for Assetto Corsa Competizione: reads the clocks and the pages, and receives
the broadcasts.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import structlog

from ingest.collectors.games.acc.broadcast_client import BroadcastClient
from ingest.collectors.games.acc.broadcast_sessions import LACKING, BroadcastSessions
from ingest.collectors.games.acc.broadcasting_config import BroadcastingConfigReader
from ingest.collectors.games.acc.page_layout import GAME, SIZES
from ingest.collectors.games.acc.page_sessions import AccPageSessions
from ingest.collectors.games.anomalies import AnomalyCounts
from ingest.collectors.games.interface import GameEvent
from ingest.collectors.games.shared_memory import Pages, SharedMemory
from ingest.settings import AccSettings

log = structlog.get_logger()

#: Interval of the broadcasts beside the pages: a lap that becomes invalid is known so soon.
_BESIDE_MS = 250
#: Pages wait so long before they are parsed: three looks at 60 Hz.
#: Work done once for three looks costs half of the work done for each look.
#: The reason is that a processor that has slept between two looks starts with cold caches.
_GATHER_S = 0.04
#: Shortest interval of the broadcasts alone. A shorter one can be requested; no client is known to
#: have done so.
_ALONE_MS = 50
#: Interval at which missing pages are looked for.
_SEARCH_S = 0.25


class AccGame:
    """Follows the shared memory, with the broadcasts beside it where they are on; or the broadcasts
    alone.
    """

    name = GAME

    def __init__(
        self,
        settings: AccSettings,
        *,
        broadcast_only: bool = False,
        clock: Callable[[], float] = time.monotonic,
        wall_s: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._clock, self._wall_s = clock, wall_s
        self._complaints = AnomalyCounts(self.name)
        self._laps: int | None = None
        interval_ms = (
            max(_ALONE_MS, round(1000 / settings.rate_hz)) if broadcast_only else _BESIDE_MS
        )
        self._broadcasting = BroadcastClient(
            BroadcastingConfigReader(settings, self._complaints).find,
            interval_ms=interval_ms,
            own_port=settings.udp_port,
            complaints=self._complaints,
        )
        self._follow: _Follow
        if broadcast_only:
            log.warning(
                "broadcasts alone: the game does not send these", channels=", ".join(LACKING)
            )
            watching = BroadcastSessions(rate_hz=1000 / interval_ms, complaints=self._complaints)
            self._follow = _FollowBroadcasts(watching, self._broadcasting, sleep=sleep)
        else:
            folder = Path(settings.shared_memory) if settings.shared_memory else None
            memory = SharedMemory(SIZES, self._complaints, folder=folder)
            driving = AccPageSessions(rate_hz=settings.rate_hz, complaints=self._complaints)
            self._follow = _FollowPages(
                memory,
                driving,
                self._broadcasting,
                rate_hz=settings.rate_hz,
                clock=clock,
                sleep=sleep,
            )

    @property
    def running(self) -> bool:
        """Return whether the game's pages are there, or it has broadcast lately."""
        return self._follow.running(self._clock())

    @property
    def counts(self) -> Mapping[str, int]:
        """Return the counts of unusable received data, by kind."""
        return self._complaints.counts

    def poll(self, timeout_s: float) -> Sequence[GameEvent]:
        """Return the events since the last call, oldest first; wait at most ``timeout_s`` for
        the first.
        """
        now_s = self._clock()
        until_s = now_s + timeout_s
        while (
            not (events := self._follow.look(now_s, round(self._wall_s() * 1000)))
            and now_s < until_s
        ):
            self._follow.wait(now_s, until_s)
            now_s = self._clock()
        self._note_lap()
        return events

    def close(self) -> Sequence[GameEvent]:
        """Stop following the game, and return the events not returned yet."""
        remaining = self._follow.close(self._clock())
        self._broadcasting.close()
        return remaining

    def _note_lap(self) -> None:
        """Log a lap as the game timed it, which is more than a frame can carry."""
        car = self._follow.car_index
        finished = None if car is None else self._broadcasting.state.last_lap(car)
        if finished and finished[0] != self._laps:
            self._laps, lap = finished
            log.info(
                "lap by the game", lap=self._laps, time_ms=lap.lap_time_ms, splits_ms=lap.splits_ms
            )


class _Follow(Protocol):
    """A way to follow the game: by its pages or by its broadcasts."""

    @property
    def car_index(self) -> int | None:
        """Return the index of the player's car in the broadcasts; None without a session."""
        ...

    def running(self, now_s: float) -> bool: ...
    def look(self, now_s: float, wall_ms: int) -> Sequence[GameEvent]: ...
    def wait(self, now_s: float, until_s: float) -> None: ...
    def close(self, now_s: float) -> Sequence[GameEvent]: ...


class _FollowPages:
    """Follows the pages, with a snapshot at a steady rate."""

    def __init__(
        self,
        memory: SharedMemory,
        driving: AccPageSessions,
        broadcasting: BroadcastClient,
        *,
        rate_hz: float,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._memory, self._driving, self._broadcasting = memory, driving, broadcasting
        self._clock, self._sleep = clock, sleep
        self._interval_s = 1 / rate_hz
        self._ours = False
        self._due_s = self._drain_s = 0.0
        self._looks: list[tuple[Pages, float, int]] = []

    @property
    def car_index(self) -> int | None:
        return self._driving.player_car_id

    def running(self, now_s: float) -> bool:
        return self._ours

    def look(self, now_s: float, wall_ms: int) -> Sequence[GameEvent]:
        if now_s < self._due_s:
            return []
        # A missed look is not made up for with two looks at once.
        self._due_s = max(self._due_s + self._interval_s, now_s)
        pages = self._memory.snapshot(now_s)
        now_s = self._clock()  # a whole snapshot takes a moment, now and then longer
        if pages is not None:
            self._looks.append((pages, now_s, wall_ms))
        elif not self._memory.present:
            self._due_s = now_s + _SEARCH_S
            return [*self._drain(now_s), *self._gone()]
        return self._drain(now_s) if now_s >= self._drain_s else []

    def _drain(self, now_s: float) -> list[GameEvent]:
        """Return the events in all looks since the last call."""
        looks, self._looks = self._looks, []
        self._drain_s = now_s + _GATHER_S
        if looks:
            self._ours = self._driving.recognises(looks[-1][0])
        if self._ours:  # no datagram goes to a port that is not ACC's
            self._broadcasting.poll(now_s)
        broadcast = self._broadcasting.state
        takes = (
            self._driving.take(pages, now_s=at_s, wall_ms=wall_ms, broadcast=broadcast)
            for pages, at_s, wall_ms in looks
        )
        return [event for events in takes for event in events]

    def _gone(self) -> Sequence[GameEvent]:
        self._ours = False
        return self._driving.gone("the game is gone")

    def wait(self, now_s: float, until_s: float) -> None:
        self._sleep(max(0.0, min(self._due_s, until_s) - now_s))

    def close(self, now_s: float) -> Sequence[GameEvent]:
        remaining = self._drain(now_s)
        self._memory.close()
        return remaining


class _FollowBroadcasts:
    """Follows the broadcasts, and takes each message when it arrives."""

    def __init__(
        self,
        watching: BroadcastSessions,
        broadcasting: BroadcastClient,
        *,
        sleep: Callable[[float], None],
    ) -> None:
        self._watching, self._broadcasting, self._sleep = watching, broadcasting, sleep

    @property
    def car_index(self) -> int | None:
        return self._watching.car_index

    def running(self, now_s: float) -> bool:
        return self._broadcasting.is_receiving(now_s)

    def look(self, now_s: float, wall_ms: int) -> Sequence[GameEvent]:
        broadcast = self._broadcasting.state
        events = [
            event
            for message in self._broadcasting.poll(now_s)
            for event in self._watching.take(
                message, now_s=now_s, wall_ms=wall_ms, broadcast=broadcast
            )
        ]
        if not self._broadcasting.is_receiving(now_s):
            events += self._watching.gone("the game is silent")
        return events

    def wait(self, now_s: float, until_s: float) -> None:
        if not self._broadcasting.wait(until_s - now_s):
            self._sleep(until_s - now_s)

    def close(self, now_s: float) -> Sequence[GameEvent]:
        return []  # it has nothing open but the broadcasts
