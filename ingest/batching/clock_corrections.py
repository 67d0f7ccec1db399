"""Replaces the times of a wrong clock with the broker's, so that no frame is lost because of its
time.

A session with impossible times gets a correction: an offset in milliseconds, added to its times
from one sequence on. The first frame is placed at the broker's time of receipt; the frames after it
keep their spacing. A clock that jumps gets another correction, and the frame follows the one before
it.

Corrections are stored with the frames: a resend, or a takeover of the partition, gives a frame the
same time. Rule: a frame whose sequence goes on is never placed before the one that it follows.
Times that `ingest.codec.timestamps` allows are left alone.

Pure: the broker's time of each record is an argument.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ingest.codec.decode import DECODED_FRAMES, Decoded, Facts, without
from ingest.codec.session_times import LONGEST_STEP_MS, Correction, Placing, SessionTimes
from ingest.codec.timestamps import (
    AHEAD_MS,
    BACK_MS,
    BEFORE_START_MS,
    DRIFTED_AHEAD_MS,
    EARLIEST_MS,
    LATEST_MS,
    date_fault,
)
from ingest.telemetry_pb2 import Session

_TIME = DECODED_FRAMES.get_field_index("time")

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class KnownSession(Protocol):
    """The state of a session that placing its frames needs."""

    @property
    def id(self) -> int:
        """Return the session's number in the store."""

    @property
    def started_at_ms(self) -> int | None:
        """Return when the session began, in ms since 1970; None if unknown."""

    @property
    def times(self) -> SessionTimes:
        """Return the times of the session's frames."""


def place_in_time(
    decoded: Decoded,
    sessions: Mapping[str, KnownSession],
    appended_ms: Ints,
    behind_ms: Mapping[str, int] = MappingProxyType({}),
) -> tuple[Decoded, tuple[Correction, ...]]:
    """Return the same frames at possible times, and the corrections that this required.

    ``appended_ms`` holds the broker's time of each record. ``behind_ms`` holds, by session, how far
    a collector's clock is behind, where that is more than `BEHIND_MS`. It counts until the
    session's first frame.

    Updates the sessions' times. A record that cannot be placed, because its clock jumped too often,
    is rejected.
    """
    known = [sessions[key] for key in decoded.sessions]
    for key in behind_ms.keys() & sessions.keys():
        sessions[key].times.behind_ms = behind_ms[key]
    frames = _Frames.of(decoded, appended_ms)
    _expect_starts(decoded, known, frames, appended_ms)
    before_ms = frames.time_ms.copy()
    _apply_known(frames, known)
    corrections: list[Correction] = []
    faults: dict[int, str] = {}
    records = decoded.frames["record"]
    steps = _Steps.of(frames, known)
    suspicious = steps.suspicious(known)
    for index in suspicious:
        placing = Placing(known[index].times, known[index].id)
        for row, reason in _place_one_by_one(placing, frames, before_ms, frames.of_session(index)):
            faults.setdefault(records[row].as_py(), reason)
        corrections += placing.corrections
    steps.note(known, frozenset(suspicious))
    decoded = _with_times(decoded, frames.time_ms, before_ms)
    return without(
        replace(decoded, facts=_facts_in_time(decoded, known, appended_ms)), faults
    ), tuple(corrections)


@dataclass(slots=True)
class _Frames:
    """The frames of a batch; ``rows`` are their places, session by session.

    The rows of session i begin at ``starts[i]`` and end before ``starts[i + 1]``.
    """

    time_ms: Ints
    sequence: Ints
    appended_ms: Ints
    rows: Ints
    starts: Ints

    @classmethod
    def of(cls, decoded: Decoded, appended_ms: Ints) -> "_Frames":
        index = decoded.frames["session"].to_numpy()
        rows = np.argsort(index, kind="stable")
        return cls(
            decoded.frames["time"].cast(pa.int64()).to_numpy() // 1000,
            decoded.frames["sequence"].fill_null(0).to_numpy(),
            appended_ms[decoded.frames["record"].to_numpy()],
            rows,
            np.searchsorted(index[rows], np.arange(len(decoded.sessions) + 1)),
        )

    def of_session(self, index: int) -> Ints:
        return self.rows[self.starts[index] : self.starts[index + 1]]


def _expect_starts(
    decoded: Decoded, known: Sequence[KnownSession], frames: _Frames, appended_ms: Ints
) -> None:
    """Note the starts that were reported before the first frame of their session."""
    records = decoded.frames["record"]
    for facts in decoded.facts:
        rows = frames.of_session(facts.session_index)
        if not len(rows) or facts.record <= records[int(rows[0])].as_py():
            known[facts.session_index].times.expect_start(
                facts.message.started_at, int(appended_ms[facts.record])
            )


def _apply_known(frames: _Frames, known: Sequence[KnownSession]) -> None:
    for index, session in enumerate(known):
        if session.times.starts:
            rows = frames.of_session(index)
            places = np.searchsorted(session.times.starts, frames.sequence[rows], side="right")
            frames.time_ms[rows] += np.array([0, *session.times.offsets])[places]


@dataclass(slots=True)
class _Steps:
    """The frames session by session, each beside the frames of its session before it.

    ``latest_ms`` is the latest time before the frame, and ``highest`` the sequence before it. Both
    are 0 where there is none.
    """

    time_ms: Ints
    sequence: Ints
    appended_ms: Ints
    latest_ms: Ints
    highest: Ints
    starts: Ints

    @classmethod
    def of(cls, frames: _Frames, known: Sequence[KnownSession]) -> "_Steps":
        lengths = np.diff(frames.starts)
        firsts = frames.starts[:-1][lengths > 0]
        first_of = [s.times for s, length in zip(known, lengths, strict=True) if length]
        time_ms, sequence = frames.time_ms[frames.rows], frames.sequence[frames.rows]
        latest_ms, highest = _shifted(time_ms), _shifted(sequence)
        latest_ms[firsts] = [times.latest_ms or 0 for times in first_of]
        highest[firsts] = [times.highest for times in first_of]
        _raise_to_latest(time_ms, latest_ms, frames.starts)
        return cls(
            time_ms, sequence, frames.appended_ms[frames.rows], latest_ms, highest, frames.starts
        )

    def suspicious(self, known: Sequence[KnownSession]) -> list[int]:
        """Return the sessions that need a look at each frame. Nearly always there is none."""
        odd = self._odd_times(known) | self._out_of_order(known)
        if not odd.any():
            return []
        rows = np.flatnonzero(odd)
        return np.unique(np.searchsorted(self.starts, rows, side="right") - 1).tolist()  # type: ignore[no-any-return]

    def note(self, known: Sequence[KnownSession], apart: Set[int]) -> None:
        """Note the frames of all sessions but those ``apart``, as `Placing` does one by one."""
        there = np.flatnonzero(np.diff(self.starts))
        if not len(there):
            return
        firsts, lasts = self.starts[there], self.starts[there + 1] - 1
        passed_ms = self.time_ms - self.latest_ms
        is_step = (passed_ms > 0) & (passed_ms <= LONGEST_STEP_MS)
        last_steps = np.maximum.reduceat(np.where(is_step, np.arange(len(is_step)), -1), firsts)
        for index, step, *frame in zip(
            there.tolist(),
            last_steps.tolist(),
            np.maximum.reduceat(self.time_ms, firsts).tolist(),
            self.appended_ms[lasts].tolist(),
            self.sequence[lasts].tolist(),
            self.time_ms[firsts].tolist(),
            strict=True,
        ):
            if index not in apart:
                self._note(known[index].times, step, *frame)

    def _note(
        self, times: SessionTimes, step: int, latest: int, appended: int, highest: int, first: int
    ) -> None:
        times.start_ms = first if times.start_ms is None else times.start_ms
        times.follow(latest, appended, highest)
        if step >= 0:
            numbered = self.sequence[step] and self.highest[step]
            missing = int(self.sequence[step] - self.highest[step]) if numbered else 1
            times.step_ms = max(1, int(self.time_ms[step] - self.latest_ms[step]) // missing)

    def _odd_times(self, known: Sequence[KnownSession]) -> Mask:
        began = np.array([s.times.start_ms or EARLIEST_MS for s in known], dtype=np.int64)
        earliest = np.repeat(began - BEFORE_START_MS, np.diff(self.starts))
        odd: Mask = self.time_ms < np.maximum(earliest, self.latest_ms - BACK_MS)
        ahead_ms = self.time_ms - self.appended_ms
        # A session that goes on without a jump may get ahead.
        jumped = self.time_ms - self.latest_ms > AHEAD_MS
        odd |= (ahead_ms > AHEAD_MS) & (jumped | (ahead_ms > DRIFTED_AHEAD_MS))
        odd |= (self.time_ms < EARLIEST_MS) | (self.time_ms >= LATEST_MS)
        return odd

    def _out_of_order(self, known: Sequence[KnownSession]) -> Mask:
        """Return late frames, frames without a sequence beside corrections, and slow clocks."""
        late: Mask = self.sequence <= self.highest
        if late.any():
            corrected = np.array([bool(s.times.starts) for s in known])
            unnumbered = (self.sequence == 0) & (self.highest == 0)
            late &= ~unnumbered | np.repeat(corrected, np.diff(self.starts))
        behind = [s.times.latest_ms is None and bool(s.times.behind_ms) for s in known]
        if any(behind):
            late |= np.repeat(np.array(behind), np.diff(self.starts))
        return late


def _shifted(values: Ints) -> Ints:
    """Return the value before each value."""
    return np.concatenate((values[:1], values[:-1]))


def _raise_to_latest(time_ms: Ints, latest_ms: Ints, starts: Ints) -> None:
    """Make the times of the frames before into the latest times before; nearly always they are."""
    back = np.flatnonzero(time_ms < latest_ms)
    for index in np.unique(np.searchsorted(starts, back, side="right") - 1).tolist():
        rows = slice(starts[index], starts[index + 1])
        latest_ms[rows] = np.maximum.accumulate(latest_ms[rows])


def _place_one_by_one(
    placing: Placing, frames: _Frames, raw_ms: Ints, rows: Ints
) -> list[tuple[int, str]]:
    """Place the frames in these rows; return the rows that cannot be placed, with reasons."""
    refused = []
    for row in rows.tolist():
        appended_ms = int(frames.appended_ms[row])
        placed_ms, fault = placing.place(int(frames.sequence[row]), int(raw_ms[row]), appended_ms)
        if fault:
            refused.append((row, f"time: {fault}"))
            placed_ms = placing.times.latest_ms or appended_ms
        frames.time_ms[row] = placed_ms
    return refused


def _with_times(decoded: Decoded, times_ms: Ints, before_ms: Ints) -> Decoded:
    moved_ms = times_ms - before_ms
    if not moved_ms.any():
        return decoded
    times_us = decoded.frames["time"].cast(pa.int64()).to_numpy() + moved_ms * 1000
    column = pa.array(times_us).view(DECODED_FRAMES.field(_TIME).type)
    return replace(
        decoded, frames=decoded.frames.set_column(_TIME, DECODED_FRAMES.field(_TIME), column)
    )


def _facts_in_time(
    decoded: Decoded, known: Sequence[KnownSession], appended_ms: Ints
) -> list[Facts]:
    return [
        replace(f, message=_started(f.message, known[f.session_index], int(appended_ms[f.record])))
        if f.message.started_at
        else f
        for f in decoded.facts
    ]


def _started(facts: Session, session: KnownSession, appended_ms: int) -> Session:
    """Return the facts with a possible start.

    The start is corrected like the frames' clock. Where it is still impossible, it becomes unknown
    (0); then the first frame determines it.
    """
    start_ms = reported_ms = facts.started_at
    offset_ms = _offset_at_start_ms(session.times)
    if offset_ms and not date_fault(reported_ms + offset_ms):
        began_ms, corrected_ms = session.started_at_ms, reported_ms + offset_ms
        nearer = began_ms is None or abs(corrected_ms - began_ms) < abs(reported_ms - began_ms)
        start_ms = corrected_ms if nearer else reported_ms
    if date_fault(start_ms) or start_ms > appended_ms + AHEAD_MS:
        start_ms = 0
    return facts if start_ms == reported_ms else _with_start(facts, start_ms)


def _with_start(facts: Session, start_ms: int) -> Session:
    changed = Session()
    changed.CopyFrom(facts)
    changed.started_at = start_ms
    return changed


def _offset_at_start_ms(times: SessionTimes) -> int:
    if not times.starts:
        return times.behind_ms
    return times.offsets[0] if times.starts[0] == 0 else 0
