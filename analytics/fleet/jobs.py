"""The entry list of a fleet: which sessions are to be timed, and how one of them is.

An entry is small and plain, so that it can be sent anywhere; whoever gets it reads the frames where they are kept. Rules: an entry's
name changes with its frames, and with the engine, so that what has been timed is never timed again and never stale; where the
database is, and its password, is no part of an entry: who times a stored one has its own DATABASE_URL and opens its own connection.
"""

import hashlib
import re
from collections.abc import Iterable
from contextlib import closing
from dataclasses import astuple, dataclass
from pathlib import Path

import pyarrow as pa

from analytics.errors import NoFrames, RecordingError
from analytics.files.recording import open_recording, recordings_at
from analytics.files.source import own_course, session_of
from analytics.fleet.timesheet import LAYOUT, timesheet
from analytics.laps.frame_arrays import COLUMNS
from analytics.model.lap import ENGINE
from analytics.model.lap_filter import EVERYTHING, LapFilter
from analytics.model.track_layout import UNKNOWN
from analytics.store.source import PostgresSource


@dataclass(frozen=True, slots=True)
class TimingJob:
    """A session to be timed: its key, the path of its recording, or none where it is stored, and what changes with its frames."""

    key: str
    path: str
    mark: str

    @property
    def name(self) -> str:
        """Of its timesheet's file: another one for other frames, another engine or another layout."""
        digest = hashlib.blake2s(repr((*astuple(self), LAYOUT)).encode(), digest_size=8).hexdigest()
        plain = re.sub(r"[^A-Za-z0-9_.-]", "_", self.key)[:80]
        return f"{plain}-{digest}-engine{ENGINE}"


@dataclass(frozen=True, slots=True, eq=False)
class TimedSession:
    """What timing a session came to: its timesheet, and how many frames it was made of."""

    timesheet: pa.Table
    frames: int


def recorded(paths: Iterable[Path]) -> list[TimingJob]:
    """Those of recordings, and of all recordings in a folder; none is opened. Raises RecordingError where there is no such file."""
    return [_recorded(file) for path in paths for file in recordings_at(path)]


def stored(store: PostgresSource, wanted: LapFilter = EVERYTHING) -> list[TimingJob]:
    """Those of stored sessions, the oldest first."""
    sessions = store.sessions(wanted)[::-1]
    courses = store.courses(sessions)
    return [
        TimingJob(one.key, "", f"{one.frames} frames until {one.last_frame_at} on {courses.get(one.id, UNKNOWN)}")
        for one in sessions
    ]


def timed(entry: TimingJob) -> TimedSession:
    """Read the frames of a session and time its laps.

    Raises RecordingError, NoFrames, analytics.errors.NoDatabase, psycopg.Error.
    """
    return _timed_recording(Path(entry.path)) if entry.path else _timed_from_store(entry.key)


def _timed_recording(path: Path) -> TimedSession:
    recording = open_recording(path)
    session, frames = session_of(recording), recording.frames()
    return TimedSession(timesheet(session, frames, own_course(session, frames)), frames.num_rows)


def _timed_from_store(key: str) -> TimedSession:
    with closing(PostgresSource(None)) as store:
        session = next(iter(store.sessions(LapFilter(keys=(key,)))), None)
        frames = store.frames(session, COLUMNS) if session else None
        if not session or not frames:
            raise NoFrames(key)
        course = store.courses([session]).get(session.id, UNKNOWN)
        return TimedSession(timesheet(session, frames, course), frames.num_rows)


def _recorded(path: Path) -> TimingJob:
    try:
        seen = path.stat()
    except OSError as error:
        raise RecordingError(path, f"cannot be read ({error.strerror}); give the path of a recording") from error
    return TimingJob(path.stem, str(path.resolve()), f"{seen.st_size} bytes at {seen.st_mtime_ns}")
