"""Spools a session's records on disk: they outlive the collector, a broker outage and a power cut.

A power cut of the PC loses at most the last 100 ms.

A game cannot wait. The disk takes nothing when it is full, or when the spool has its full size. The
spool then holds records in memory, which the producer empties first. Where that is full too, the
newest frame replaces the one before. The first frame after the loss, or the last of all, thus shows
the store the gap before it. The spool never drops unacknowledged records on disk: while they cannot
be read, later records wait.

The producer may send a record before its sync, so after a power cut Kafka may have more than the
disk. That is why no other process continues a session: its sequences would mean other frames.

One thread uses a spool. A second one, the spool's own, syncs the written records, so that the game
never waits for a disk.
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

from ingest.collectors.delivery.records import OutgoingRecord
from ingest.collectors.spool.atomic_files import sync_folder
from ingest.collectors.spool.cursor import Cursor, SpoolPosition, session_path, write_session
from ingest.collectors.spool.memory import SpooledSession, rewind
from ingest.collectors.spool.reader import SegmentReader
from ingest.collectors.spool.segments import first_of, segments
from ingest.collectors.spool.writer import SEGMENT_BYTES, SegmentWriter

log = structlog.get_logger()

#: Writes wait so long for each other before a sync: long enough for two batches of frames 50 ms
#: apart. The oldest frames were gathered for 33 ms before. With that and the sync itself, the total
#: stays below 100 ms.
GROUP_S = 0.055
#: The age of the cursor bounds the resend: frames of so many seconds are sent twice, and the store
#: drops them.
CURSOR_EVERY_S = 1.0
#: The most records held in memory while the disk takes nothing: 250 s at 60 Hz, in some 6 MB.
HELD_RECORDS = 15_000
RETRY_S = 1.0


class DiskSpool:
    """Spool in ``folder``, which ``lock`` keeps for this process; ``writer`` is None for a session
    of an earlier one.

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
        self._untaken: deque[tuple[OutgoingRecord, SpoolPosition | None]] = deque()
        self._held: deque[OutgoingRecord] = deque()
        self._now, self._full_until = 0.0, float("-inf")
        self._save_at, self._refusal = 0.0, ""
        self._at_end = self._established = self._failing = self._unreadable = False
        self._changed, self._closing = threading.Event(), threading.Event()
        self._syncing = threading.Thread(target=self._keep_synced, name="spool-sync", daemon=True)
        self._syncing.start()

    @property
    def has_room(self) -> bool:
        """Return True: a game never waits."""
        return True

    @property
    def in_flight(self) -> int:
        """Return the number of records taken and not acknowledged."""
        return len(self._taken)

    @property
    def drained(self) -> bool:
        """Return whether everything appended is acknowledged.

        For a session that is over, this is known once `take` has returned None.
        """
        return not (self._taken or self._untaken or self._held) and self._read_out

    @property
    def damaged_bytes(self) -> int:
        """Return the bytes of the records found damaged so far, including a torn last one."""
        return self._reader.damaged_bytes + self._reader.cut_bytes

    def append(self, record: OutgoingRecord) -> None:
        """Add a record at the end."""
        if self._writer is None:
            # Kafka may have more of the session than the disk: its next sequences are taken.
            raise ValueError(f"session {self.session.key} is over, and takes no more frames")
        self.waiting += record.sequence > 0
        if self._held or self._now < self._full_until or not self._written(self._writer, record):
            self._hold(record)

    def take(self) -> OutgoingRecord | None:
        """Return the next record that was not taken; None if there is none."""
        if not self._untaken and not self._read_one():
            return None
        self._taken.append(self._untaken.popleft())
        return self._taken[-1][0]

    def _read_one(self) -> bool:
        """Read the next record; return False where there is none at the moment."""
        try:
            found = None if self._read_out else self._reader.next()
        except OSError as failed:
            self._note_unreadable(failed)
            return False
        if found is not None:
            self._unreadable = False
            self._untaken.append(found)
            if self._writer is None:
                self.waiting += found[0].sequence > 0
        elif self._held:
            self._untaken.append((self._held.popleft(), None))
        else:
            self._at_end = True
            return False
        return True

    def rewind(self, records: int | None = None) -> int:
        """Put the newest taken records back, all by default; return their number."""
        return rewind(self._taken, self._untaken, records)

    def acknowledge(self) -> OutgoingRecord:
        """Remove and return the oldest taken record."""
        record, position = self._taken.popleft()
        self.waiting -= record.sequence > 0
        if position is not None:
            if position.segment > self._acknowledged.segment:
                self._touch(self._acknowledged.segment, position.segment)
            self._acknowledged = position
            self._wake()
        return record

    def choose(self, partition: int) -> None:
        """Write the partition of the session down."""
        if partition != self._chosen:
            self._chosen = partition
            self._changed.set()

    def tend(self, *, now: float) -> None:
        """Do what is due: try a full disk again, and remove old segments."""
        self._now = now
        if self._held and now >= self._full_until:
            self._write_held()

    def close(self) -> None:
        """Write the records held in memory, beyond the spool's size if need be; log those that are
        lost.
        """
        if self._writer is not None:
            self._writer.unlimited = True
        self.rewind()
        self._held.extendleft(
            reversed([record for record, position in self._untaken if position is None])
        )
        self._write_held()
        if lost := [record.sequence for record in self._held if record.sequence]:
            log.error(
                "frames lost, the disk is full",
                session=self.session.key,
                first=lost[0],
                last=lost[-1],
            )
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
            log.error(
                "what was acknowledged last will be sent again",
                session=self.session.key,
                reason=failed.strerror,
            )
        self._reader.close()
        if self._writer is not None:
            self._writer.close()
        self._lock.close()

    @property
    def _read_out(self) -> bool:
        """Return whether everything on disk was read. Only reading shows the end of a session that
        is over.
        """
        return self._at_end if self._writer is None else self._reader.at(self._writer.end)

    def _written(self, writer: SegmentWriter, record: OutgoingRecord) -> bool:
        end = writer.end
        try:
            if not writer.begun:
                write_session(self._folder, self.session)
            writer.append(record)
        except OSError as refused:
            self._pause_writes(refused)
            return False
        self._reader.note(record, after=end, end=writer.end)
        self._wake()
        return True

    def _pause_writes(self, refused: OSError) -> None:
        self._refusal = refused.strerror or str(refused)
        self._full_until = self._now + RETRY_S
        self._give_way()

    def _wake(self) -> None:
        """Wake the second thread. It is awake for most frames, and the check costs less than
        another signal.
        """
        if not self._changed.is_set():
            self._changed.set()

    def _give_way(self) -> None:
        """Remove acknowledged segments from a full disk, so that others have room."""
        with contextlib.suppress(OSError):  # a disk that fails has no room to free
            done = [
                path
                for path in segments(self._folder)
                if first_of(path) < self._acknowledged.segment
            ]
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
        while (
            self._held and self._writer is not None and self._written(self._writer, self._held[0])
        ):
            self._held.popleft()

    def _touch(self, first: int, before: int | None) -> None:
        """Start the time for which acknowledged segments are kept."""
        now = self._wall_clock()
        # A disk that takes nothing: the time counts from their last write.
        with contextlib.suppress(OSError):
            for path in segments(self._folder):
                if first <= first_of(path) and (before is None or first_of(path) < before):
                    os.utime(path, (now, now))

    def _note_unreadable(self, failed: OSError) -> None:
        self._reader.close()  # the next read opens the file again: it may be another one by then
        if not self._unreadable:
            log.error(
                "the disk cannot be read, frames wait",
                session=self.session.key,
                reason=failed.strerror,
            )
        self._unreadable = True

    def _keep_synced(self) -> None:
        """Sync the written records and then save the cursor, in the second thread."""
        while not self._closing.is_set():
            self._changed.wait(CURSOR_EVERY_S)
            self._closing.wait(GROUP_S)
            self._changed.clear()
            try:
                self._sync()
                self._save_when_due()
                self._failing = False
            except OSError as failed:
                self._note_unsynced(failed)

    def _note_unsynced(self, failed: OSError) -> None:
        if not self._failing:
            log.error(
                "the disk does not keep what is written",
                reason=failed.strerror,
                session=self.session.key,
            )
        self._failing = True
        # A full disk cannot take the partition. Frames are better sent all the same than kept back
        # for that.
        self.partition = self._chosen

    def _sync(self) -> None:
        if self._writer is None:
            return
        if not self._established and self._writer.begun:
            self._establish()
            self._established = True
        self._writer.sync()

    def _establish(self) -> None:
        """Sync the session's facts and the names of its folder, so that they outlive a power cut
        too.
        """
        with session_path(self._folder).open("rb+") as facts:
            os.fsync(facts.fileno())
        sync_folder(self._folder)
        sync_folder(self._folder.parent)

    def _save_when_due(self) -> None:
        cursor = Cursor(self._acknowledged, self._chosen)
        if cursor == self._saved or (
            cursor.partition == self._saved.partition and time.monotonic() < self._save_at
        ):
            return
        self._save(cursor)

    def _save(self, cursor: Cursor) -> None:
        cursor.write(self._folder)
        self._save_at = time.monotonic() + CURSOR_EVERY_S
        self._saved, self.partition = cursor, cursor.partition
