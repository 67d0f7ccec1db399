"""Finds sessions and frames in ACC's broadcasts, for a machine without the shared memory. Pure:
clocks are arguments.

The car is the one that the camera followed when the session began. It is the player's, as long as
the player drives. The protocol has no pedals, steering, rpm, height and sector. There the frames
have the wire's zero, which means unknown.
"""

from collections.abc import Sequence

from analytics.model.game_conventions import known_time_ms
from ingest.codec.blanking import plausible_frame
from ingest.collectors.games.acc.broadcast_messages import (
    ON_TRACK,
    PIT_ENTRY,
    PIT_EXIT,
    PIT_LANE,
    POST_SESSION,
    REPLAY,
    SESSION,
    SESSION_OVER,
    CarUpdate,
    Message,
    SessionUpdate,
)
from ingest.collectors.games.acc.broadcast_state import BroadcastState
from ingest.collectors.games.acc.frames import validity
from ingest.collectors.games.acc.page_layout import GAME
from ingest.collectors.games.anomalies import AnomalyCounts
from ingest.collectors.games.interface import GameEvent
from ingest.collectors.games.session_tracker import SessionTracker
from ingest.telemetry_pb2 import PitState, Session, TelemetryFrame

#: Channels that the game does not broadcast.
LACKING = ("throttle", "brake", "steering", "rpm", "y", "sector")
_DRIVEN = {SESSION, SESSION_OVER, POST_SESSION}
#: A session's clock only grows. A correction by less than this is not a restart.
_RESTARTED_MS = 1000.0
_PITS = {
    ON_TRACK: PitState.PIT_STATE_ON_TRACK,
    PIT_LANE: PitState.PIT_STATE_PIT_LANE,
    PIT_ENTRY: PitState.PIT_STATE_PIT_LANE,
    PIT_EXIT: PitState.PIT_STATE_PIT_LANE,
}


class BroadcastSessions:
    """Finds sessions and frames in the broadcasts, one message after the other."""

    def __init__(self, *, rate_hz: float, complaints: AnomalyCounts) -> None:
        self._rate_hz, self._complaints = rate_hz, complaints
        self._session = SessionTracker(complaints)
        self._update: SessionUpdate | None = None
        self.car_index: int | None = None  # the player's car
        self._seen: tuple[CarUpdate, float] | None = None

    def take(
        self, message: Message, *, now_s: float, wall_ms: int, broadcast: BroadcastState
    ) -> Sequence[GameEvent]:
        """Return the events of this message, which the broadcast state has already taken in."""
        match message:
            case SessionUpdate():
                return self._follow(message)
            case CarUpdate() if self._is_driven(message):
                return self._track(message, now_s=now_s, wall_ms=wall_ms, broadcast=broadcast)
            case _:
                return []

    def gone(self, reason: str) -> Sequence[GameEvent]:
        """End the session, because the game sends nothing any more or another session."""
        self._update, self.car_index, self._seen = None, None, None
        return self._session.end(reason)

    def _follow(self, update: SessionUpdate) -> Sequence[GameEvent]:
        reason = _over(self._update, update) if self._update else None
        ended = self.gone(reason) if reason else []
        self._update = update
        return ended

    def _is_driven(self, car: CarUpdate) -> bool:
        """Return whether this is an update of the player's car in a session that is being driven.

        A session before its start, a paused session and a replay are not being driven.
        """
        update = self._update
        if (
            update is None
            or update.replay_plays
            or update.session_type == REPLAY
            or update.phase not in _DRIVEN
        ):
            return False
        if self.car_index is None and update.focused_car >= 0:
            self.car_index = update.focused_car
        return car.car_index == self.car_index and self._seen != (car, update.session_ms)

    def _track(
        self, car: CarUpdate, *, now_s: float, wall_ms: int, broadcast: BroadcastState
    ) -> Sequence[GameEvent]:
        frame = _frame(car)
        if frame is None or self._update is None:
            return []
        restarted = self._seen is not None and car.laps < self._seen[0].laps
        ended = self._session.end("the session was started again") if restarted else []
        self._seen = (car, self._update.session_ms)
        return [
            *ended,
            *self._session.track(frame, self._facts(car, broadcast), now_s=now_s, wall_ms=wall_ms),
        ]

    def _facts(self, car: CarUpdate, broadcast: BroadcastState) -> Session:
        return Session(
            game=GAME,
            track=broadcast.track_name(),
            car=broadcast.car_name(car.car_index),
            driver=broadcast.driver_name(car.car_index, car.driver_index),
            track_length=broadcast.length_m(broadcast.track_name()),
            # A lap that is not driven yet also has a split for each sector, with the value for no
            # time.
            sector_count=len(self._update.best_lap.splits_ms) if self._update else 0,
            sample_rate=self._rate_hz,
        )


def _over(before: SessionUpdate, now: SessionUpdate) -> str | None:
    """Return why ``now`` belongs to another session than ``before``; None when it belongs to the
    same.
    """
    was = (before.event_index, before.session_index, before.session_type)
    if was != (now.event_index, now.session_index, now.session_type):
        return "the game went on to another session"
    if now.session_ms < before.session_ms - _RESTARTED_MS:
        return "the session was started again"
    return None


def _frame(car: CarUpdate) -> TelemetryFrame:
    return plausible_frame(
        {
            "lap_time": known_time_ms(GAME, car.current_lap.lap_time_ms),
            "speed": car.speed_kmh,
            # The game's own client subtracts 2, which would put every parked car in reverse.
            "gear": car.gear - 1,
            "normalized_position": car.spline_position,
            "lap_number": car.laps + 1,
            "x": car.x_m,
            "z": car.z_m,
            # Assumed to be the same as the pages' heading: the two have not been compared.
            "heading": car.yaw_rad,
            "last_lap_time": known_time_ms(GAME, car.last_lap.lap_time_ms),
            "pit": _PITS.get(car.location, PitState.PIT_STATE_UNKNOWN),
            "validity": validity(valid=not car.current_lap.invalid),
        }
    )
