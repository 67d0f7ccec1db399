"""Builds the content of one transaction from a decoded batch.

A WriteBatch is everything that one transaction writes. It holds plain values: it uses no SQL and no
Kafka. The sessions that it was made from are already updated in memory. So a WriteBatch is stored,
or everything in memory is dropped; it is never made again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import pyarrow as pa

from analytics.laps.best_laps import Category, Colours
from analytics.laps.engine import advance_each, sector_ended
from analytics.laps.state import EngineState
from analytics.model.channels import FRAMES
from analytics.model.lap import Lap, LapInProgress
from analytics.model.track_layout import UNKNOWN, TrackLayout
from ingest.batching.partition_log import Batch, Headers
from ingest.batching.sequence_set import SequenceSet
from ingest.codec.decode import Decoded
from ingest.codec.session_times import Correction, SessionTimes
from ingest.telemetry_pb2 import Session as SessionFacts

_DEAD_LETTER_BYTES = 64 * 1024
_JUDGED_BY = ("game", "track", "car", "user_id", "driver")


@dataclass(slots=True)
class OpenSession:
    """A session in this worker's memory: its stored part, and the lap being driven."""

    id: int
    key: str
    received: SequenceSet
    started_at_ms: int | None = None
    engine_state: EngineState | None = None
    last_reported: int = 0  # its collector sent this sequence, and all before it
    game: str = ""
    track: str = ""
    car: str = ""
    user_id: str = ""
    driver: str = ""
    track_id: int | None = (
        None  # the store's number of the track version that its laps are timed on
    )
    layout: TrackLayout = UNKNOWN
    # stored ones that this worker knows of: it shows whether another one writes to the session too
    frames: int = 0
    times: SessionTimes = field(default_factory=SessionTimes)
    ended_from_us: int | None = (
        None  # the lap being driven is stored as one that ended, because no more frames came
    )

    @property
    def highest(self) -> int:
        """Return the highest sequence that has arrived."""
        return self.received.highest

    @property
    def latest_us(self) -> int | None:
        """Return the time up to which its laps are timed; None where they are not."""
        return (
            int(self.engine_state.recent.time[-1])
            if self.engine_state is not None and len(self.engine_state.recent.time)
            else None
        )

    @property
    def scope(self) -> Category | None:
        """Return the category that its laps are compared within; None on an unknown track."""
        return Category(self.game, self.track, self.car) if self.track else None

    @property
    def known(self) -> int:
        """Return the highest sequence that is known to exist.

        Gaps below it are recorded already.
        """
        return max(self.last_reported, self.received.highest)

    def update_metadata(self, facts: SessionFacts) -> bool:
        """Apply facts: the session's start, its game, track and car, and its user and driver.

        Facts give a better start than the first frame does. Returns True where the session is under
        way and the facts are new. Its laps then wait for their track, or were judged among others.
        """
        self.started_at_ms = facts.started_at or self.started_at_ms
        changes = {
            name: value
            for name in _JUDGED_BY
            if (value := getattr(facts, name)) not in ("", getattr(self, name))
        }
        if self.user_id:
            changes.pop("user_id", None)  # a session keeps its first user
        for name, value in changes.items():
            setattr(self, name, value)
        return bool(changes) and self.engine_state is not None

    def begin_on(self, track_id: int, layout: TrackLayout) -> None:
        """Time its laps on this version of its track, from the first frame on."""
        if self.engine_state is not None:
            raise ValueError(
                f"session {self.key}: expected to get its track layout before its first frame, not"
                " under way"
            )
        self.track_id, self.layout = track_id, layout

    def report_last_sequence(self, last_sequence: int) -> "list[SequenceGap]":
        """Note that its collector had sent all frames up to ``last_sequence``, and return the gap,
        if any.

        The collector sent those frames before this statement: a sequence that has not arrived by
        now is missing.
        """
        before, self.last_reported = self.known, max(self.last_reported, last_sequence)
        return [SequenceGap(self.id, before + 1, last_sequence)] if last_sequence > before else []


@dataclass(frozen=True, slots=True)
class SessionProgress:
    """The progress of a session by one batch.

    This worker knows of ``known_frames`` frames that were stored before, up to ``known_to_us``.
    ``clock_state`` is the state of the session's times after the batch.
    """

    id: int
    received: str  # an int8multirange
    frames: int
    first_at_us: int
    last_at_us: int
    known_frames: int
    known_to_us: int
    key: str
    clock_state: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class FinishedLap:
    """A lap and the session in which it was driven.

    Its colours are None until it has been judged.
    """

    session_id: int
    session_key: str
    lap: Lap
    colours: Colours | None = None


@dataclass(frozen=True, slots=True)
class RunningLap:
    """A lap with a finished sector, and the session in which it is driven.

    ``track_version`` is that of its track (0: none). ``sector_colours`` are empty where the lap is
    not judged.
    """

    session_id: int
    session_key: str
    track_version: int
    lap: LapInProgress
    sector_colours: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SequenceGap:
    """A gap: sequences ``from_sequence`` to ``to_sequence``, both included, that are missing."""

    session_id: int
    from_sequence: int
    to_sequence: int


@dataclass(frozen=True, slots=True)
class LateFrames:
    """Late data: a session got frames, the first at ``from_us``, after its laps had been timed
    beyond that.
    """

    session_id: int
    session_key: str
    from_us: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that is kept for a person to look at instead of being stored."""

    offset: int
    key: bytes | None
    value: bytes | None
    reason: str
    user_id: str = ""  # from the record's headers, where known
    headers: Headers | None = None  # as they came; None: unknown


@dataclass(frozen=True, slots=True)
class WriteBatch:
    """The content of one transaction: `[start, end)` of a partition."""

    start: int
    end: int
    frames: pa.Table = field(repr=False)
    progress: tuple[SessionProgress, ...] = ()
    facts: tuple[tuple[int, SessionFacts], ...] = ()
    begun_on: tuple[
        tuple[int, int], ...
    ] = ()  # sessions, and the version of the track that each is timed on
    laps: tuple[FinishedLap, ...] = ()
    running: tuple[RunningLap, ...] = ()  # not written: published when the rest is written
    gaps: tuple[SequenceGap, ...] = ()
    dead_letters: tuple[DeadLetter, ...] = ()
    late: tuple[LateFrames, ...] = ()
    corrections: tuple[Correction, ...] = ()  # of clocks
    resent: int = 0  # frames dropped because they are stored already
    moved: bool = False  # facts give another track, car or driver than was known for stored laps


def make_chunk(
    batch: Batch,
    decoded: Decoded,
    sessions: Mapping[str, OpenSession],
    corrections: tuple[Correction, ...] = (),
    users: Mapping[str, str] = MappingProxyType({}),
) -> WriteBatch:
    """Sort a decoded batch by session, drop stored frames, time the laps, and name the gaps.

    ``sessions`` holds every key of ``decoded.sessions``; this batch updates them. ``corrections``
    are those that its frames required. ``users`` are those that the headers of its keys name, where
    known.
    """
    open_sessions = [sessions[key] for key in decoded.sessions]
    moved = [f for f in decoded.facts if open_sessions[f.session_index].update_metadata(f.message)]
    begun_on = tuple(
        (s.id, s.track_id)
        for s in open_sessions
        if s.engine_state is None and s.track_id is not None
    )
    frames, index = _by_session(decoded.frames)
    parts, new = _arrivals(open_sessions, index, frames["sequence"].fill_null(0).to_numpy())
    if not new.all():
        frames, index = frames.filter(pa.array(new)), index[new]
    kept = of_store(
        frames, np.array([session.id for session in open_sessions], dtype=np.int32)[index]
    )
    # Before the laps are timed: afterwards every frame has been seen, and no frame would be late.
    late = tuple(_late(parts, kept))
    # After the frames have arrived: some frames may lie behind the facts. Those were sent later,
    # and are not missing.
    reported_gaps = [
        gap
        for f in decoded.facts
        for gap in open_sessions[f.session_index].report_last_sequence(f.message.last_sequence)
    ]
    laps, running = _time_laps(parts, kept)
    return WriteBatch(
        start=batch.start,
        end=batch.end,
        frames=kept,
        progress=tuple(_progress(parts, kept)),
        facts=tuple((open_sessions[f.session_index].id, f.message) for f in decoded.facts),
        begun_on=begun_on,
        laps=tuple(laps),
        running=tuple(running),
        gaps=tuple([gap for c in parts for gap in c.gaps] + reported_gaps),
        dead_letters=tuple(_dead_letters(batch, decoded, users)),
        late=late,
        corrections=corrections,
        resent=decoded.frames.num_rows - kept.num_rows,
        moved=bool(moved),
    )


@dataclass(frozen=True, slots=True)
class _SessionPart:
    """A session's part of a batch: the count of new frames, their sequences, and the gaps before
    them.
    """

    session: OpenSession
    frames: int
    sequences: SequenceSet
    gaps: list[SequenceGap]
    in_a_row: bool
    known_frames: int
    known_to_us: int | None


def _by_session(frames: pa.Table) -> tuple[pa.Table, np.ndarray]:
    """Return the frames session by session, each session's in reading order, and the session of
    each.
    """
    index = frames["session"].to_numpy()
    if (index[1:] >= index[:-1]).all():
        return frames, index
    order = np.argsort(index, kind="stable")
    return frames.take(order), index[order]


def _arrivals(
    open_sessions: Sequence[OpenSession], index: np.ndarray, numbers: np.ndarray
) -> tuple[list[_SessionPart], np.ndarray]:
    """Return a part for each session with new frames, in the order of ``index``, and the new
    frames' mask.
    """
    new = np.ones(len(index), dtype=np.bool_)
    starts = np.flatnonzero(np.diff(index, prepend=-1))
    if not len(starts):
        return [], new
    ends = np.append(starts[1:], len(index))
    follows = np.diff(numbers, prepend=0) == 1
    follows[starts] = True
    in_a_row = np.logical_and.reduceat(follows, starts)
    parts = []
    columns = (index[starts], starts, ends, numbers[starts], numbers[ends - 1], in_a_row)
    for car, start, end, first, last, follow in zip(
        *(column.tolist() for column in columns), strict=True
    ):
        session = open_sessions[car]
        if follow and first == session.received.highest + 1:
            # Nearly always: the session goes on where it stopped.
            session.received.extend(last)
            parts.append(
                _part(session, end - start, SequenceSet([(first, last + 1)]), [], in_a_row=True)
            )
            continue
        # A frame without a number (0) cannot be recognised when it is sent again: it is stored as
        # it comes.
        new[start:end] = session.received.unseen(numbers[start:end]) | (numbers[start:end] == 0)
        if new[start:end].any():
            parts.append(_disturbed(session, numbers[start:end][new[start:end]]))
    return parts, new


def _disturbed(session: OpenSession, numbers: np.ndarray) -> _SessionPart:
    sequences = numbers[numbers > 0]
    gaps = _new_gaps(session, sequences)
    session.received.add(sequences)
    arrived = SequenceSet()
    arrived.add(sequences)
    return _part(session, len(numbers), arrived, gaps, in_a_row=False)


def _part(
    session: OpenSession,
    frames: int,
    sequences: SequenceSet,
    gaps: list[SequenceGap],
    *,
    in_a_row: bool,
) -> _SessionPart:
    known_frames, session.frames = session.frames, session.frames + frames
    return _SessionPart(session, frames, sequences, gaps, in_a_row, known_frames, session.latest_us)


def _late(parts: Sequence[_SessionPart], frames: pa.Table) -> Iterable[LateFrames]:
    """Yield the sessions with frames here that are not later than all before them.

    The lap engine ignores such frames. Also yields the sessions that go on after their last lap was
    stored as one that ended with them.
    """
    all_us = frames["time"].cast(pa.int64()).to_numpy()
    goes_back = np.diff(all_us, prepend=all_us[:1]) < 0
    end = 0
    for part in parts:
        start, end = end, end + part.frames
        session = part.session
        times_us = all_us[start:end]
        if session.ended_from_us is not None:
            # It goes on after all: that lap may end elsewhere, or not at all.
            yield LateFrames(
                session.id, session.key, min(session.ended_from_us, int(times_us.min()))
            )
            session.ended_from_us = None
            continue
        began_late = part.known_to_us is not None and times_us[0] < part.known_to_us
        # A clock may go back a little while sequences go on.
        if part.in_a_row and not began_late and not goes_back[start + 1 : end].any():
            continue
        timed_us = (
            session.engine_state.recent.time[-1:] if session.engine_state else times_us[:1] - 1
        )
        latest_us = np.maximum.accumulate(np.concatenate([timed_us, times_us]))
        late_us = times_us[times_us <= latest_us[:-1]]
        if len(late_us):
            yield LateFrames(session.id, session.key, int(late_us.min()))


def _time_laps(
    parts: Sequence[_SessionPart], frames: pa.Table
) -> tuple[list[FinishedLap], list[RunningLap]]:
    """Return the laps that ended or are corrected, and the laps with a sector that ended."""
    timed: list[FinishedLap] = []
    running: list[RunningLap] = []
    ends = np.cumsum([c.frames for c in parts], dtype=np.int64).tolist()
    answers = advance_each(
        frames, ends, [c.session.engine_state for c in parts], [c.session.layout for c in parts]
    )
    for session, (laps, engine_state) in zip((c.session for c in parts), answers, strict=True):
        timed += [FinishedLap(session.id, session.key, lap) for lap in laps]
        if lap := sector_ended(session.engine_state, engine_state, session.layout):
            running.append(RunningLap(session.id, session.key, session.track_id or 0, lap))
        session.engine_state = engine_state
    return timed, running


def _new_gaps(session: OpenSession, numbers: np.ndarray) -> list[SequenceGap]:
    """Return the gaps that open where a batch jumps ahead of the sequences that had arrived.

    A gap among the stored sequences is known already.
    """
    if not len(numbers):
        return []
    known = session.known
    ahead = np.sort(numbers[numbers > known])
    before = np.concatenate(([known], ahead[:-1])) if len(ahead) else ahead
    jumps = np.flatnonzero(ahead - before > 1)
    return [SequenceGap(session.id, int(before[j]) + 1, int(ahead[j]) - 1) for j in jumps]


def of_store(frames: pa.Table, session_id: int | np.ndarray) -> pa.Table:
    """Return the frames with the columns of `FRAMES`.

    ``session_id`` is the store's number of their session, or one for each frame.
    """
    ids = pa.array(np.full(frames.num_rows, session_id, dtype=np.int32))
    columns = [ids if name == "session_id" else frames[name] for name in FRAMES.names]
    return pa.table(columns, schema=FRAMES)


def _progress(parts: Sequence[_SessionPart], frames: pa.Table) -> Iterable[SessionProgress]:
    if not parts:
        return
    times_us = frames["time"].cast(pa.int64()).to_numpy()
    starts = np.cumsum([0, *(c.frames for c in parts[:-1])])
    firsts, lasts = np.minimum.reduceat(times_us, starts), np.maximum.reduceat(times_us, starts)
    begun = times_us[starts] // 1000
    for part, first, last, begun_ms in zip(
        parts, firsts.tolist(), lasts.tolist(), begun.tolist(), strict=True
    ):
        if part.session.started_at_ms is None:
            part.session.started_at_ms = begun_ms
        known_to_us = first if part.known_to_us is None else min(first, part.known_to_us)
        received = part.sequences.to_multirange()
        yield SessionProgress(
            part.session.id,
            received,
            part.frames,
            first,
            last,
            part.known_frames,
            known_to_us,
            part.session.key,
            part.session.times.state,
        )


def _dead_letters(batch: Batch, decoded: Decoded, users: Mapping[str, str]) -> Iterable[DeadLetter]:
    records = batch.records
    for rejected in decoded.rejected:
        value = records.values[rejected.record]
        key = records.keys[rejected.record]
        yield DeadLetter(
            offset=int(records.offsets[rejected.record]),
            key=None if key is None else key[:_DEAD_LETTER_BYTES],
            value=None if value is None else value[:_DEAD_LETTER_BYTES],
            reason=rejected.reason,
            user_id=users.get((key or b"").decode(errors="replace"), ""),
        )
