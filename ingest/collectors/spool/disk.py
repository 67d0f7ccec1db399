"""A session's records on disk: what the game gave outlives the collector, the broker and, but for the last 100 ms, the PC.

A game cannot wait. Where the disk takes nothing (it is full, or the spool is as large as it may be) records are held in
memory, which the producer empties first; where that is full too the newest frame takes the place of the one before, so that
the first frame after the loss, or the last of all, tells the store what is missing before it. What is on disk and not
acknowledged is never given up: while it cannot be read, what comes after it waits.

A record may be sent before it is synced, so that after a power cut Kafka may have more than the disk. That is why a session is
never continued by another process: its sequences would mean other frames.

One thread uses a spool; a second one, its own, syncs what was written, so that the game is not kept waiting by a disk.
"""

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import structlog

from ingest.collectors.delivery.in_flight import OutgoingRecord
from ingest.collectors.spool.atomic_files import sync_folder
from ingest.collectors.spool.cursor import Cursor, SpoolPosition, session_path, write_session
from ingest.collectors.spool.memory import SpooledSession
from ingest.collectors.spool.reader import SegmentReader
from ingest.collectors.spool.segments import first_of, segments
from ingest.collectors.spool.writer import SEGMENT_BYTES, SegmentWriter

log = structlog.get_logger()

#: Writes wait so long for each other before they are synced: long enough for two lots of frames that are 50 ms apart. With the
#: 33 ms that the oldest of them were gathered before, and the sync itself, it stays below 100 ms.
GROUP_S = 0.055
#: A cursor that is so old costs as many frames that are sent twice, and dropped.
CURSOR_EVERY_S = 1.0
#: Where the disk takes nothing: a minute and a half at 60 Hz, in some 2 MB.
HELD_RECORDS = 5_000
RETRY_S = 1.0


class DiskSpool:
    """In ``folder``, which ``lock`` keeps for this process; ``writer`` is None for a session of an earlier one.

    ``make_room`` removes so many bytes that other sessions do not need any more.
    """

    def __init__(
        self,
        folder: Path,
        lock: BinaryIO,
        session: SpooledSession,
        *,
        writer: SegmentWriter | None = None,
        make_room: Callable[[int], object] = lambda _: None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.session = session
        self.waiting = self.dropped = 0
        self._folder, self._lock, self._writer = folder, lock, writer
        self._make_room, self._wall_clock = make_room, wall_clock
        self._saved = Cursor.read(folder)
        self.partition = self._chosen = self._saved.partition
        self._acknowledged = self._saved.acknowledged
        self._reader = SegmentReader(folder, self._acknowledged, grows=writer is not None)
        self._taken: deque[tuple[OutgoingRecord, SpoolPosition | None]] = deque()
        self._held: deque[OutgoingRecord] = deque()
        self._now, self._full_until = 0.0, float("-inf")
        self._save_at, self._refusal = 0.0, ""
        self._at_end = self._established = self._failing = self._unreadable = False
        self._changed, self._closing = threading.Event(), threading.Event()
        self._syncing = threading.Thread(target=self._keep_synced, name="spool-sync", daemon=True)
        self._syncing.start()

    @property
    def has_room(self) -> bool:
        """A game is never asked to wait."""
        return True

    @property
    def drained(self) -> bool:
        """Everything that was appended is acknowledged; of a session that is over this is known once `take` gave None."""
        return not self._taken and not self._held and self._read_out

    @property
    def damaged_bytes(self) -> int:
        """Of records that were found damaged so far, a torn last one included."""
        return self._reader.damaged_bytes + self._reader.cut_bytes

    def append(self, record: OutgoingRecord) -> None:
        if self._writer is None:
            # Kafka may have more of it than the disk has: its next sequences are taken.
            raise ValueError(f"session {self.session.key} is over, and takes no more frames")
        self.waiting += record.sequence > 0
        if self._held or self._now < self._full_until or not self._written(self._writer, record):
            self._hold(record)

    def take(self) -> OutgoingRecord | None:
        try:
            found = None if self._read_out else self._reader.next()
        except OSError as failed:
            self._note_unreadable(failed)
            return None
        if found is not None:
            self._unreadable = False
            self._taken.append(found)
            if self._writer is None:
                self.waiting += found[0].sequence > 0
        elif self._held:
            self._taken.append((self._held.popleft(), None))
        else:
            self._at_end = True
            return None
        return self._taken[-1][0]

    def acknowledge(self) -> None:
        record, position = self._taken.popleft()
        self.waiting -= record.sequence > 0
        if position is not None:
            if position.segment > self._acknowledged.segment:
                self._touch(self._acknowledged.segment, position.segment)
            self._acknowledged = position
            self._wake()

    def choose(self, partition: int) -> None:
        if partition != self._chosen:
            self._chosen = partition
            self._changed.set()

    def tend(self, *, now: float) -> None:
        self._now = now
        if self._held and now >= self._full_until:
            self._write_held()

    def close(self) -> None:
        """What is held in memory is written, beyond the spool's size if need be; what can't be is lost, and said."""
        if self._writer is not None:
            self._writer.unlimited = True
        self._held.extendleft(reversed([record for record, position in self._taken if position is None]))
        self._write_held()
        if lost := [record.sequence for record in self._held if record.sequence]:
            log.error("frames lost, the disk is full", session=self.session.key, first=lost[0], last=lost[-1])
            self.dropped += len(lost)
            self.waiting -= len(lost)
        self._closing.set()
        self._changed.set()
        self._syncing.join()
        if drained := self.drained:
            self._touch(self._acknowledged.segment, None)
        try:
            self._save(Cursor(self._acknowledged, self._chosen, drained))
        except OSError as failed:
            log.error("what was acknowledged last will be sent again", session=self.session.key, reason=failed.strerror)
        self._reader.close()
        if self._writer is not None:
            self._writer.close()
        self._lock.close()

    @property
    def _read_out(self) -> bool:
        """Everything on disk was read. Where a session that is over ends, only reading tells."""
        return self._at_end if self._writer is None else self._reader.at(self._writer.end)

    def _written(self, writer: SegmentWriter, record: OutgoingRecord) -> bool:
        end = writer.end
        try:
            if not writer.begun:
                write_session(self._folder, self.session)
            writer.append(record)
        except OSError as refused:
            self._refusal = refused.strerror or str(refused)
            self._full_until = self._now + RETRY_S
            self._give_way()
            return False
        self._reader.note(record, after=end, end=writer.end)
        self._wake()
        return True

    def _wake(self) -> None:
        """The second thread. For most frames it is awake, and looking costs less than telling it again."""
        if not self._changed.is_set():
            self._changed.set()

    def _give_way(self) -> None:
        """The disk is full: what the broker has must not be in the way of what it has not."""
        with contextlib.suppress(OSError):  # a disk that fails has nothing to give
            done = [path for path in segments(self._folder) if first_of(path) < self._acknowledged.segment]
            for path in done:
                with contextlib.suppress(OSError):  # on Windows while it is still being synced
                    path.unlink()
            if not done:
                self._make_room(SEGMENT_BYTES)

    def _hold(self, record: OutgoingRecord) -> None:
        if not self._held:
            log.warning("no room on disk, frames are held in memory", reason=self._refusal)
        if len(self._held) >= HELD_RECORDS and self._held[-1].sequence:
            if not self.dropped:
                log.error("no room on disk or in memory, frames are lost", session=self.session.key)
            self._held.pop()
            self.dropped += 1
            self.waiting -= 1
        self._held.append(record)

    def _write_held(self) -> None:
        while self._held and self._writer is not None and self._written(self._writer, self._held[0]):
            self._held.popleft()

    def _touch(self, first: int, before: int | None) -> None:
        """From now on the time counts for which acknowledged segments are kept."""
        now = self._wall_clock()
        with contextlib.suppress(OSError):  # a disk that takes nothing any more: it counts from when they were written
            for path in segments(self._folder):
                if first <= first_of(path) and (before is None or first_of(path) < before):
                    os.utime(path, (now, now))

    def _note_unreadable(self, failed: OSError) -> None:
        self._reader.close()  # it is opened again: the file may be another one by then
        if not self._unreadable:
            log.error("the disk cannot be read, frames wait", session=self.session.key, reason=failed.strerror)
        self._unreadable = True

    def _keep_synced(self) -> None:
        """The second thread: what was written, then what was acknowledged."""
        while not self._closing.is_set():
            self._changed.wait(CURSOR_EVERY_S)
            self._closing.wait(GROUP_S)
            self._changed.clear()
            try:
                self._sync()
                self._save_when_due()
                self._failing = False
            except OSError as failed:
                if not self._failing:
                    log.error(
                        "the disk does not keep what is written", reason=failed.strerror, session=self.session.key
                    )
                self._failing = True
                # On a full disk it cannot be written down; frames are better sent than kept for want of that.
                self.partition = self._chosen

    def _sync(self) -> None:
        if self._writer is None:
            return
        if not self._established and self._writer.begun:
            self._establish()
            self._established = True
        self._writer.sync()

    def _establish(self) -> None:
        """The session's facts and the names of its folder outlive a power cut too."""
        with session_path(self._folder).open("rb+") as facts:
            os.fsync(facts.fileno())
        sync_folder(self._folder)
        sync_folder(self._folder.parent)

    def _save_when_due(self) -> None:
        cursor = Cursor(self._acknowledged, self._chosen)
        if cursor == self._saved or (cursor.partition == self._saved.partition and time.monotonic() < self._save_at):
            return
        self._save(cursor)

    def _save(self, cursor: Cursor) -> None:
        cursor.write(self._folder)
        self._save_at = time.monotonic() + CURSOR_EVERY_S
        self._saved, self.partition = cursor, cursor.partition
