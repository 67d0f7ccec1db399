"""What a game tells a collector, and in what words. Everything that follows a game knows only this.

A game says `SessionBegan` before a session's first frame, then frames and changed facts as they come, and `SessionEnded`
when that session is over. Frames have no sequence yet: whoever sends them counts. While the game is away, paused or
plays a replay, it says nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ingest.telemetry_pb2 import Session, TelemetryFrame


@dataclass(frozen=True, slots=True)
class SessionBegan:
    """A new session; of ``facts``, key and user are for the collector to fill in."""

    facts: Session


@dataclass(frozen=True, slots=True)
class FactsChanged:
    """Facts of the running session have become known, or are no longer what they were."""

    facts: Session


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """No frame of that session follows."""

    reason: str


Happening = SessionBegan | FactsChanged | TelemetryFrame | SessionEnded


class Game(Protocol):
    """A game on this machine or network, whether it runs at the moment or not."""

    @property
    def name(self) -> str:
        """As `Session.game` has it."""
        ...

    @property
    def running(self) -> bool:
        """The game has been heard of lately."""
        ...

    @property
    def counts(self) -> Mapping[str, int]:
        """What was received and could not be used, by kind."""
        ...

    def poll(self, timeout_s: float) -> Sequence[Happening]:
        """What has happened since the last call, oldest first; waits at most ``timeout_s`` for the first of it.

        Never raises for what a game sends, nor for a game that is not there.
        """
        ...

    def close(self) -> Sequence[Happening]:
        """Take leave of the game. What was seen before and has not been said; nothing is said after it."""
        ...
