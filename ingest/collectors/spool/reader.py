"""Reads a session's segments from one position on, record by record, and skips damage.

The reader puts damage between whole records aside in a quarantine folder for a person to inspect.
The frames in it are missing, and the sequences around them show the gap to the store. Where nothing
whole follows, the last write was torn, and the reader cuts the file. It counts all damaged bytes.
"""

import contextlib
import os
from collections import deque
from io import FileIO
from itertools import pairwise
from pathlib import Path

import structlog

from ingest.collectors.delivery.records import OutgoingRecord
from ingest.collectors.spool.cursor import SpoolPosition
from ingest.collectors.spool.record import LARGEST_BYTES, Found, scan
from ingest.collectors.spool.segments import first_of, segment_path, segments

log = structlog.get_logger()

QUARANTINE = "quarantine"
_CHUNK_BYTES = 2 * LARGEST_BYTES
_MOST_QUARANTINED = 100  # files
_MOST_NOTED = 1_000  # records
_NOTHING = OutgoingRecord(0, 0, b"")


class SegmentReader:
    """Reads from ``position`` on; ``grows``: a writer appends to the last segment, so that it has
    no torn end.
    """

    def __init__(self, folder: Path, position: SpoolPosition, *, grows: bool) -> None:
        self.damaged_bytes = self.cut_bytes = 0
        self._folder, self._grows = folder, grows
        self._position = position
        self._ahead: deque[tuple[OutgoingRecord, SpoolPosition]] = deque()
        self._file: FileIO | None = None

    def at(self, end: SpoolPosition) -> bool:
        """Return whether everything before ``end`` has been read."""
        return not self._ahead and self._position >= end

    def note(self, record: OutgoingRecord, *, after: SpoolPosition, end: SpoolPosition) -> None:
        """Note a record that was just written.

        A reader that has read all before it, and does not lag behind, need not read it from the
        disk.
        """
        if self._position == after and len(self._ahead) < _MOST_NOTED:
            self._ahead.append((record, end))
            if end.segment != self._position.segment:
                self.close()  # the next read is of another file
            self._position = end

    def next(self) -> tuple[OutgoingRecord, SpoolPosition] | None:
        """Return the next record and the position after it; None at the present end."""
        while not self._ahead:
            if not self._read() and not self._turn_over():
                return None
        return self._ahead.popleft()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _read(self) -> bool:
        """Continue reading this segment; return False where no whole record is left in it."""
        data, found = self._scan_chunk()
        segment, base = self._position
        for before, each in pairwise([Found(0, 0, _NOTHING), *found]):
            if before.end < each.start:
                damaged = data[before.end : each.start]
                self._put_aside(damaged, base + before.end, next_sequence=each.record.sequence)
        self._ahead.extend((each.record, SpoolPosition(segment, base + each.end)) for each in found)
        if found:
            self._position = SpoolPosition(segment, base + found[-1].end)
        return bool(found)

    def _turn_over(self) -> bool:
        """Go to the next segment; return False where there is none."""
        rest = self._chunk(-1)
        following = next(
            (f for f in map(first_of, segments(self._folder)) if f > self._position.segment), None
        )
        if following is None and not self._grows:
            self._cut(len(rest))
            return False
        if rest:
            self._put_aside(rest, self._position.offset, next_sequence=following or 0)
        if following is None:
            self._position = self._position._replace(offset=self._position.offset + len(rest))
            return False
        self.close()
        self._position = SpoolPosition(following, 0)
        return True

    def _scan_chunk(self) -> tuple[bytes, list[Found]]:
        data = self._chunk(_CHUNK_BYTES)
        found = list(scan(data))
        # Damage can be so large that the next record lies beyond the chunk.
        if not found and len(data) == _CHUNK_BYTES:
            data = self._chunk(-1)
            found = list(scan(data))
        return data, found

    def _chunk(self, size: int) -> bytes:
        """Read at most ``size`` bytes from the position on; -1: all there are."""
        try:
            self._file = self._file or FileIO(segment_path(self._folder, self._position.segment))
        except FileNotFoundError:  # freed, or not begun
            return b""
        self._file.seek(self._position.offset)
        return self._file.read(size) or b""

    def _cut(self, torn_bytes: int) -> None:
        if not torn_bytes:
            return
        self.close()
        path = segment_path(self._folder, self._position.segment)
        os.truncate(path, self._position.offset)
        self.cut_bytes += torn_bytes
        log.warning("the last write was torn, and is cut", file=str(path), bytes=torn_bytes)

    def _put_aside(self, damaged: bytes, offset: int, *, next_sequence: int) -> None:
        self.damaged_bytes += len(damaged)
        aside = self._folder.parent / QUARANTINE
        kept = aside / f"{self._folder.name}-{self._position.segment}-{offset}"
        size = len(damaged)
        log.error(
            "damaged records are missing", bytes=size, before=next_sequence, quarantine=str(kept)
        )
        with contextlib.suppress(OSError):  # a full disk must not keep the whole records back
            aside.mkdir(exist_ok=True)
            if len(list(aside.iterdir())) < _MOST_QUARANTINED:
                kept.write_bytes(damaged)
