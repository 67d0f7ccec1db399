"""The session that runs, as it has been told so far: begun before its first frame, described again when a fact changes.

Pure: both clocks are arguments.
"""

from math import dist

from ingest.codec.blanking import blanked_fields
from ingest.collectors.games.anomalies import AnomalyCounts
from ingest.collectors.games.interface import FactsChanged, Happening, SessionBegan, SessionEnded
from ingest.collectors.games.session_clock import SessionClock
from ingest.telemetry_pb2 import Session, TelemetryFrame

#: No car moves faster; going back to the garage does.
_FASTEST_MPS = 150.0
_ROOM_M = 10.0


class SessionTracker:
    """At most one at a time; none to begin with."""

    def __init__(self, complaints: AnomalyCounts) -> None:
        self._complaints = complaints
        self._clock: SessionClock | None = None
        self._facts = Session()
        self._given = self._facts
        self._place: tuple[float, float, float] | None = None
        self._seen_s = 0.0

    @property
    def runs(self) -> bool:
        """It has begun and not ended."""
        return self._clock is not None

    def drive(self, frame: TelemetryFrame, facts: Session, *, now_s: float, wall_ms: int) -> list[Happening]:
        """The frame, timed, and before it what must be said first. ``facts`` have no start: that is this frame, or an earlier one."""
        said: list[Happening] = []
        if self._clock is None:
            self._clock = SessionClock(wall_ms=wall_ms, now_s=now_s)
            self._facts, self._given = _started(facts, wall_ms), facts
            said.append(SessionBegan(self._facts))
        elif facts is not self._given:  # sixty times a second they are the very same
            said += self._changed(facts)
        self._note_jump(frame, now_s)
        frame.timestamp = self._clock.stamp_ms(now_s)
        return [*said, frame]

    def _changed(self, facts: Session) -> list[Happening]:
        now, self._given = _started(facts, self._facts.started_at), facts
        if now == self._facts:
            return []
        self._facts = now
        return [FactsChanged(now)]

    def end(self, reason: str) -> list[Happening]:
        """Nothing, where none runs."""
        if self._clock is None:
            return []
        self._clock, self._place = None, None
        return [SessionEnded(reason)]

    def _note_jump(self, frame: TelemetryFrame, now_s: float) -> None:
        """A car that is suddenly elsewhere is what the game showed: it is counted, and sent."""
        if {"x", "y", "z"}.intersection(blanked_fields(frame)):
            return
        place = (frame.x, frame.y, frame.z)
        reach_m = _ROOM_M + _FASTEST_MPS * (now_s - self._seen_s)
        if self._place and any(place) and any(self._place) and dist(place, self._place) > reach_m:
            self._complaints.add("the car jumped; sent as it is")
        self._place, self._seen_s = place, now_s


def _started(facts: Session, started_at_ms: int) -> Session:
    told = Session()
    told.CopyFrom(facts)
    told.started_at = started_at_ms
    return told
