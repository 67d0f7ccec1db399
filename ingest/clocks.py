"""Replaces the times of a wrong clock by the broker's, so that no frame is lost for its time.

A session whose times cannot be gets a correction: so many milliseconds are added to its times, from one sequence on. The
first frame is placed when the broker got it; the ones after it keep their spacing. A clock that jumps gets another
correction, and the frame goes on where the one before it stood. Corrections are stored with the frames: whoever resends a
frame, or takes the partition over, finds it at the same time. The rule: a frame whose sequence goes on is never placed before
the one it follows, and what `ingest.instants` allows is left alone.

Pure: the broker's time of each record is an argument.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ingest.decode import DECODED_FRAMES, Decoded, Facts, without
from ingest.instants import (
    AHEAD_MS,
    BACK_MS,
    BEFORE_START_MS,
    DRIFTED_AHEAD_MS,
    EARLIEST_MS,
    LATEST_MS,
    ahead_fault,
    back_fault,
    before_start_fault,
    date_fault,
)
from ingest.telemetry_pb2 import Session

#: A clock that jumps more often than this in one session has no spacing left to keep.
MOST_CORRECTIONS = 100

_USUAL_STEP_MS = 16
_LONGEST_STEP_MS = 1000
_TIME = DECODED_FRAMES.get_field_index("time")

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Correction:
    """From ``from_sequence`` on ``offset_ms`` is added to a session's times; the first one so corrected became ``placed_ms``.

    ``from_sequence`` is 0 where it holds from the session's start, and for frames without a sequence.
    """

    session_id: int
    from_sequence: int
    offset_ms: int
    placed_ms: int
    reason: str


@dataclass(slots=True)
class SessionTimes:
    """What is known of a session's times: the latest of its frames, when the broker got it, and the corrections."""

    latest_ms: int | None = None
    appended_ms: int | None = None
    starts: list[int] = field(default_factory=list)  # sequences, ascending
    offsets: list[int] = field(default_factory=list)  # as many, ms

    def offset_at(self, sequence: int) -> int:
        """What is added to the time of this frame, ms."""
        place = bisect_right(self.starts, sequence)
        return self.offsets[place - 1] if place else 0

    def correct(self, from_sequence: int, offset_ms: int) -> None:
        """From now on this holds from ``from_sequence`` on, which is none before the last one."""
        if self.starts and self.starts[-1] == from_sequence:
            self.offsets[-1] = offset_ms
        else:
            self.starts.append(from_sequence)
            self.offsets.append(offset_ms)


class KnownSession(Protocol):
    """What placing a session's frames needs to know of it."""

    @property
    def id(self) -> int: ...
    @property
    def started_at_ms(self) -> int | None: ...
    @property
    def highest(self) -> int:
        """The highest sequence that has arrived."""
        ...

    @property
    def times(self) -> SessionTimes: ...


def place_in_time(
    decoded: Decoded, sessions: Mapping[str, KnownSession], appended_ms: Ints
) -> tuple[Decoded, tuple[Correction, ...]]:
    """The same frames at times that can be, and the corrections that this made necessary.

    ``appended_ms`` has the broker's time of each record. The sessions' times are moved on. A record that cannot be placed,
    because its clock jumped too often, is rejected.
    """
    known = [sessions[key] for key in decoded.sessions]
    rows, starts = _rows_by_session(decoded)
    frames = _Frames(
        decoded.frames["time"].cast(pa.int64()).to_numpy() // 1000,
        decoded.frames["sequence"].fill_null(0).to_numpy(),
        appended_ms[decoded.frames["record"].to_numpy()],
    )
    before_ms = frames.time_ms
    frames.time_ms = before_ms.copy()
    _apply_known(frames, known, rows, starts)
    corrections: list[Correction] = []
    faults: dict[int, str] = {}
    records = decoded.frames["record"]
    for index in _suspicious(frames, known, rows, starts):
        of_session = rows[starts[index] : starts[index + 1]]
        placing = _Placing(known[index], frames, before_ms)
        for row, reason in placing.run(of_session.tolist()):
            faults.setdefault(records[row].as_py(), reason)
        corrections += placing.corrections
    _note_latest(frames, known, rows, starts)
    decoded = _with_times(decoded, frames.time_ms, before_ms)
    return without(replace(decoded, facts=_facts_in_time(decoded, known, appended_ms)), faults), tuple(corrections)


@dataclass(slots=True)
class _Frames:
    time_ms: Ints
    sequence: Ints
    appended_ms: Ints


def _rows_by_session(decoded: Decoded) -> tuple[Ints, Ints]:
    """The rows session by session, and where each session's begin; one more at the end."""
    index = decoded.frames["session"].to_numpy()
    rows = np.argsort(index, kind="stable")
    return rows, np.searchsorted(index[rows], np.arange(len(decoded.sessions) + 1))


def _apply_known(frames: _Frames, known: Sequence[KnownSession], rows: Ints, starts: Ints) -> None:
    for index, session in enumerate(known):
        if session.times.starts:
            of_session = rows[starts[index] : starts[index + 1]]
            places = np.searchsorted(session.times.starts, frames.sequence[of_session], side="right")
            frames.time_ms[of_session] += np.array([0, *session.times.offsets])[places]


def _suspicious(frames: _Frames, known: Sequence[KnownSession], rows: Ints, starts: Ints) -> list[int]:
    """The sessions with a time that may need a correction. Nearly always there is none."""
    if not len(rows):
        return []
    lengths = np.diff(starts)
    times = frames.time_ms[rows]
    first = np.zeros(len(rows), dtype=np.bool_)
    first[starts[:-1][lengths > 0]] = True
    began = np.repeat(np.array([s.started_at_ms or EARLIEST_MS for s in known], dtype=np.int64), lengths)
    latest = np.repeat(np.array([s.times.latest_ms or EARLIEST_MS for s in known], dtype=np.int64), lengths)
    before = np.where(first, latest, np.concatenate((times[:1], times[:-1])))
    odd = times < np.maximum(began - BEFORE_START_MS, before - BACK_MS)
    odd |= (times > frames.appended_ms[rows] + AHEAD_MS) | (times < EARLIEST_MS) | (times >= LATEST_MS)
    if not odd.any():
        return []
    return np.unique(np.repeat(np.arange(len(known)), lengths)[odd]).tolist()  # type: ignore[no-any-return]


def _note_latest(frames: _Frames, known: Sequence[KnownSession], rows: Ints, starts: Ints) -> None:
    lengths = np.diff(starts)
    there = np.flatnonzero(lengths)
    if not len(there):
        return
    latest = np.maximum.reduceat(frames.time_ms[rows], starts[there])
    appended = frames.appended_ms[rows[starts[there + 1] - 1]]
    for index, time_ms, appended_ms in zip(there.tolist(), latest.tolist(), appended.tolist(), strict=True):
        times = known[index].times
        times.latest_ms = time_ms if times.latest_ms is None else max(times.latest_ms, time_ms)
        times.appended_ms = appended_ms


class _Placing:
    """One session's frames of one batch, one after the other."""

    def __init__(self, session: KnownSession, frames: _Frames, raw_ms: Ints) -> None:
        self.corrections: list[Correction] = []
        self._session, self._times, self._frames, self._raw_ms = session, session.times, frames, raw_ms
        self._highest = session.highest
        self._start_ms = session.started_at_ms
        self._latest_ms, self._appended_ms = session.times.latest_ms, session.times.appended_ms
        self._step_ms = _USUAL_STEP_MS

    def run(self, rows: Sequence[int]) -> list[tuple[int, str]]:
        """Place the frames in these rows; which of them cannot be, and why."""
        refused = []
        for row in rows:
            sequence, raw_ms = int(self._frames.sequence[row]), int(self._raw_ms[row])
            appended_ms = int(self._frames.appended_ms[row])
            if sequence and sequence <= self._highest:
                placed_ms, fault = self._place_late(sequence, raw_ms, appended_ms)
            else:
                placed_ms, fault = self._place_next(sequence, raw_ms, appended_ms)
            if fault:
                refused.append((row, f"time: {fault}"))
                placed_ms = self._latest_ms or appended_ms
            self._frames.time_ms[row] = placed_ms
        return refused

    def _place_late(self, sequence: int, raw_ms: int, appended_ms: int) -> tuple[int, str | None]:
        """A frame that others have overtaken: where its own correction puts it, or else the first that can be right."""
        first_fault = None
        for offset_ms in (self._times.offset_at(sequence), *self._times.offsets):
            fault = self._impossible(raw_ms + offset_ms, appended_ms)
            if fault is None:
                return raw_ms + offset_ms, None
            first_fault = first_fault or fault
        return raw_ms, first_fault

    def _place_next(self, sequence: int, raw_ms: int, appended_ms: int) -> tuple[int, str | None]:
        missing = sequence - self._highest if sequence and self._highest else 1
        placed_ms = raw_ms + self._offset_ms(sequence, raw_ms, appended_ms)
        fault = self._next_fault(sequence, placed_ms, appended_ms)
        if fault:
            if len(self._times.starts) >= MOST_CORRECTIONS:
                # Times that only go back are stored as they come: the laps are timed again with them.
                return placed_ms, self._impossible(placed_ms, appended_ms)
            placed_ms = self._following_ms(missing, appended_ms)
            self._correct(sequence, placed_ms - raw_ms, placed_ms, fault)
        elif self._latest_ms is not None and 0 < placed_ms - self._latest_ms <= _LONGEST_STEP_MS:
            self._step_ms = max(1, (placed_ms - self._latest_ms) // missing)
        self._highest = max(self._highest, sequence)
        self._start_ms = placed_ms if self._start_ms is None else self._start_ms
        self._latest_ms = placed_ms if self._latest_ms is None else max(self._latest_ms, placed_ms)
        self._appended_ms = appended_ms
        return placed_ms, None

    def _offset_ms(self, sequence: int, raw_ms: int, appended_ms: int) -> int:
        # A frame without a sequence says nothing of those around it: a right time is taken as it is.
        if not sequence and abs(raw_ms - appended_ms) <= AHEAD_MS:
            return 0
        return self._times.offset_at(max(sequence, self._highest))

    def _following_ms(self, missing: int, appended_ms: int) -> int:
        """When a frame was driven whose clock does not tell: after the one before it."""
        if self._latest_ms is None:
            return appended_ms
        step_ms = self._step_ms * missing
        waited_ms = appended_ms - (self._appended_ms if self._appended_ms is not None else appended_ms)
        # Of a session under way the step is known better than the ways to the broker are alike; a pause only it has seen.
        return self._latest_ms + (waited_ms if waited_ms > step_ms + _LONGEST_STEP_MS else step_ms)

    def _correct(self, sequence: int, offset_ms: int, placed_ms: int, reason: str) -> None:
        from_sequence = 0 if self._latest_ms is None else sequence
        self._times.correct(from_sequence, offset_ms)
        self.corrections.append(Correction(self._session.id, from_sequence, offset_ms, placed_ms, reason))

    def _next_fault(self, sequence: int, time_ms: int, appended_ms: int) -> str | None:
        if self._latest_ms is None:
            return self._impossible(time_ms, appended_ms)
        if sequence and time_ms < self._latest_ms - BACK_MS:
            return back_fault(time_ms, self._latest_ms)
        return self._impossible(time_ms, appended_ms, jumped=time_ms - self._latest_ms > AHEAD_MS)

    def _impossible(self, time_ms: int, appended_ms: int, *, jumped: bool = True) -> str | None:
        if fault := date_fault(time_ms):
            return fault
        if time_ms > appended_ms + (AHEAD_MS if jumped else DRIFTED_AHEAD_MS):
            return ahead_fault(time_ms, appended_ms)
        if self._start_ms is not None and time_ms < self._start_ms - BEFORE_START_MS:
            return before_start_fault(time_ms, self._start_ms)
        return None


def _with_times(decoded: Decoded, times_ms: Ints, before_ms: Ints) -> Decoded:
    moved_ms = times_ms - before_ms
    if not moved_ms.any():
        return decoded
    times_us = decoded.frames["time"].cast(pa.int64()).to_numpy() + moved_ms * 1000
    column = pa.array(times_us).view(DECODED_FRAMES.field(_TIME).type)
    return replace(decoded, frames=decoded.frames.set_column(_TIME, DECODED_FRAMES.field(_TIME), column))


def _facts_in_time(decoded: Decoded, known: Sequence[KnownSession], appended_ms: Ints) -> list[Facts]:
    return [
        replace(f, message=_started(f.message, known[f.session_index], int(appended_ms[f.record])))
        if f.message.started_at
        else f
        for f in decoded.facts
    ]


def _started(facts: Session, session: KnownSession, appended_ms: int) -> Session:
    """The facts with a start that can be: as the frames' clock was corrected, or unknown; then the first frame tells."""
    told_ms, times = facts.started_at, session.times
    start_ms = told_ms
    if times.starts and times.starts[0] == 0:
        began_ms, corrected_ms = session.started_at_ms, told_ms + times.offsets[0]
        nearer = began_ms is None or abs(corrected_ms - began_ms) < abs(told_ms - began_ms)
        start_ms = corrected_ms if nearer else told_ms
    if date_fault(start_ms) or start_ms > appended_ms + AHEAD_MS:
        start_ms = 0
    if start_ms == told_ms:
        return facts
    changed = Session()
    changed.CopyFrom(facts)
    changed.started_at = start_ms
    return changed
