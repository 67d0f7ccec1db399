"""Keeps the live sessions, and passes their records to the viewers that watch them.

The hub takes records as they come from Kafka. It queues them for the viewers of their session or of
its user. It uses no Kafka, no socket, no loop and no clock, and nothing in it awaits. The rule: a
record is made into a message once, for any number of viewers. A record that cannot be read is
counted and dropped.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import structlog

from ingest.codec.session_owner import owner_fault
from ingest.codec.session_times import Placing, SessionTimes
from ingest.codec.timestamps import AHEAD_MS, BEHIND_MS
from serve.bridge.access.callers import Caller
from serve.bridge.access.policy import may_see_hidden, may_watch
from serve.bridge.live.decode import LiveMessage, UndecodableRecord, moved, read
from serve.bridge.live.outgoing import OutgoingMessage
from serve.bridge.live.viewer import SESSION_DELETED, Viewer

log = structlog.get_logger()

# Owners and times of sessions. They are remembered for longer than sessions are live: after a pause
# nobody takes a session, and its frames go on at the times that the store gives them.
_REMEMBERED = 20_000


@dataclass(frozen=True, slots=True)
class Subscription:
    """A viewer's subscription to one session, or to every live session of a user."""

    what: Literal["session", "user"]
    name: str

    def as_json(self) -> dict[str, str]:
        """Return the subscription with the field names of client messages."""
        return {"userId" if self.what == "user" else "session": self.name}


@dataclass(frozen=True, slots=True)
class LiveRecord:
    """A Kafka record with the names that its key and headers carry.

    ``appended_ms`` is the time when the broker received it; 0 is unknown. An empty ``user`` is
    unknown. ``behind_ms`` is how far its sender's clock was behind the broker's, if that is a
    fault; else it is 0. ``proved``: the topic's access rules prove the user. ``fault`` is why
    viewers must not see it.
    """

    session: str
    user: str
    value: bytes
    appended_ms: int = 0
    behind_ms: int = 0
    proved: bool = False
    fault: str | None = None


@dataclass(slots=True)
class LiveSession:
    """A session whose records arrive. ``seen_at`` is the monotonic time of the last arrival, never
    the frame's time.
    """

    key: str
    seen_at: float
    user: str = ""
    count: int = 0
    frame_time_ms: int = 0
    facts: OutgoingMessage | None = None
    running_lap: int = 0
    sectors: OutgoingMessage | None = None  # the sectors of the running lap that have ended


class Hub:
    """Holds the live sessions and their viewers."""

    def __init__(self, *, forget_after_s: float = 30.0) -> None:
        self._forget_after_s = forget_after_s
        self._sessions: dict[str, LiveSession] = {}
        self._viewers: dict[Viewer, set[Subscription]] = {}
        self._watching: dict[Subscription, set[Viewer]] = {}
        #: Who gets the records of a session and user. Judged once, until a subscription changes.
        self._audiences: dict[tuple[str, str], tuple[Viewer, ...]] = {}
        self.received = 0
        self.unreadable = 0
        #: Counts records of one user for a session of another. Ingest makes them dead letters.
        self.foreign = 0
        self._placings: dict[str, Placing] = {}
        self._owners: dict[str, str] = {}  # of sessions, where a topic proves the user
        self._deleted: dict[str, None] = {}  # sessions, the newest last
        self._hidden: frozenset[str] = frozenset()
        #: Counts values that no car can have sent, by field. Viewers received them as unknown.
        self.blanked: Counter[str] = Counter()

    @property
    def sessions(self) -> Mapping[str, LiveSession]:
        """Return the live sessions by key."""
        return MappingProxyType(self._sessions)

    @property
    def viewers(self) -> int:
        """Return the number of connected viewers."""
        return len(self._viewers)

    def watches(self, viewer: Viewer) -> frozenset[Subscription]:
        """Return the subscriptions of a viewer."""
        return frozenset(self._viewers.get(viewer, ()))

    def join(self, viewer: Viewer) -> None:
        """Add a viewer that has connected. It watches nothing yet."""
        self._viewers.setdefault(viewer, set())

    def leave(self, viewer: Viewer) -> None:
        """Remove a viewer that is gone. Removing it twice is normal."""
        for watch in self._viewers.pop(viewer, ()):
            self._stop(viewer, watch)

    def renew(self, viewer: Viewer, caller: Caller) -> None:
        """Replace the caller of a viewer, which has logged in again, or what is shared with it."""
        viewer.caller = caller
        self._audiences.clear()

    def watch(self, viewer: Viewer, watch: Subscription, *, now: float) -> None:
        """Add a subscription, and send the known facts and sectors of its sessions at once.

        So a viewer that joins late sees names and sectors. A session that its caller may not read
        is like one that does not exist.
        """
        if viewer not in self._viewers:
            raise ValueError("a viewer joins before it watches")
        self._viewers[viewer].add(watch)
        self._watching.setdefault(watch, set()).add(viewer)
        self._audiences.clear()
        for session in self._matching(watch):
            if not self._may_watch(viewer, session.user, session.key):
                continue
            for known in (session.facts, session.sectors):
                if known is not None:
                    viewer.offer(known, now=now)

    def unwatch(self, viewer: Viewer, watch: Subscription) -> None:
        """Remove a subscription. Removing one that does not exist is normal."""
        self._viewers.get(viewer, set()).discard(watch)
        self._stop(viewer, watch)

    def publish(self, records: Iterable[LiveRecord], *, now: float) -> None:
        """Queue records for their viewers, in the given order."""
        for record in records:
            self.received += 1
            if record.session in self._deleted:
                continue
            try:
                read_message = read(record.value, record.session)
                if self._is_foreign(record, read_message):
                    self.foreign += 1
                    continue
                message = self._in_time(record, read_message, now)
            except UndecodableRecord:
                self.unreadable += 1
                continue
            if message.blanked:
                self._count_blanked(record, message)
            self._deliver(message.envelope, self._note(record, message, now), now)

    def withdraw(self, deleted: Collection[str], hidden: Collection[str]) -> None:
        """Forget sessions that were deleted, and close their viewers; ``hidden`` are all live
        sessions that only some may watch.
        """
        for key in deleted:
            self._deleted[key] = None
            self._sessions.pop(key, None)
            for viewer in tuple(self._watching.get(Subscription("session", key), ())):
                viewer.close(SESSION_DELETED)
        if len(self._deleted) > _REMEMBERED:
            self._deleted = dict.fromkeys(list(self._deleted)[-_REMEMBERED // 2 :])
        if self._hidden != frozenset(hidden):
            self._hidden = frozenset(hidden)
            self._audiences.clear()

    def expire(self, *, now: float) -> list[str]:
        """Forget the sessions without an arrival for ``forget_after_s``; return their keys."""
        gone = [key for key, s in self._sessions.items() if now - s.seen_at > self._forget_after_s]
        for key in gone:
            del self._sessions[key]
        return gone

    def _is_foreign(self, record: LiveRecord, message: LiveMessage) -> bool:
        """Return whether one user claims the session of another.

        A session keeps its first proved user.
        """
        if not record.proved:
            return False
        if record.fault or owner_fault(record.user, "", facts=message.user):
            return True
        if len(self._owners) > _REMEMBERED:
            self._owners = dict(list(self._owners.items())[-_REMEMBERED // 2 :])
        return self._owners.setdefault(record.session, record.user) != record.user

    def _count_blanked(self, record: LiveRecord, message: LiveMessage) -> None:
        for name in set(message.blanked) - self.blanked.keys():
            log.warning("implausible_value", field=name, session=record.session)
        self.blanked.update(message.blanked)

    def _in_time(self, record: LiveRecord, message: LiveMessage, now: float) -> LiveMessage:
        """Return the message with the times that the store gives its frames, if their clock is
        wrong.

        Raises UndecodableRecord.
        """
        if message.kind == "lap" or not record.appended_ms:
            return message
        placing, start_ms = self._placing_of(record), 0
        placing.times.expect_start(message.started_at_ms, record.appended_ms)
        placed = [placing.place(*clock, record.appended_ms) for clock in message.clocks]
        placing.corrections.clear()  # ingest stores them
        if fault := next((fault for _, fault in placed if fault), None):
            raise UndecodableRecord(fault)  # ingest makes it a dead letter
        frames_ms = [
            placed_ms - clock_ms
            for (placed_ms, _), (_, clock_ms) in zip(placed, message.clocks, strict=True)
        ]
        if message.started_at_ms > record.appended_ms + AHEAD_MS:
            start_ms = placing.offset_at_start_ms or record.appended_ms - message.started_at_ms
        elif (
            message.started_at_ms
            and (offset_ms := placing.offset_at_start_ms or record.behind_ms) > BEHIND_MS
        ):
            start_ms = offset_ms
        return moved(message, frames_ms, start_ms)

    def _placing_of(self, record: LiveRecord) -> Placing:
        """Return what places the frames of the record's session.

        As in ingest, its first record shows whether its clock is behind.
        """
        if len(self._placings) > _REMEMBERED:
            self._placings = dict(list(self._placings.items())[-_REMEMBERED // 2 :])
        placing = self._placings.get(record.session)
        if placing is None:
            placing = Placing(SessionTimes(behind_ms=record.behind_ms))
            self._placings[record.session] = placing
        return placing

    def _note(self, record: LiveRecord, message: LiveMessage, now: float) -> str:
        """Update the session from the record; return the user that it belongs to."""
        session = self._sessions.get(record.session)
        if session is None:
            # Laps come late, and from corrections: they make no session live.
            if message.kind == "lap":
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
        for viewer in self._audience(envelope.session, user):
            if not viewer.offer(envelope, now=now):
                self.leave(viewer)

    def _audience(self, session: str, user: str) -> tuple[Viewer, ...]:
        """Return the viewers that watch this session of this user, and may read it."""
        known = self._audiences.get((session, user))
        if known is None:
            if len(self._audiences) > _REMEMBERED:
                self._audiences.clear()
            viewers = self._watching.get(Subscription("session", session), set())
            if user:
                viewers = viewers | self._watching.get(Subscription("user", user), set())
            known = tuple(one for one in viewers if self._may_watch(one, user, session))
            self._audiences[session, user] = known
        return known

    def _may_watch(self, viewer: Viewer, user: str, session: str) -> bool:
        if session in self._hidden and not may_see_hidden(viewer.caller, user):
            return False
        return may_watch(viewer.caller, user, session)

    def _matching(self, watch: Subscription) -> list[LiveSession]:
        if watch.what == "session":
            found = self._sessions.get(watch.name)
            return [] if found is None else [found]
        return [s for s in self._sessions.values() if s.user == watch.name]

    def _stop(self, viewer: Viewer, watch: Subscription) -> None:
        self._audiences.clear()
        viewers = self._watching.get(watch, set())
        viewers.discard(viewer)
        if not viewers:
            self._watching.pop(watch, None)


def _note_lap(session: LiveSession, message: LiveMessage) -> None:
    """Keep the running lap's sectors for viewers that join before the lap is over.

    A lap that is corrected later removes no sectors.
    """
    if message.running_lap:
        session.running_lap, session.sectors = message.running_lap, message.envelope
    elif message.finished_lap >= session.running_lap:
        session.sectors = None
