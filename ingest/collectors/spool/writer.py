"""Appends records to the newest segment of a session, and syncs them to disk.

`append` passes a record to the operating system, so that it outlives the process. `sync`, which
another thread may call, makes it outlive a power cut. The rule to remember: the writer truncates a
partial write, so that the file ends with a whole record.
"""

import errno
import os
from collections import deque
from collections.abc import Callable
from io import FileIO
from pathlib import Path

import structlog

from ingest.collectors.delivery.records import OutgoingRecord
from ingest.collectors.spool.atomic_files import sync_folder
from ingest.collectors.spool.cursor import START, SpoolPosition
from ingest.collectors.spool.record import encode
from ingest.collectors.spool.segments import segment_path

log = structlog.get_logger()

#: Some two minutes of frames; the spool frees room in steps of this size.
SEGMENT_BYTES = 1 << 20


class SegmentWriter:
    """Writes the segments in ``folder``; ``room`` returns whether a segment of so many bytes may
    begin.
    """

    def __init__(
        self, folder: Path, *, room: Callable[[int], bool], segment_bytes: int = SEGMENT_BYTES
    ) -> None:
        self.end = START
        self.unlimited = False
        self._folder, self._room, self._segment_bytes = folder, room, segment_bytes
        self._file: FileIO | None = None
        self._last = 0
        self._full: deque[FileIO] = deque()
        self._unsynced = False
        self._new_names = False

    @property
    def begun(self) -> bool:
        """Return whether there is a segment."""
        return self._file is not None

    def append(self, record: OutgoingRecord) -> None:
        """Write the record. Raises OSError where there is no room for it, and then leaves no part
        of it.
        """
        data = encode(record)
        # A segment without frames stays the current one: the next would have the same name.
        is_full = (
            self.end.offset + len(data) > self._segment_bytes and self._last >= self.end.segment
        )
        if self._file is None or is_full:
            self._file = self._begin()
        self._write(self._file, data)
        self.end = self.end._replace(offset=self.end.offset + len(data))
        self._last = record.sequence or self._last
        self._unsynced = True

    def sync(self) -> None:
        """Sync all records appended before this call, so that they outlive a power cut. Raises
        OSError.
        """
        self._sync_full()
        if not self._unsynced or (current := self._file) is None:
            return
        self._unsynced = False  # before the fsync: records appended meanwhile are for the next call
        try:
            os.fsync(current.fileno())
        except OSError:
            self._unsynced = True
            raise
        if self._new_names:
            self._new_names = False
            sync_folder(self._folder)

    def _sync_full(self) -> None:
        while self._full:
            os.fsync(self._full[0].fileno())
            self._full.popleft().close()

    def close(self) -> None:
        """Sync and close the files."""
        try:
            self.sync()
        except OSError as failed:
            log.error("what was written last may not outlive a power cut", reason=failed.strerror)
        for file in (*self._full, self._file):
            if file is not None:
                file.close()

    def _begin(self) -> FileIO:
        if not self.unlimited and not self._room(self._segment_bytes):
            raise OSError(errno.EDQUOT, "the spool is as large as it may be")
        first = self._last + 1
        file = FileIO(segment_path(self._folder, first), "xb")
        if self._file is not None:
            self._full.append(self._file)
        self.end, self._new_names = SpoolPosition(first, 0), True
        return file

    def _write(self, file: FileIO, data: bytes) -> None:
        written = 0
        try:
            while written < len(data):
                written += file.write(data[written:])
        except OSError:
            file.truncate(self.end.offset)
            file.seek(self.end.offset)
            raise
