"""What one batch becomes in the store.

A Chunk is everything that one transaction writes. It is plain values: it knows no SQL and no Kafka. The sessions it was
made from have moved on in memory, so a chunk is stored or everything in memory is dropped; it is never made again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from analytics.channels import FRAMES
from analytics.laps import Carry, Lap, advance
from ingest.decode import Decoded
from ingest.partition import Batch
from ingest.sequences import SequenceSet
from ingest.telemetry_pb2 import Session as SessionFacts

_DEAD_LETTER_BYTES = 64 * 1024


@dataclass(slots=True)
class OpenSession:
    """A session as this worker remembers it: what is stored of it, and the lap being driven."""

    id: int
    key: str
    received: SequenceSet
    started_at_ms: int | None = None
    carry: Carry | None = None

    def heed(self, facts: SessionFacts) -> None:
        """Facts say when a session began better than its first frame does."""
        self.started_at_ms = facts.started_at or self.started_at_ms


@dataclass(frozen=True, slots=True)
class SessionProgress:
    """How far a batch brings a session."""

    id: int
    received: str  # an int8multirange
    frames: int
    first_at_us: int
    last_at_us: int


@dataclass(frozen=True, slots=True)
class TimedLap:
    """A lap and the session it was driven in."""

    session_id: int
    session_key: str
    lap: Lap


@dataclass(frozen=True, slots=True)
class Gap:
    """Sequences ``from_sequence`` to ``to_sequence``, both included, that have not arrived."""

    session_id: int
    from_sequence: int
    to_sequence: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that is kept for a person to look at instead of being stored."""

    offset: int
    key: bytes | None
    value: bytes | None
    reason: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """The content of one transaction: `[start, end)` of a partition."""

    start: int
    end: int
    frames: pa.Table = field(repr=False)
    progress: tuple[SessionProgress, ...] = ()
    facts: tuple[tuple[int, SessionFacts], ...] = ()
    laps: tuple[TimedLap, ...] = ()
    gaps: tuple[Gap, ...] = ()
    dead_letters: tuple[DeadLetter, ...] = ()
    resent: int = 0  # frames dropped because they are stored already


def make_chunk(batch: Batch, decoded: Decoded, sessions: Mapping[str, OpenSession]) -> Chunk:
    """Sort a decoded batch by session, drop what is stored already, time the laps, and name what is missing.

    ``sessions`` holds every key of ``decoded.sessions``; they are moved on by what this batch brings.
    """
    for facts in decoded.facts:
        sessions[decoded.sessions[facts.session_index]].heed(facts.message)
    chapters = [_take_in(sessions[decoded.sessions[index]], frames) for index, frames in _by_session(decoded.frames)]
    kept = [c for c in chapters if c.frames.num_rows]
    return Chunk(
        start=batch.start,
        end=batch.end,
        frames=pa.concat_tables([c.frames for c in kept]) if kept else FRAMES.empty_table(),
        progress=tuple(_progress(c) for c in kept),
        facts=tuple((sessions[decoded.sessions[f.session_index]].id, f.message) for f in decoded.facts),
        laps=tuple(TimedLap(c.session.id, c.session.key, lap) for c in kept for lap in c.laps),
        gaps=tuple(gap for c in kept for gap in c.gaps),
        dead_letters=tuple(_dead_letters(batch, decoded)),
        resent=decoded.frames.num_rows - sum(c.frames.num_rows for c in kept),
    )


@dataclass(frozen=True, slots=True)
class _Chapter:
    """What a batch brings of one session."""

    session: OpenSession
    frames: pa.Table
    sequences: np.ndarray
    laps: list[Lap]
    gaps: list[Gap]


def _by_session(frames: pa.Table) -> Iterable[tuple[int, pa.Table]]:
    """(index, frames) for each session of the batch; frames keep the order in which they were read."""
    index = frames["session"].to_numpy()
    if not len(index):
        return
    if index[0] == index[-1] and (index == index[0]).all():
        yield int(index[0]), frames
        return
    order = np.argsort(index, kind="stable")
    ordered, index = frames.take(order), index[order]
    edges = np.flatnonzero(np.diff(index)) + 1
    for start, end in zip([0, *edges], [*edges, len(index)], strict=True):
        yield int(index[start]), ordered.slice(start, end - start)


def _take_in(session: OpenSession, frames: pa.Table) -> _Chapter:
    sequences = frames["sequence"]
    if sequences.null_count == 0:
        numbers = sequences.to_numpy()
        unseen = session.received.unseen(numbers)
    else:
        # A frame without a number cannot be recognised when it is sent again: it is stored as it comes.
        numbers = sequences.fill_null(0).to_numpy()
        unseen = session.received.unseen(numbers) | (numbers == 0)
    if not unseen.all():
        frames, numbers = frames.filter(pa.array(unseen)), numbers[unseen]
    numbers = numbers[numbers > 0]
    gaps = _new_gaps(session, numbers)
    session.received.add(numbers)
    frames = of_store(frames, session.id)
    laps: list[Lap] = []
    if frames.num_rows:
        laps, session.carry = advance(frames, session.carry)
        if session.started_at_ms is None:
            session.started_at_ms = frames["time"].cast(pa.int64())[0].as_py() // 1000
    return _Chapter(session, frames, numbers, laps, gaps)


def _new_gaps(session: OpenSession, numbers: np.ndarray) -> list[Gap]:
    """The holes that open where a batch jumps ahead of what had arrived. A hole in what is stored is known already."""
    if not len(numbers):
        return []
    highest = session.received.highest
    ahead = np.sort(numbers[numbers > highest])
    before = np.concatenate(([highest], ahead[:-1])) if len(ahead) else ahead
    jumps = np.flatnonzero(ahead - before > 1)
    return [Gap(session.id, int(before[j]) + 1, int(ahead[j]) - 1) for j in jumps]


def of_store(frames: pa.Table, session_id: int) -> pa.Table:
    """The frames of one session with the columns of `FRAMES`."""
    ids = pa.array(np.full(frames.num_rows, session_id, dtype=np.int32))
    columns = [ids if name == "session_id" else frames[name] for name in FRAMES.names]
    return pa.table(columns, schema=FRAMES)


def _progress(chapter: _Chapter) -> SessionProgress:
    times_us = chapter.frames["time"].cast(pa.int64()).to_numpy()
    arrived = SequenceSet()
    arrived.add(chapter.sequences)
    return SessionProgress(
        id=chapter.session.id,
        received=arrived.to_multirange(),
        frames=len(times_us),
        first_at_us=int(times_us.min()),
        last_at_us=int(times_us.max()),
    )


def _dead_letters(batch: Batch, decoded: Decoded) -> Iterable[DeadLetter]:
    records = batch.records
    for rejected in decoded.rejected:
        value = records.values[rejected.record]
        key = records.keys[rejected.record]
        yield DeadLetter(
            offset=int(records.offsets[rejected.record]),
            key=None if key is None else key[:_DEAD_LETTER_BYTES],
            value=None if value is None else value[:_DEAD_LETTER_BYTES],
            reason=rejected.reason,
        )
