"""A session's way out that obeys commands, for collectors that follow no game: a replay, a simulated car.

Commands come from another thread than the frames; what they change is a single value each, and the sender is left to its thread.
"""

from typing import Protocol

from ingest.collectors.delivery.statistics import Statistics
from ingest.collectors.follower import RateLimiter, at_rate
from ingest.collectors.replay_loop import Destination
from ingest.telemetry_pb2 import Session, TelemetryFrame


class DescribedDestination(Destination, Protocol):
    """Where frames and the session's facts go: a Sender."""

    @property
    def key(self) -> str: ...
    def describe(self, facts: Session) -> None: ...


class ControllableSender:
    """Sends with ``sender``: nothing while paused, and at most the commanded rate. ``facts`` are those that it began with."""

    def __init__(self, sender: DescribedDestination, facts: Session) -> None:
        self._sender, self._facts = sender, facts
        self._rate_hz, self._thinning = 0.0, RateLimiter()
        self.sending = True

    @property
    def session(self) -> str:
        """The session's key."""
        return self._sender.key

    @property
    def statistics(self) -> Statistics:
        """Of the frames that were sent."""
        return self._sender.statistics

    @property
    def has_room(self) -> bool:
        """`send` would not wait."""
        return self._sender.has_room

    def pause(self) -> None:
        """Send no frames until `resume`; time goes on all the same."""
        self.sending = False

    def resume(self) -> None:
        """Send frames again."""
        self.sending = True

    def limit_rate(self, rate_hz: float) -> None:
        """Send at most so many frames a second; 0: all of them."""
        self._rate_hz = rate_hz

    def send(self, frame: TelemetryFrame) -> None:
        """Send the frame, unless a command says otherwise."""
        if self._thinning.rate_hz != self._rate_hz:
            self._thinning = RateLimiter(self._rate_hz)
            self._sender.describe(at_rate(self._facts, self._thinning.rate_hz))
        if self.sending and self._thinning.lets_through(frame.timestamp):
            self._sender.send(frame)

    def poll(self, timeout_s: float) -> None:
        """Keep what was sent moving."""
        self._sender.poll(timeout_s)
