"""Who watches what, and which sessions are live.

The hub takes records as they come from Kafka and lets them wait for the viewers that watch their session or its user.
It knows no Kafka, no socket, no loop and no clock, and nothing in it awaits. The rule: a record is made into a message
once, whoever watches; a record that cannot be read is counted and forgotten.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

import structlog

from ingest.codec.session_times import Placing, SessionTimes
from ingest.codec.timestamps import AHEAD_MS, BEHIND_MS, time_fault
from serve.bridge.live.decode import LiveMessage, UndecodableRecord, moved, read
from serve.bridge.live.outgoing import OutgoingMessage
from serve.bridge.live.viewer import Viewer

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a viewer watches: one session, or every live session of a user."""

    what: Literal["session", "user"]
    name: str

    def as_json(self) -> dict[str, str]:
        """The watch in the words of client messages."""
        return {"userId" if self.what == "user" else "session": self.name}


@dataclass(frozen=True, slots=True)
class LiveRecord:
    """A record of Kafka, with the names that its key and headers carry, and when the broker got it (0: not known).

    An empty ``user`` is unknown. ``behind_ms``: how far its sender's clock showed to be behind the broker's, where that is a fault.
    """

    session: str
    user: str
    value: bytes
    appended_ms: int = 0
    behind_ms: int = 0


@dataclass(slots=True)
class LiveSession:
    """A session whose records arrive. ``seen_at`` is the arrival of the last one, monotonic; never the frame's time."""

    key: str
    seen_at: float
    user: str = ""
    count: int = 0
    frame_time_ms: int = 0
    facts: OutgoingMessage | None = None
    running_lap: int = 0
    sectors: OutgoingMessage | None = None  # of the running lap, as far as they have ended
    placing: Placing = field(default_factory=lambda: Placing(SessionTimes()))


class Hub:
    """The live sessions and their viewers."""

    def __init__(self, *, forget_after_s: float = 30.0) -> None:
        self._forget_after_s = forget_after_s
        self._sessions: dict[str, LiveSession] = {}
        self._viewers: dict[Viewer, set[Subscription]] = {}
        self._watching: dict[Subscription, set[Viewer]] = {}
        self.received = 0
        self.unreadable = 0
        #: Values that no car can have sent, by field: viewers got them as unknown.
        self.blanked: Counter[str] = Counter()

    @property
    def sessions(self) -> Mapping[str, LiveSession]:
        """The live sessions by key."""
        return MappingProxyType(self._sessions)

    @property
    def viewers(self) -> int:
        """How many viewers are connected."""
        return len(self._viewers)

    def watches(self, viewer: Viewer) -> frozenset[Subscription]:
        """What a viewer watches."""
        return frozenset(self._viewers.get(viewer, ()))

    def join(self, viewer: Viewer) -> None:
        """A viewer is connected; it watches nothing yet."""
        self._viewers.setdefault(viewer, set())

    def leave(self, viewer: Viewer) -> None:
        """A viewer is gone; leaving twice is normal."""
        for watch in self._viewers.pop(viewer, ()):
            self._stop(viewer, watch)

    def watch(self, viewer: Viewer, watch: Subscription, *, now: float) -> None:
        """Start watching. What is known of the sessions in question is sent at once, so that joining late shows names and sectors."""
        if viewer not in self._viewers:
            raise ValueError("a viewer joins before it watches")
        self._viewers[viewer].add(watch)
        self._watching.setdefault(watch, set()).add(viewer)
        for session in self._matching(watch):
            for known in (session.facts, session.sectors):
                if known is not None:
                    viewer.offer(known, now=now)

    def unwatch(self, viewer: Viewer, watch: Subscription) -> None:
        """Stop watching; unwatching what was not watched is normal."""
        self._viewers.get(viewer, set()).discard(watch)
        self._stop(viewer, watch)

    def publish(self, records: Iterable[LiveRecord], *, now: float) -> None:
        """Let records wait for their viewers, in the given order."""
        for record in records:
            self.received += 1
            try:
                message = self._in_time(record, read(record.value, record.session), now)
            except UndecodableRecord:
                self.unreadable += 1
                continue
            if message.blanked:
                self._count_blanked(record, message)
            self._deliver(message.envelope, self._note(record, message, now), now)

    def expire(self, *, now: float) -> list[str]:
        """Forget the sessions of which nothing arrived for a while; their keys."""
        gone = [key for key, s in self._sessions.items() if now - s.seen_at > self._forget_after_s]
        for key in gone:
            del self._sessions[key]
        return gone

    def _count_blanked(self, record: LiveRecord, message: LiveMessage) -> None:
        for name in set(message.blanked) - self.blanked.keys():
            log.warning("implausible_value", field=name, session=record.session)
        self.blanked.update(message.blanked)

    def _in_time(self, record: LiveRecord, message: LiveMessage, now: float) -> LiveMessage:
        """The message at the times that the store gives its frames, where their clock is wrong. Raises Unreadable."""
        if message.kind == "lap" or not record.appended_ms:
            return message
        placing = self._sessions.setdefault(record.session, LiveSession(record.session, now)).placing
        if record.behind_ms:
            placing.learn_behind(record.behind_ms)
        frames_ms = start_ms = 0
        if message.frame_time_ms:
            placed_ms, fault = placing.place(message.sequence, message.frame_time_ms, record.appended_ms)
            if fault := time_fault(message.frame_time_ms) or fault:
                raise UndecodableRecord(fault)  # ingest makes it a dead letter
            frames_ms = placed_ms - message.frame_time_ms
        if message.started_at_ms > record.appended_ms + AHEAD_MS:
            start_ms = placing.offset_at_start_ms or record.appended_ms - message.started_at_ms
        elif message.started_at_ms and (offset_ms := placing.offset_at_start_ms or record.behind_ms) > BEHIND_MS:
            start_ms = offset_ms
        return moved(message, frames_ms, start_ms)

    def _note(self, record: LiveRecord, message: LiveMessage, now: float) -> str:
        """Keep what the record says about its session; the user it belongs to."""
        session = self._sessions.get(record.session)
        if session is None:
            if message.kind == "lap":  # laps come after the fact, and from corrections: they make no session live
                return record.user
            session = self._sessions[record.session] = LiveSession(record.session, now)
        session.user = record.user or message.user or session.user
        if message.kind == "lap":
            _note_lap(session, message)
        else:
            session.seen_at = now
            session.count += message.frames
        session.frame_time_ms = message.frame_time_ms or session.frame_time_ms
        session.facts = message.facts or session.facts
        return session.user

    def _deliver(self, envelope: OutgoingMessage, user: str, now: float) -> None:
        viewers = self._watching.get(Subscription("session", envelope.session), set())
        if user:
            viewers = viewers | self._watching.get(Subscription("user", user), set())
        for viewer in tuple(viewers):
            if not viewer.offer(envelope, now=now):
                self.leave(viewer)

    def _matching(self, watch: Subscription) -> list[LiveSession]:
        if watch.what == "session":
            found = self._sessions.get(watch.name)
            return [] if found is None else [found]
        return [s for s in self._sessions.values() if s.user == watch.name]

    def _stop(self, viewer: Viewer, watch: Subscription) -> None:
        viewers = self._watching.get(watch, set())
        viewers.discard(viewer)
        if not viewers:
            self._watching.pop(watch, None)


def _note_lap(session: LiveSession, message: LiveMessage) -> None:
    """Sectors are told again to who joins until their lap is over; a lap that is corrected later takes none away."""
    if message.running_lap:
        session.running_lap, session.sectors = message.running_lap, message.envelope
    elif message.finished_lap >= session.running_lap:
        session.sectors = None
