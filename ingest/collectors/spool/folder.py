"""Manages all sessions in the spool of this PC: each in a numbered folder that one process holds at
a time.

A collector holds the session that is being driven. A killed collector, or a session that ended
without a broker, leaves records behind. The first process that locks the folder takes it over. The
rule to remember: an acknowledged segment goes once it has been kept long enough, or when room is
needed. An unacknowledged segment never goes.
"""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

import structlog

from ingest.collectors.delivery.records import OutgoingRecord
from ingest.collectors.spool.atomic_files import lock
from ingest.collectors.spool.cursor import Cursor, read_session
from ingest.collectors.spool.disk import DiskSpool
from ingest.collectors.spool.memory import SpooledSession
from ingest.collectors.spool.reader import QUARANTINE
from ingest.collectors.spool.segments import SUFFIX, Range, first_of, read_ranges, segments
from ingest.collectors.spool.writer import SEGMENT_BYTES, SegmentWriter
from ingest.errors import SettingsError, SpoolUnavailable
from ingest.settings import CollectorSettings

log = structlog.get_logger()

_MB = 1_000_000
_LOCK = "lock"
#: The files that a session leaves when its segments have gone.
_LEFTOVERS = {_LOCK, "session.json", "cursor.json", "cursor.draft"}


@dataclass(frozen=True, slots=True)
class KeptSession:
    """A session with frames on disk, held or not; ``partition`` is the one that it was sent to, if
    it was sent.
    """

    session: SpooledSession
    partition: int | None
    folder: Path

    def read(self, ranges: Sequence[Range]) -> Iterator[OutgoingRecord]:
        """Yield the frames on disk in ``ranges``; the ranges must ascend and not overlap."""
        return read_ranges(self.folder, ranges)


class SpoolFolder:
    """Spool of at most ``max_bytes`` in ``path``; keeps acknowledged segments for ``keep_s`` where
    there is room.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int,
        keep_s: float,
        segment_bytes: int = SEGMENT_BYTES,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = path
        self._max_bytes, self._keep_s, self._segment_bytes = max_bytes, keep_s, segment_bytes
        self._wall_clock = wall_clock

    @classmethod
    def of(cls, settings: CollectorSettings, environ: Mapping[str, str]) -> Self:
        """Open the spool folder that the settings name. Raises SettingsError for the home of an
        unknown user.
        """
        try:
            path = (
                Path(settings.spool_dir).expanduser()
                if settings.spool_dir
                else default_path(environ)
            )
        except RuntimeError:
            raise SettingsError(
                "SPOOL_DIR", settings.spool_dir, "want a folder, and nobody's home is called so"
            ) from None
        return cls(path, max_bytes=settings.spool_max_mb * _MB, keep_s=settings.spool_keep_s)

    def begin(self, session: SpooledSession) -> DiskSpool:
        """Create a spool for a session that begins. Raises SpoolUnavailable."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder, held = self._new_folder()
        except OSError as refused:
            raise SpoolUnavailable(str(self.path), refused.strerror or str(refused)) from None
        writer = SegmentWriter(folder, room=self._has_room, segment_bytes=self._segment_bytes)
        clock = self._wall_clock
        return DiskSpool(
            folder, held, session, writer=writer, make_room=self._make_room, wall_clock=clock
        )

    def left(self) -> Iterator[DiskSpool]:
        """Yield the unheld sessions that are not fully acknowledged, oldest first.

        The caller must close each before it takes the next.
        """
        for folder in self._folders():
            if Cursor.read(folder).drained or not _has_segments(folder):
                continue
            if (held := _locked(folder)) is None:
                continue
            if (session := read_session(folder)) is None:
                held.close()
                self._put_aside(folder)
            else:
                yield DiskSpool(folder, held, session, wall_clock=self._wall_clock)

    def kept(self) -> Iterator[KeptSession]:
        """Yield every session that has frames on disk, newest first."""
        for folder in reversed(self._folders()):
            if _has_segments(folder) and (session := read_session(folder)) is not None:
                yield KeptSession(session, Cursor.read(folder).partition, folder)

    def free(self) -> None:
        """Remove the acknowledged segments that have been kept long enough."""
        before = self._wall_clock() - self._keep_s
        for folder in self._folders():
            with contextlib.suppress(OSError):  # another collector was quicker
                for path in _acknowledged(folder):
                    _remove_if(path, lambda path: path.stat().st_mtime <= before)
                if not segments(folder) and folder.stat().st_mtime <= before:
                    _remove_leftovers(folder)

    @property
    def used_bytes(self) -> int:
        """Return the bytes that records take, whole ones and damaged ones."""
        return sum(
            _size(path)
            for pattern in (f"*/*{SUFFIX}", f"{QUARANTINE}/*")
            for path in self.path.glob(pattern)
        )

    def _has_room(self, wanted_bytes: int) -> bool:
        too_much = self.used_bytes + wanted_bytes - self._max_bytes
        return too_much <= 0 or self._make_room(too_much)

    def _make_room(self, wanted_bytes: int) -> bool:
        """Remove so many bytes of acknowledged segments early, oldest first; return whether there
        were so many.
        """
        for folder in filter(_has_segments, self._folders()):
            for path in _acknowledged(folder):
                size = _size(path)
                wanted_bytes -= size if _remove_if(path, lambda _: True) else 0
                if wanted_bytes <= 0:
                    return True
        return False

    def _folders(self) -> list[Path]:
        try:
            return sorted(path for path in self.path.iterdir() if path.name.isdecimal())
        except OSError:
            return []

    def _new_folder(self) -> tuple[Path, BinaryIO]:
        folders = self._folders()
        number = int(folders[-1].name) if folders else 0
        while True:
            number += 1
            folder = self.path / f"{number:08d}"
            # Another collector may be quicker, or may remove the folder as an empty one.
            with contextlib.suppress(FileExistsError, FileNotFoundError):
                folder.mkdir(mode=0o700, parents=True)
                if (held := lock(folder / _LOCK)) is not None:
                    return folder, held

    def _put_aside(self, folder: Path) -> None:
        aside = folder.with_name(f"unknown-{folder.name}")
        log.error("whose records these are cannot be read", folder=str(aside))
        try:
            folder.rename(aside)
        except OSError as refused:
            log.error("they stay where they are", folder=str(folder), reason=refused.strerror)


def default_path(environ: Mapping[str, str]) -> Path:
    """Return the default spool folder, in the place for persistent state of a user's programs."""
    if sys.platform == "win32":
        base = environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    else:
        base = environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "purple-sector" / "spool"


def _has_segments(folder: Path) -> bool:
    """Return whether the folder has segments; False where the disk fails, as other sessions may
    still be readable.
    """
    try:
        return bool(segments(folder))
    except OSError:
        return False


def _acknowledged(folder: Path) -> list[Path]:
    cursor = Cursor.read(folder)
    return [
        p for p in segments(folder) if cursor.drained or first_of(p) < cursor.acknowledged.segment
    ]


def _remove_leftovers(folder: Path) -> None:
    """Remove a session's folder, and leave any other: SPOOL_DIR may name a place with other
    numbered folders.

    Raises OSError.
    """
    if not (folder / _LOCK).is_file() or (held := lock(folder / _LOCK)) is None:
        return
    with held:
        if not (names := {path.name for path in folder.iterdir()}) <= _LEFTOVERS:
            return
        for name in names - {_LOCK}:
            (folder / name).unlink()
        if sys.platform == "win32":  # Windows removes no open file
            held.close()
        (folder / _LOCK).unlink()
        folder.rmdir()


def _locked(folder: Path) -> BinaryIO | None:
    try:
        return lock(folder / _LOCK)
    except OSError:  # removed meanwhile, or the state of the lock is not known
        return None


def _remove_if(path: Path, so: Callable[[Path], bool]) -> bool:
    """Remove a file that meets the condition ``so``; return False for one that is in use on
    Windows, or gone.
    """
    try:
        if not so(path):
            return False
        path.unlink()
    except OSError:
        return False
    return True


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
