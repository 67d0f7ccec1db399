"""Lists the sent sessions that lie in this PC's spool: frames whose resend ingest may request.

The inventory reads the spool's files without its lock. So it finds a session that is being driven
as well as one of an earlier day. The rule to remember: a holding covers acknowledged frames only;
the rest goes out automatically.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf import json_format
from google.protobuf.message import DecodeError

from ingest.collectors.delivery import records
from ingest.collectors.delivery.records import OutgoingRecord
from ingest.collectors.spool.cursor import Cursor
from ingest.collectors.spool.folder import KeptSession, SpoolFolder
from ingest.collectors.spool.memory import SpooledSession
from ingest.collectors.spool.record import scan
from ingest.collectors.spool.segments import Range, first_of, segment_path, segments
from ingest.telemetry_pb2 import Session, TelemetryMessage


@dataclass(frozen=True, slots=True)
class ResendableSession:
    """A session on disk whose frames up to ``last_sequence`` are acknowledged."""

    session: SpooledSession
    partition: int
    facts: Session
    last_sequence: int
    read: Callable[[Sequence[Range]], Iterator[OutgoingRecord]] = field(repr=False)

    def statement(self) -> OutgoingRecord:
        """Build the record with the session's facts and its last sent sequence, so that a receiver
        notices gaps.
        """
        report = Session()
        report.CopyFrom(self.facts)
        report.id, report.user_id, report.last_sequence = (
            self.session.key,
            self.session.user_id,
            self.last_sequence,
        )
        return OutgoingRecord(
            0, max(0, report.started_at), records.facts_value(report, self.session.encoding)
        )


class EmptyInventory:
    """Inventory of a collector without a spool: it has no frames to resend."""

    def all(self) -> list[ResendableSession]:
        """Return no sessions."""
        return []

    def of(self, session: str) -> ResendableSession | None:
        """Return None."""
        return None

    def ended(self) -> set[str]:
        """Return no keys."""
        return set()


class SessionInventory:
    """Inventory of the spool in ``folder``, for ``user_id``. One thread uses it; it caches the
    facts it has read.
    """

    def __init__(self, folder: SpoolFolder, user_id: str) -> None:
        self._folder, self._user_id = folder, user_id
        self._facts: dict[str, _LatestFacts] = {}

    def all(self) -> list[ResendableSession]:
        """Return the sessions that can be resent, because they were sent before, newest first."""
        kept = self._kept()
        self._facts = {
            k.session.key: self._facts.get(k.session.key) or _LatestFacts() for k in kept
        }
        return [holding for k in kept if (holding := self._holding(k)) is not None]

    def of(self, session: str) -> ResendableSession | None:
        """Return the holding of this session; None where its frames are not here."""
        return next((holding for holding in self.all() if holding.session.key == session), None)

    def ended(self) -> set[str]:
        """Return the keys of the sessions that are over and fully acknowledged. Called often, and
        cheap.
        """
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
    """Return the sequence of the last frame before the cursor; 0 if there is none."""
    segment, offset = cursor.acknowledged
    try:
        data = segment_path(folder, segment).read_bytes()[:offset]
    except OSError:  # kept long enough, and removed
        data = b""
    return max((found.record.sequence for found in scan(data)), default=segment - 1) or segment - 1


class _LatestFacts:
    """Finds the facts that were written last into a session's segments; scans only the new bytes of
    each segment.
    """

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
