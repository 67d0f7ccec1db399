"""Sends a session under commands, for collectors that follow no game: a replay, a simulated car.

Commands come from another thread than the frames. Each changes a single value; only the frames'
thread uses the sender.
"""

from typing import Protocol

from ingest.collectors.delivery.statistics import Statistics
from ingest.collectors.follower import RateLimiter, at_rate
from ingest.collectors.replay_loop import Destination
from ingest.telemetry_pb2 import Session, TelemetryFrame


class DescribedDestination(Destination, Protocol):
    """Interface of the destination of frames and the session's facts; a Sender implements it."""

    @property
    def key(self) -> str:
        """Return the key of the session."""

    def describe(self, facts: Session) -> None:
        """Send the session's facts."""


class ControllableSender:
    """Sends with ``sender``: nothing while paused, and at most the commanded rate.

    ``facts`` are the facts that the session began with.
    """

    def __init__(self, sender: DescribedDestination, facts: Session) -> None:
        self._sender, self._facts = sender, facts
        self._rate_hz, self._thinning = 0.0, RateLimiter()
        self.sending = True

    @property
    def session(self) -> str:
        """Return the session's key."""
        return self._sender.key

    @property
    def statistics(self) -> Statistics:
        """Return the statistics of the sent frames."""
        return self._sender.statistics

    @property
    def has_room(self) -> bool:
        """Return whether `send` would go through without a wait."""
        return self._sender.has_room

    def pause(self) -> None:
        """Send no frames until `resume`; the frames' time still goes on."""
        self.sending = False

    def resume(self) -> None:
        """Send frames again."""
        self.sending = True

    def limit_rate(self, rate_hz: float) -> None:
        """Send at most ``rate_hz`` frames a second; 0: all of them."""
        self._rate_hz = rate_hz

    def send(self, frame: TelemetryFrame) -> None:
        """Send the frame, unless a command forbids it."""
        if self._thinning.rate_hz != self._rate_hz:
            self._thinning = RateLimiter(self._rate_hz)
            self._sender.describe(at_rate(self._facts, self._thinning.rate_hz))
        if self.sending and self._thinning.lets_through(frame.timestamp):
            self._sender.send(frame)

    def poll(self, timeout_s: float) -> None:
        """Poll the sender, so that it delivers its records."""
        self._sender.poll(timeout_s)
