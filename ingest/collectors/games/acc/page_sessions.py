"""Finds sessions and frames in ACC's pages: each session's start, end and frames. Pure: clocks are
arguments.

A session is identified by the car, the track, and the game's own count and kind of session.
It begins with the first frame that the game drives in it.
It ends when the game is in its menus or gone, begins another session, or restarts this one.
A pause and a replay yield nothing.
The rule to remember: a frame is sent when the physics have moved on from it, one look later.
A game that dies while it writes leaves half a page behind, which looks like any other.
"""

from collections.abc import Sequence
from typing import NamedTuple

from ingest.codec.blanking import blanked_fields
from ingest.collectors.games.acc.broadcast_state import BroadcastState
from ingest.collectors.games.acc.catalogue import track_named
from ingest.collectors.games.acc.frames import build_frame
from ingest.collectors.games.acc.page_layout import (
    GAME,
    LIVE,
    OFF,
    REPLAY,
    SIZES,
    AccGraphics,
    AccPhysics,
    AccStatic,
    read_graphics,
    read_physics,
    read_place,
    read_static,
)
from ingest.collectors.games.anomalies import AnomalyCounts
from ingest.collectors.games.interface import GameEvent
from ingest.collectors.games.session_tracker import SessionTracker
from ingest.collectors.games.shared_memory import Pages
from ingest.telemetry_pb2 import Session, TelemetryFrame

#: A live status with unchanged physics for so long: the game was killed, and another process keeps
#: its pages.
_DEAD_S = 60.0
#: A session's clock only counts down. A server may correct it by a moment; more than this is a new
#: start.
_RESTARTED_MS = 5000.0


class _Moment(NamedTuple):
    """The driving data of one snapshot."""

    physics_id: int
    graphics: AccGraphics
    static: AccStatic
    frame: TelemetryFrame
    now_s: float
    wall_ms: int


class AccPageSessions:
    """Finds sessions and frames in the pages, one snapshot after the other."""

    def __init__(self, *, rate_hz: float, complaints: AnomalyCounts) -> None:
        self._rate_hz, self._complaints = rate_hz, complaints
        self._session = SessionTracker(complaints)
        self._emitted: _Moment | None = None
        self._held: _Moment | None = None
        self._physics_id: int | None = None
        self._moved_s = 0.0
        self._static_page = b""
        self._static = read_static(bytes(SIZES.static))
        self._facts_source: tuple[AccStatic, float] | None = None
        self._latest_facts = Session()

    def recognises(self, pages: Pages) -> bool:
        """Return whether these are ACC's pages, and written."""
        if pages.static != self._static_page:
            self._static_page, self._static = pages.static, read_static(pages.static)
        return self._static.is_acc

    @property
    def player_car_id(self) -> int | None:
        """Return the id of the player's car, the same in the broadcasting protocol; None without a
        session.
        """
        return self._emitted.graphics.player_car_id if self._emitted else None

    def gone(self, reason: str) -> Sequence[GameEvent]:
        """End the session, because the pages are missing or no longer ACC's."""
        self._physics_id = None
        return self._end(reason)

    def take(
        self, pages: Pages, *, now_s: float, wall_ms: int, broadcast: BroadcastState
    ) -> Sequence[GameEvent]:
        """Return the events up to this snapshot; ``broadcast`` holds the game's broadcasts so
        far.
        """
        if not self.recognises(pages):
            return self.gone("the pages are not ACC's")
        graphics, physics = read_graphics(pages), read_physics(pages)
        if graphics.status == OFF:
            return [*self._emit_held(broadcast), *self._end("the game is in its menus")]
        if physics.packet_id == self._physics_id:
            dead = graphics.status == LIVE and now_s - self._moved_s > _DEAD_S
            return self._end("the game stands still") if dead else []
        if graphics.status == REPLAY:
            # The status is on the page that is written later. The held frame may be the replay's
            # first picture.
            self._held = None
        # The first look yields nothing: its pages may be left by a dead game.
        events = [] if self._physics_id is None else self._emit_held(broadcast)
        is_new = self._physics_id is not None and graphics.status == LIVE
        self._physics_id, self._moved_s = physics.packet_id, now_s
        if is_new and (frame := self._frame(pages, physics, graphics, now_s, broadcast)):
            self._held = _Moment(physics.packet_id, graphics, self._static, frame, now_s, wall_ms)
        return events

    def _frame(
        self,
        pages: Pages,
        physics: AccPhysics,
        graphics: AccGraphics,
        now_s: float,
        broadcast: BroadcastState,
    ) -> TelemetryFrame | None:
        car = graphics.player_car_id
        invalid = broadcast.invalid(car, graphics.completed_laps, now_s=now_s)
        return build_frame(physics, graphics, read_place(pages, car), invalid=invalid)

    def _emit_held(self, broadcast: BroadcastState) -> list[GameEvent]:
        moment, self._held = self._held, None
        if moment is None:
            return []
        if self._emitted and "lap_number" in blanked_fields(moment.frame):
            # An impossible lap counter has not gone back. Nor has it when it becomes possible
            # again.
            laps = self._emitted.graphics.completed_laps
            moment = moment._replace(graphics=moment.graphics._replace(completed_laps=laps))
        ended = (
            self._end(reason) if self._emitted and (reason := _over(self._emitted, moment)) else []
        )
        self._emitted = moment
        facts = self._facts(moment.static, broadcast)
        return [
            *ended,
            *self._session.track(moment.frame, facts, now_s=moment.now_s, wall_ms=moment.wall_ms),
        ]

    def _end(self, reason: str) -> list[GameEvent]:
        self._emitted, self._held = None, None
        return self._session.end(reason)

    def _facts(self, static: AccStatic, broadcast: BroadcastState) -> Session:
        source = (static, broadcast.length_m(static.track))
        if source != self._facts_source:
            self._facts_source, self._latest_facts = source, _facts(*source, rate_hz=self._rate_hz)
        return self._latest_facts


def _facts(static: AccStatic, length_m: float, *, rate_hz: float) -> Session:
    track = track_named(static.track)
    return Session(
        game=GAME,
        track=static.track,
        car=static.car,
        driver=static.driver,
        track_length=length_m or (track.length_m if track else 0),
        sector_count=max(0, static.sector_count),
        sample_rate=rate_hz,
    )


def _over(before: _Moment, now: _Moment) -> str | None:
    """Return why ``now`` belongs to another session than ``before``; None when it belongs to the
    same.
    """
    was, is_ = before.graphics, now.graphics
    if (was.session_index, was.session_type) != (is_.session_index, is_.session_type):
        return "the game went on to another session"
    if _differ(before.static.car, now.static.car) or _differ(before.static.track, now.static.track):
        return "another car or track"
    if is_.completed_laps < was.completed_laps:
        return "the session was started again"
    if is_.completed_laps == 0 and 0 < was.session_left_ms < is_.session_left_ms - _RESTARTED_MS:
        return "the session was started again"
    # The physics may also begin to count again within a session. With completed laps, it is the
    # same session.
    if is_.completed_laps == 0 and now.physics_id < before.physics_id:
        return "the game was started again"
    return None


def _differ(before: str, now: str) -> bool:
    """Return whether two names differ; a name that is not known yet does not differ from any."""
    return bool(before and now) and before.casefold() != now.casefold()
