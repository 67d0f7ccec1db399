"""Checks the events of a game as they come, whatever the game was given."""

from collections.abc import Sequence

from ingest.codec.blanking import blank_implausible
from ingest.collectors.games.interface import FactsChanged, GameEvent, SessionBegan, SessionEnded
from ingest.telemetry_pb2 import TelemetryFrame


class EventChecker:
    """Sessions come one after the other, frames only within one, in time, and each could have come
    from a car.
    """

    def __init__(self) -> None:
        self.sessions = self.frames = 0
        self._runs = False
        self._last_ms = 0

    def take(self, events: Sequence[GameEvent]) -> None:
        """Raises AssertionError."""
        for event in events:
            match event:
                case SessionBegan(facts):
                    assert not self._runs, "a session within a session"
                    assert facts.started_at > 0
                    facts.SerializeToString()
                    self._runs, self._last_ms = True, 0
                    self.sessions += 1
                case FactsChanged(facts):
                    assert self._runs, "facts of no session"
                    facts.SerializeToString()
                case SessionEnded():
                    assert self._runs, "an end without a begin"
                    self._runs = False
                case TelemetryFrame():
                    assert self._runs, "a frame outside of a session"
                    assert (implausible := blank_implausible(event)) == (), implausible
                    assert event.timestamp > self._last_ms, "time went back"
                    self._last_ms = event.timestamp
                    event.SerializeToString()
                    self.frames += 1
