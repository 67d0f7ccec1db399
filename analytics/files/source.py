"""Reads recorded files as a source of sessions and laps, for `analytics.open`, without a server.

A file is a session whose key is the file's name, without its suffix where the rest is unique. A
folder is all recordings in it. The laps are timed when they are first requested, by the same engine
as those of the store.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from analytics.errors import RecordingError, UnknownLap
from analytics.files.recording import SUFFIXES, Recording, open_recording, recordings_at
from analytics.laps.engine import advance, timed
from analytics.laps.track_learning import LapEvidence, learn
from analytics.model.arrays import Integers
from analytics.model.channels import schema_of
from analytics.model.lap import Lap
from analytics.model.lap_filter import LapFilter, SessionLap
from analytics.model.session import SessionInfo
from analytics.model.track_layout import UNKNOWN, TrackLayout


class FileSource:
    """Sessions, laps and frames of a recording, or of all recordings in a folder. Raises
    RecordingError.
    """

    def __init__(self, path: Path) -> None:
        paths = recordings_at(path)
        if not paths:
            suffixes = ", ".join(sorted(SUFFIXES))
            raise RecordingError(path, f"holds no recording; put {suffixes} files there")
        self.paths = paths
        stems = Counter(path.stem for path in paths)
        self._recorded = [
            _Recorded(
                open_recording(path), number, path.stem if stems[path.stem] == 1 else path.name
            )
            for number, path in enumerate(paths, 1)
        ]

    def close(self) -> None:
        """Do nothing: no file is kept open."""

    def sessions(self, wanted: LapFilter) -> list[SessionInfo]:
        """Return the wanted sessions; those driven last come first."""
        found = [one.session for one in self._those(wanted) if wanted.overlaps(one.session)]
        return sorted(found, key=lambda session: str(session.started_at), reverse=True)[
            : wanted.limit
        ]

    def laps(self, wanted: LapFilter) -> list[SessionLap]:
        """Return the wanted laps, in the order of the filter."""
        every = ((one.session, lap) for one in self._those(wanted) for lap in one.laps)
        return wanted.in_order((session, lap) for session, lap in every if wanted.has_lap(lap))

    def lap_frames(self, session: SessionInfo, lap_number: int, columns: Sequence[str]) -> pa.Table:
        """Return the frames of a lap in order of time. Raises UnknownLap."""
        recorded = self._recorded[session.id - 1]
        return recorded.frames.slice(*recorded.rows(lap_number)).select(list(columns))

    def frames(self, session: SessionInfo, columns: Sequence[str]) -> pa.Table:
        """Return all frames of a session in order of time."""
        return self._recorded[session.id - 1].frames.select(list(columns))

    def feed(self, session: SessionInfo, columns: Sequence[str]) -> "FileFrameFeed":
        """Return a feed that gives all recorded frames at the first poll."""
        return FileFrameFeed(self.frames(session, columns), schema_of(columns).empty_table())

    def _those(self, wanted: LapFilter) -> list["_Recorded"]:
        return [one for one in self._recorded if wanted.has_session(one.session)]


class FileFrameFeed:
    """Frames of a recording as a feed; no frames come later."""

    def __init__(self, *polls: pa.Table) -> None:
        self._polls = list(polls)

    def poll(self) -> pa.Table:
        """Return all frames, then none."""
        return self._polls.pop(0) if len(self._polls) > 1 else self._polls[0]


class _Recorded:
    """A recording with its laps, which are timed when they are first requested."""

    def __init__(self, recording: Recording, number: int, key: str) -> None:
        self.session = replace(session_of(recording, number), key=key)
        self.frames = recording.frames(session_id=number)

    @cached_property
    def laps(self) -> list[Lap]:
        return timed(self.frames, own_layout(self.session, self.frames))

    def rows(self, lap_number: int) -> tuple[int, int]:
        """Return the first row of a lap's frames and their number. Raises UnknownLap.

        The frames are those that `analytics.store.queries.lap_frames` returns.
        """
        lap = next((lap for lap in self.laps if lap.lap_number == lap_number), None)
        if lap is None:
            raise UnknownLap(self.session.key, lap_number)
        first = self._row_at(lap.started_at_us)
        return first, self._row_at(lap.ended_at_us) - first

    @cached_property
    def _time_us(self) -> Integers:
        time_us: Integers = self.frames.column("time").cast(pa.int64()).to_numpy()
        return time_us

    def _row_at(self, time_us: int) -> int:
        return int(np.searchsorted(self._time_us, time_us))


def own_layout(session: SessionInfo, frames: pa.Table) -> TrackLayout:
    """Return the track layout with the line that a recording's own laps show: no store has learnt
    it.

    The layout is empty where the line is at the origin.
    """
    laps, _ = advance(frames, None)
    evidences = [LapEvidence(lap.line_position, length_m=session.track_length_m) for lap in laps]
    track = learn(session.game, session.track, evidences)
    return (
        TrackLayout(line=track.line, length_m=track.length_m) if track and track.line else UNKNOWN
    )


def session_of(recording: Recording, number: int = 0) -> SessionInfo:
    """Return the known facts of a recording, as of a stored session."""
    started_at_s = recording.started_at_ms / 1000
    return SessionInfo(
        id=number,
        key=recording.path.stem,
        user_id="",
        game=recording.game,
        track=recording.track,
        car=recording.car,
        driver=recording.driver,
        track_length_m=recording.track_length_m,
        sector_count=None,
        sample_rate_hz=recording.sample_rate_hz,
        started_at=datetime.fromtimestamp(started_at_s, UTC),
        last_frame_at=datetime.fromtimestamp(started_at_s + recording.duration_s, UTC),
        frames=len(recording),
    )
