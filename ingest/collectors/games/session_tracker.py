"""Tracks the running session: begins it before its first frame, and describes it again when a fact
changes.

Pure: both clocks are arguments.
"""

from math import dist

from ingest.codec.blanking import blanked_fields
from ingest.collectors.games.anomalies import AnomalyCounts
from ingest.collectors.games.interface import FactsChanged, GameEvent, SessionBegan, SessionEnded
from ingest.collectors.games.session_clock import SessionClock
from ingest.telemetry_pb2 import Session, TelemetryFrame

#: No car moves faster; a return to the garage does.
_FASTEST_MPS = 150.0
_ROOM_M = 10.0


class SessionTracker:
    """Tracks at most one session at a time; none at the start."""

    def __init__(self, complaints: AnomalyCounts) -> None:
        self._complaints = complaints
        self._clock: SessionClock | None = None
        self._facts = Session()
        self._given = self._facts
        self._place: tuple[float, float, float] | None = None
        self._seen_s = 0.0

    @property
    def runs(self) -> bool:
        """Return whether a session has begun and not ended."""
        return self._clock is not None

    def track(
        self, frame: TelemetryFrame, facts: Session, *, now_s: float, wall_ms: int
    ) -> list[GameEvent]:
        """Return the frame with its time, after the events that must precede it.

        ``facts`` have no start: this frame sets it, or an earlier one did.
        """
        events: list[GameEvent] = []
        if self._clock is None:
            self._clock = SessionClock(wall_ms=wall_ms, now_s=now_s)
            self._facts, self._given = _started(facts, wall_ms), facts
            events.append(SessionBegan(self._facts))
        elif facts is not self._given:  # sixty times a second they are the very same object
            events += self._changed(facts)
        self._note_jump(frame, now_s)
        frame.timestamp = self._clock.stamp_ms(now_s)
        return [*events, frame]

    def _changed(self, facts: Session) -> list[GameEvent]:
        now, self._given = _started(facts, self._facts.started_at), facts
        if now == self._facts:
            return []
        self._facts = now
        return [FactsChanged(now)]

    def end(self, reason: str) -> list[GameEvent]:
        """End the running session for ``reason``; return nothing where none runs."""
        if self._clock is None:
            return []
        self._clock, self._place = None, None
        return [SessionEnded(reason)]

    def _note_jump(self, frame: TelemetryFrame, now_s: float) -> None:
        """Count a jump of the car. The frame is sent unchanged, because the game showed it."""
        if {"x", "y", "z"}.intersection(blanked_fields(frame)):
            return
        place = (frame.x, frame.y, frame.z)
        reach_m = _ROOM_M + _FASTEST_MPS * (now_s - self._seen_s)
        if self._place and any(place) and any(self._place) and dist(place, self._place) > reach_m:
            self._complaints.add("the car jumped; sent as it is")
        self._place, self._seen_s = place, now_s


def _started(facts: Session, started_at_ms: int) -> Session:
    dated = Session()
    dated.CopyFrom(facts)
    dated.started_at = started_at_ms
    return dated
