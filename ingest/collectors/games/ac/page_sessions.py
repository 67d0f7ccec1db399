"""Finds the sessions in Assetto Corsa's shared memory: their starts and ends, and their frames with
times. Pure.

A session begins with the first moment that the game marks as live in it. It ends in the menus, with
another session of the weekend, or when it is begun again. A pause and a replay yield nothing.
"""

from typing import NamedTuple

from ingest.collectors.games.ac.clocks import ClockReading
from ingest.collectors.games.ac.frames import facts_of_static, frame_of_pages
from ingest.collectors.games.ac.page_layout import (
    LIVE,
    OFF,
    AcGraphics,
    AcPhysics,
    parse_graphics,
    parse_physics,
    parse_static,
)
from ingest.collectors.games.ac.reordering import ReceivedFrame, restarts
from ingest.collectors.games.ac.steering import SHARE_LOCK, Steering
from ingest.collectors.games.anomalies import AnomalyCounts
from ingest.collectors.games.interface import GameEvent
from ingest.collectors.games.session_tracker import SessionTracker
from ingest.collectors.games.shared_memory import Pages
from ingest.telemetry_pb2 import Session

#: A live status without movement for so long: the game was killed, and another process keeps its
#: pages.
DEAD_AFTER_S = 60.0


class _Seen(NamedTuple):
    """The data that the last frame was made of."""

    physics_packet: int
    graphics: AcGraphics
    moment: ReceivedFrame
    who: tuple[str, str, str]  # car, track, driver


class AcPageSessions:
    """Finds sessions and frames in each snapshot of the pages, which must be AC's."""

    def __init__(self, complaints: AnomalyCounts, *, rate_hz: float) -> None:
        self._complaints, self._rate_hz = complaints, rate_hz
        self.moved_s = float("-inf")
        self._packets: tuple[int, int] | None = None
        self._static_page = b""
        self._facts = Session()
        self._steering = Steering(SHARE_LOCK)
        self._session = SessionTracker(complaints)
        self._seen: _Seen | None = None

    def take(self, pages: Pages, now: ClockReading) -> list[GameEvent]:
        """Return the events up to this snapshot."""
        self._read_static(pages.static)
        graphics, physics = parse_graphics(pages.graphics), parse_physics(pages.physics)
        if graphics.status == OFF:
            return self.end("the game is in its menus")
        if not self._moved(physics, graphics, now):
            dead = graphics.status == LIVE and now.monotonic_s - self.moved_s > DEAD_AFTER_S
            return self.end("the game stands still") if dead else []
        return self._track(physics, graphics, now) if graphics.status == LIVE else []

    def end(self, reason: str) -> list[GameEvent]:
        """End the session, if one runs."""
        self._seen = None
        return self._session.end(reason)

    def _moved(self, physics: AcPhysics, graphics: AcGraphics, now: ClockReading) -> bool:
        """Return whether both pages have been written since the last frame.

        Position and lap clock are in one page, the controls in the other.
        """
        packets, before = (physics.packet, graphics.packet), self._packets
        if before is None:  # nothing has moved yet: the pages may be left by a dead game
            self._packets = packets
        if before is None or before[0] == packets[0] or before[1] == packets[1]:
            return False
        self._packets, self.moved_s = packets, now.monotonic_s
        return True

    def _read_static(self, page: bytes) -> None:
        if page == self._static_page:
            return
        self._static_page, facts = page, facts_of_static(parse_static(page), rate_hz=self._rate_hz)
        if facts.car != self._facts.car:
            self._steering = Steering(SHARE_LOCK)
        self._facts = facts

    def _track(
        self, physics: AcPhysics, graphics: AcGraphics, now: ClockReading
    ) -> list[GameEvent]:
        frame = frame_of_pages(physics, graphics, steering=self._steering.share(physics.steer))
        moment = ReceivedFrame(frame, now.monotonic_s).after(
            self._seen.moment if self._seen else None
        )
        who = (self._facts.car, self._facts.track, self._facts.driver)
        seen = _Seen(physics.packet, graphics, moment, who)
        ended = self.end(reason) if self._seen and (reason := _over(self._seen, seen)) else []
        self._seen = seen
        return [
            *ended,
            *self._session.track(frame, self._facts, now_s=now.monotonic_s, wall_ms=now.wall_ms),
        ]


def _over(before: _Seen, now: _Seen) -> str | None:
    """Return why ``now`` belongs to another session than ``before``; None when it belongs to the
    same.
    """
    if before.who != now.who:
        return "another car, track or driver"
    if before.graphics.session != now.graphics.session:
        return "the game went on to another session"
    # The physics packet counts from the game's start, or from the session's.
    # In the first lap, a lower count means a new session.
    restarted = now.physics_packet < before.physics_packet and now.graphics.lap_count == 0
    if restarted or restarts(before.moment, now.moment):
        return "begun again"
    return None
