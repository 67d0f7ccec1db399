"""Defines the interface between a game and a collector, and its messages. Code that follows a game
knows only this.

A game yields `SessionBegan` before a session's first frame. Then it yields frames and changed facts
as they come. It yields `SessionEnded` when that session is over. Frames have no sequence yet: their
sender counts them. A game that is absent, paused or playing a replay yields nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ingest.telemetry_pb2 import Session, TelemetryFrame


@dataclass(frozen=True, slots=True)
class SessionBegan:
    """A new session with its facts. The collector fills in the key and the user of ``facts``."""

    facts: Session


@dataclass(frozen=True, slots=True)
class FactsChanged:
    """The facts of the running session, after some became known or changed."""

    facts: Session


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """The end of the session, with its reason. No frame of that session follows."""

    reason: str


GameEvent = SessionBegan | FactsChanged | TelemetryFrame | SessionEnded


class Game(Protocol):
    """A game on this machine or network, running at the moment or not."""

    @property
    def name(self) -> str:
        """Return the game's name, as in `Session.game`."""
        ...

    @property
    def running(self) -> bool:
        """Return whether the game has shown activity lately."""
        ...

    @property
    def counts(self) -> Mapping[str, int]:
        """Return the counts of unusable received data, by kind."""
        ...

    def poll(self, timeout_s: float) -> Sequence[GameEvent]:
        """Return the events since the last call, oldest first; wait at most ``timeout_s`` for
        the first.

        Never raises for data that a game sends, nor for an absent game.
        """
        ...

    def close(self) -> Sequence[GameEvent]:
        """Stop following the game, and return the events not returned yet. None follow after
        it.
        """
        ...
