"""Queues the messages of one viewer, and limits a slow viewer.

A ViewerQueue holds the messages that the viewer has not yet been sent. It selects those that a slow
viewer misses, with the time as an argument. It uses no socket and no loop. The rule: newer live
frames may replace older ones of the same session. The viewer receives the number that it missed.
Laps, facts and replies are never dropped. A viewer that takes nothing is closed.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from serve.bridge.access.callers import ANYONE, Caller
from serve.bridge.live.outgoing import OutgoingMessage, missed


@dataclass(frozen=True, slots=True)
class Close:
    """The code and reason of a socket's end, and for the documentation ``when`` it is sent.

    With a code below 4400 the viewer may reconnect. From 4400 on, a reconnect changes nothing.
    """

    code: int
    reason: str
    when: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.code} ({self.reason})"


TOO_SLOW = Close(
    4008,
    "too slow",
    "The viewer takes nothing, or too much waits that must arrive.",
)
TOO_MANY_MESSAGES = Close(
    4029,
    "too many messages",
    "Too many frames came from the viewer. Messages, fragments, pings and pongs count alike.",
)
BAD_REQUEST = Close(
    4400,
    "bad request",
    "The query of the address is wrong; the reason is the sentence that names the fault.",
)
NOT_LOGGED_IN = Close(
    4401,
    "not logged in",
    "A login is needed, was refused, has expired or was revoked; the reason has the code.",
)
SESSION_DELETED = Close(
    4410,
    "the session was deleted",
    "The viewer has subscribed to a session that was deleted.",
)
FOREIGN_ORIGIN = Close(
    4403,
    "foreign origin",
    "The page that opened the socket is of another origin.",
)


class Outgoing(Protocol):
    """A message to send. ``frames`` counts its live frames, which newer ones may replace; with 0 it
    must arrive.
    """

    @property
    def session(self) -> str:
        """Return the key of the session."""

    @property
    def frames(self) -> int:
        """Return the number of frames."""

    @property
    def size_bytes(self) -> int:
        """Return the size of the message, in bytes."""

    def payload(self, *, as_text: bool) -> bytes | str:
        """Return the message as text or as bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Limits for a viewer that falls behind. First it misses frames, then it is closed."""

    waiting_messages: int = 256  # more than four seconds of one car
    waiting_bytes: int = 64 * 1024
    kept_bytes: int = 1024 * 1024  # of messages that must arrive, before the viewer is closed
    stalled_s: float = 10.0  # without taking anything, before the viewer is closed
    report_every_s: float = 1.0  # how often it receives the number that it missed


class ViewerQueue:
    """Queue of the messages that one viewer has still to be sent, in order.

    While the viewer keeps up this is a queue. Past ``waiting_messages`` or ``waiting_bytes`` it is
    *behind*. Then only the newest message of frames of each session waits, until everything was
    taken.
    """

    def __init__(self, patience: Patience | None = None) -> None:
        self._patience = patience or Patience()
        self._waiting: deque[Outgoing] = deque()
        self._newest: dict[str, Outgoing] = {}  # of each session, while behind
        self._waiting_bytes = 0
        self._kept_bytes = 0
        self._missed = 0
        self._reported_at = float("-inf")
        self._since = 0.0  # when a message was last taken, or first waited
        self.behind = False

    def __len__(self) -> int:
        return len(self._waiting) + len(self._newest)

    def offer(self, message: Outgoing, *, now: float) -> Close | None:
        """Queue a message; return a `Close` if the viewer must go."""
        if not len(self):
            self._since = now
        elif now - self._since > self._patience.stalled_s:
            return TOO_SLOW
        if message.frames and self.behind:
            self._replace(message)
            return None
        self._append(message)
        if self._kept_bytes > self._patience.kept_bytes:
            return TOO_SLOW
        if self._over():
            self._conflate()
        return None

    def take(self, *, now: float) -> Outgoing | None:
        """Return the next message to send; None if nothing waits."""
        self._since = now
        if self._missed and (
            not len(self) or now - self._reported_at >= self._patience.report_every_s
        ):
            return self._report(now)
        if self._waiting:
            return self._popleft()
        if self._newest:
            return self._newest.pop(next(iter(self._newest)))
        self.behind = False
        return None

    def _append(self, message: Outgoing) -> None:
        self._waiting.append(message)
        self._waiting_bytes += message.size_bytes
        if not message.frames:
            self._kept_bytes += message.size_bytes

    def _popleft(self) -> Outgoing:
        message = self._waiting.popleft()
        self._waiting_bytes -= message.size_bytes
        if not message.frames:
            self._kept_bytes -= message.size_bytes
        return message

    def _over(self) -> bool:
        if self.behind:
            return False
        limits = self._patience
        return (
            len(self._waiting) > limits.waiting_messages
            or self._waiting_bytes > limits.waiting_bytes
        )

    def _conflate(self) -> None:
        self.behind = True
        waiting, self._waiting = self._waiting, deque()
        self._waiting_bytes = self._kept_bytes = 0
        for message in waiting:
            if message.frames:
                self._replace(message)
            else:
                self._append(message)

    def _replace(self, message: Outgoing) -> None:
        older = self._newest.get(message.session)
        if older is not None:
            self._missed += older.frames
        self._newest[message.session] = message

    def _report(self, now: float) -> OutgoingMessage:
        count, self._missed = self._missed, 0
        self._reported_at = now
        return missed(count)


@dataclass(slots=True, eq=False)
class Viewer:
    """A viewer with its queue, its format, and two calls that reach the owner of its socket."""

    as_text: bool
    wake: Callable[[], None]  # a message waits
    close: Callable[[Close], None]  # the viewer must go; may be called more than once
    queue: ViewerQueue = field(default_factory=ViewerQueue)
    caller: Caller = ANYONE

    def offer(self, message: Outgoing, *, now: float) -> bool:
        """Queue a message for this viewer; return False if that was one too many and the viewer is
        closed.
        """
        refusal = self.queue.offer(message, now=now)
        if refusal is not None:
            self.close(refusal)
            return False
        self.wake()
        return True
