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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ingest.codec.decode import DECODED_FRAMES, Decoded, Facts, without
from ingest.codec.session_times import Correction, Placing, SessionTimes
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


class KnownSession(Protocol):
    """The state of a session that placing its frames needs."""

    @property
    def id(self) -> int:
        """Return the session's number in the store."""

    @property
    def started_at_ms(self) -> int | None:
        """Return when the session began, in ms since 1970; None if unknown."""

    @property
    def highest(self) -> int:
        """Return the highest sequence that has arrived."""
        ...

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
        session = known[index]
        placing = Placing(
            session.times, session.id, highest=session.highest, start_ms=session.started_at_ms
        )
        for row, reason in _place_one_by_one(placing, frames, before_ms, of_session):
            faults.setdefault(records[row].as_py(), reason)
        corrections += placing.corrections
    _note_latest(frames, known, rows, starts)
    decoded = _with_times(decoded, frames.time_ms, before_ms)
    return without(
        replace(decoded, facts=_facts_in_time(decoded, known, appended_ms)), faults
    ), tuple(corrections)


@dataclass(slots=True)
class _Frames:
    time_ms: Ints
    sequence: Ints
    appended_ms: Ints


def _rows_by_session(decoded: Decoded) -> tuple[Ints, Ints]:
    """Return the rows session by session, and where each session's rows begin.

    The starts have one more entry at the end.
    """
    index = decoded.frames["session"].to_numpy()
    rows = np.argsort(index, kind="stable")
    return rows, np.searchsorted(index[rows], np.arange(len(decoded.sessions) + 1))


def _apply_known(frames: _Frames, known: Sequence[KnownSession], rows: Ints, starts: Ints) -> None:
    for index, session in enumerate(known):
        if session.times.starts:
            of_session = rows[starts[index] : starts[index + 1]]
            places = np.searchsorted(
                session.times.starts, frames.sequence[of_session], side="right"
            )
            frames.time_ms[of_session] += np.array([0, *session.times.offsets])[places]


def _suspicious(
    frames: _Frames, known: Sequence[KnownSession], rows: Ints, starts: Ints
) -> list[int]:
    """Return the sessions with a time that may need a correction. Nearly always there is none."""
    if not len(rows):
        return []
    lengths = np.diff(starts)
    times = frames.time_ms[rows]
    first = np.zeros(len(rows), dtype=np.bool_)
    first[starts[:-1][lengths > 0]] = True
    began = np.repeat(
        np.array([s.started_at_ms or EARLIEST_MS for s in known], dtype=np.int64), lengths
    )
    latest = np.repeat(
        np.array([s.times.latest_ms or EARLIEST_MS for s in known], dtype=np.int64), lengths
    )
    before = _latest_before(
        times, np.where(first, latest, np.concatenate((times[:1], times[:-1]))), starts
    )
    odd = times < np.maximum(began - BEFORE_START_MS, before - BACK_MS)
    ahead_ms = times - frames.appended_ms[rows]
    # A session that goes on without a jump may get ahead.
    odd |= (ahead_ms > AHEAD_MS) & ((times - before > AHEAD_MS) | (ahead_ms > DRIFTED_AHEAD_MS))
    behind = np.repeat(
        np.array([s.times.latest_ms is None and bool(s.times.behind_ms) for s in known]), lengths
    )
    odd |= first & behind
    odd |= (times < EARLIEST_MS) | (times >= LATEST_MS)
    if not odd.any():
        return []
    return np.unique(np.repeat(np.arange(len(known)), lengths)[odd]).tolist()  # type: ignore[no-any-return]


def _latest_before(times: Ints, before: Ints, starts: Ints) -> Ints:
    """Return the latest time of each frame's session before that frame.

    ``before`` is the time of the frame before. Nearly always the two are the same.
    """
    back = np.flatnonzero(times < before)
    for index in np.unique(np.searchsorted(starts, back, side="right") - 1).tolist():
        rows = slice(starts[index], starts[index + 1])
        before[rows] = np.maximum.accumulate(before[rows])
    return before


def _note_latest(frames: _Frames, known: Sequence[KnownSession], rows: Ints, starts: Ints) -> None:
    lengths = np.diff(starts)
    there = np.flatnonzero(lengths)
    if not len(there):
        return
    latest = np.maximum.reduceat(frames.time_ms[rows], starts[there])
    appended = frames.appended_ms[rows[starts[there + 1] - 1]]
    for index, time_ms, appended_ms in zip(
        there.tolist(), latest.tolist(), appended.tolist(), strict=True
    ):
        times = known[index].times
        times.latest_ms = time_ms if times.latest_ms is None else max(times.latest_ms, time_ms)
        times.appended_ms = appended_ms


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
            placed_ms = placing.latest_ms or appended_ms
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
    reported_ms, times = facts.started_at, session.times
    start_ms = reported_ms
    offset_ms = (
        times.offsets[0]
        if times.starts and times.starts[0] == 0
        else 0
        if times.starts
        else times.behind_ms
    )
    if offset_ms and not date_fault(reported_ms + offset_ms):
        began_ms, corrected_ms = session.started_at_ms, reported_ms + offset_ms
        nearer = began_ms is None or abs(corrected_ms - began_ms) < abs(reported_ms - began_ms)
        start_ms = corrected_ms if nearer else reported_ms
    if date_fault(start_ms) or start_ms > appended_ms + AHEAD_MS:
        start_ms = 0
    if start_ms == reported_ms:
        return facts
    changed = Session()
    changed.CopyFrom(facts)
    changed.started_at = start_ms
    return changed
