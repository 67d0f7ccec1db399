"""Lists the sessions that a fleet times, and times one of them.

A job is small and plain, so that it can be sent anywhere. Its receiver reads the frames where they
are kept. Rules: a job's name changes with its frames and with the engine. A timed session is
therefore never timed again and never stale. The address of the database, and its password, are no
part of a job. A process that times a stored session has its own DATABASE_URL and opens its own
connection.
"""

import hashlib
import re
from collections.abc import Iterable
from contextlib import closing
from dataclasses import astuple, dataclass
from pathlib import Path

import pyarrow as pa

from analytics.catalog import Source
from analytics.errors import NoFrames, RecordingError
from analytics.files.recording import open_recording, recordings_at
from analytics.files.source import FileSource, own_layout, session_of
from analytics.fleet.timesheet import LAYOUT, timesheet
from analytics.laps.frame_arrays import COLUMNS
from analytics.model.lap import ENGINE
from analytics.model.lap_filter import EVERYTHING, LapFilter
from analytics.model.track_layout import UNKNOWN
from analytics.store.source import PostgresSource


@dataclass(frozen=True, slots=True)
class TimingJob:
    """A session to be timed: its key, the path of its recording, and a mark that changes with its
    frames.

    The path is empty for a stored session.
    """

    key: str
    path: str
    mark: str

    @property
    def name(self) -> str:
        """Return the name of the timesheet's file. It changes with the frames, the engine or the
        layout.
        """
        digest = hashlib.blake2s(repr((*astuple(self), LAYOUT)).encode(), digest_size=8).hexdigest()
        plain = re.sub(r"[^A-Za-z0-9_.-]", "_", self.key)[:80]
        return f"{plain}-{digest}-engine{ENGINE}"


@dataclass(frozen=True, slots=True, eq=False)
class TimedSession:
    """The result of timing a session: its timesheet, and the number of its frames."""

    timesheet: pa.Table
    frames: int


def recorded(paths: Iterable[Path]) -> list[TimingJob]:
    """Return the jobs of recordings, and of all recordings in a folder, without opening any.

    Raises RecordingError where there is no such file.
    """
    return [_recorded(file) for path in paths for file in recordings_at(path)]


def stored(store: PostgresSource, wanted: LapFilter = EVERYTHING) -> list[TimingJob]:
    """Return the jobs of stored sessions, the oldest first."""
    sessions = store.sessions(wanted)[::-1]
    layouts = store.layouts(sessions)
    return [
        TimingJob(
            one.key,
            "",
            f"{one.frames} frames until {one.last_frame_at} on {layouts.get(one.id, UNKNOWN)}",
        )
        for one in sessions
    ]


def listed(source: Source) -> list[TimingJob]:
    """Return the jobs of all sessions of a catalog's source, recorded or stored."""
    if isinstance(source, FileSource):
        return recorded(source.paths)
    assert isinstance(source, PostgresSource)
    return stored(source)


def timed(entry: TimingJob) -> TimedSession:
    """Read the frames of a session and time its laps.

    Raises RecordingError, NoFrames, analytics.errors.NoDatabase, psycopg.Error.
    """
    return _timed_recording(Path(entry.path)) if entry.path else _timed_from_store(entry.key)


def _timed_recording(path: Path) -> TimedSession:
    recording = open_recording(path)
    session, frames = session_of(recording), recording.frames()
    return TimedSession(timesheet(session, frames, own_layout(session, frames)), frames.num_rows)


def _timed_from_store(key: str) -> TimedSession:
    with closing(PostgresSource(None)) as store:
        session = next(iter(store.sessions(LapFilter(keys=(key,)))), None)
        frames = store.frames(session, COLUMNS) if session else None
        if not session or not frames:
            raise NoFrames(key)
        layout = store.layouts([session]).get(session.id, UNKNOWN)
        return TimedSession(timesheet(session, frames, layout), frames.num_rows)


def _recorded(path: Path) -> TimingJob:
    try:
        seen = path.stat()
    except OSError as error:
        raise RecordingError(
            path, f"cannot be read ({error.strerror}); give the path of a recording"
        ) from error
    return TimingJob(path.stem, str(path.resolve()), f"{seen.st_size} bytes at {seen.st_mtime_ns}")
