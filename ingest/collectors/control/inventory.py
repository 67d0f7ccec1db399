"""What lies in this PC's spool of the sessions that were sent from it: frames that ingest may ask for again.

Reads what the spool has written, without its lock: a session that is being driven is held as much as one of an earlier day.
The rule to remember: a holding speaks of what the broker has acknowledged; the rest is on its way by itself.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf import json_format
from google.protobuf.message import DecodeError

from ingest.collectors.delivery import records
from ingest.collectors.delivery.in_flight import OutgoingRecord
from ingest.collectors.spool.cursor import Cursor
from ingest.collectors.spool.folder import KeptSession, SpoolFolder
from ingest.collectors.spool.memory import SpooledSession
from ingest.collectors.spool.record import scan
from ingest.collectors.spool.segments import Range, first_of, segment_path, segments
from ingest.telemetry_pb2 import Session, TelemetryMessage


@dataclass(frozen=True, slots=True)
class ResendableSession:
    """A session on disk, of which frames up to ``last_sequence`` are acknowledged."""

    session: SpooledSession
    partition: int
    facts: Session
    last_sequence: int
    read: Callable[[Sequence[Range]], Iterator[OutgoingRecord]] = field(repr=False)

    def statement(self) -> OutgoingRecord:
        """The session's facts once more, and how far it was sent: who has not got all of that misses it."""
        told = Session()
        told.CopyFrom(self.facts)
        told.id, told.user_id, told.last_sequence = self.session.key, self.session.user_id, self.last_sequence
        return OutgoingRecord(0, max(0, told.started_at), records.facts_value(told, self.session.encoding))


class EmptyInventory:
    """Of a collector without a spool: no frames that could be sent again."""

    def all(self) -> list[ResendableSession]:
        """None."""
        return []

    def of(self, session: str) -> ResendableSession | None:
        """None."""
        return None

    def ended(self) -> set[str]:
        """None."""
        return set()


class SessionInventory:
    """Of the spool in ``folder``, for ``user_id``. One thread uses it; what it has read of a session it remembers."""

    def __init__(self, folder: SpoolFolder, user_id: str) -> None:
        self._folder, self._user_id = folder, user_id
        self._facts: dict[str, _LatestFacts] = {}

    def all(self) -> list[ResendableSession]:
        """What can be sent again, newest session first: it was sent before."""
        kept = self._kept()
        self._facts = {k.session.key: self._facts.get(k.session.key) or _LatestFacts() for k in kept}
        return [holding for k in kept if (holding := self._holding(k)) is not None]

    def of(self, session: str) -> ResendableSession | None:
        """The one of this session, if its frames are here."""
        return next((holding for holding in self.all() if holding.session.key == session), None)

    def ended(self) -> set[str]:
        """The sessions that are over and acknowledged to the last frame. Asked often, and cheap."""
        return {kept.session.key for kept in self._kept() if Cursor.read(kept.folder).drained}

    def _kept(self) -> list[KeptSession]:
        return [kept for kept in self._folder.kept() if kept.session.user_id == self._user_id]

    def _holding(self, kept: KeptSession) -> ResendableSession | None:
        cursor = Cursor.read(kept.folder)
        last = last_acknowledged(kept.folder, cursor)
        if cursor.partition is None or not last:
            return None
        facts = self._facts[kept.session.key].read(kept.folder)
        return ResendableSession(kept.session, cursor.partition, facts, last, kept.read)


def last_acknowledged(folder: Path, cursor: Cursor) -> int:
    """The sequence of the last frame before the cursor; 0 if there is none."""
    segment, offset = cursor.acknowledged
    try:
        data = segment_path(folder, segment).read_bytes()[:offset]
    except OSError:  # kept long enough, and removed
        data = b""
    return max((found.record.sequence for found in scan(data)), default=segment - 1) or segment - 1


class _LatestFacts:
    """The facts that were written last into a session's segments; of each segment only what is new is looked through."""

    def __init__(self) -> None:
        self._facts = Session()
        self._segment, self._offset = 0, 0

    def read(self, folder: Path) -> Session:
        for path in segments(folder):
            if (segment := first_of(path)) < self._segment:
                continue
            start = self._offset if segment == self._segment else 0
            try:
                data = path.read_bytes()[start:]
            except OSError:
                continue
            self._segment, self._offset = segment, start
            for found in scan(data):
                self._offset = start + found.end
                if not found.record.sequence:
                    self._facts = _facts_in(found.record.value) or self._facts
        return self._facts


def _facts_in(value: bytes) -> Session | None:
    try:
        if value.startswith(b"{"):
            return json_format.Parse(value, TelemetryMessage(), ignore_unknown_fields=True).session
        return TelemetryMessage.FromString(value).session
    except (DecodeError, json_format.ParseError):
        return None
