"""The same records give the same times: to viewers, in any batches, after any restart."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from ingest.batching.clock_corrections import place_in_time
from ingest.batching.sequence_set import SequenceSet
from ingest.batching.write_batch import OpenSession
from ingest.codec.decode import decode
from ingest.codec.session_times import SessionTimes
from ingest.telemetry_pb2 import Session, TelemetryMessage
from serve.bridge.live.hub import Hub, LiveRecord, Subscription
from serve.bridge.live.viewer import Viewer
from tests.unit.frames import NOON_MS, frame

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
Times = list[list[int]]


class Sent(NamedTuple):
    """A record: the sequences and clocks of its frames, the start in its facts, and its append.

    Times are ms after noon; a start of None is no facts.
    """

    clocks: Sequence[tuple[int, int]]
    at: int
    start: int | None = None

    @property
    def value(self) -> bytes:
        frames = [frame(timestamp=NOON_MS + time, sequence=n) for n, time in self.clocks]
        if self.start is None and len(frames) == 1:
            return frames[0].SerializeToString()
        facts = (
            None if self.start is None else Session(track="Spa", started_at=NOON_MS + self.start)
        )
        return TelemetryMessage(frames=frames, session=facts).SerializeToString()


class Worker:
    """What a worker knows of a session, and what it stored of it."""

    def __init__(self, behind_ms: int) -> None:
        self.behind = {"spa": behind_ms} if behind_ms else {}
        self.session = OpenSession(7, "spa", SequenceSet())
        self.stored_corrections: dict[int, int] = {}

    def write(self, records: Sequence[Sent]) -> Times:
        """Return the times of each record's frames; none of a record that is refused."""
        decoded = decode([record.value for record in records], [b"spa"] * len(records))
        appended_ms = np.array([NOON_MS + record.at for record in records], np.int64)
        sessions = dict.fromkeys(decoded.sessions, self.session)
        decoded, corrections = place_in_time(decoded, sessions, appended_ms, self.behind)
        self.stored_corrections |= {c.from_sequence: c.offset_ms for c in corrections}
        self.session.received.add(decoded.frames["sequence"].drop_null().to_numpy())
        for facts in decoded.facts:
            self.session.started_at_ms = facts.message.started_at or self.session.started_at_ms
        times_ms = decoded.frames["time"].cast(pa.int64()).to_numpy() // 1000
        of_record = decoded.frames["record"].to_numpy()
        return [(times_ms[of_record == i] - NOON_MS).tolist() for i in range(len(records))]

    def restart(self) -> None:
        """Forget everything but what a partition's next worker reads from the store."""
        before = self.session
        self.session = OpenSession(7, "spa", before.received, before.started_at_ms)
        if state := before.times.state:
            self.session.times = SessionTimes.restored(state)
        else:
            self.session.times = SessionTimes(start_ms=before.started_at_ms)
        for from_sequence, offset_ms in sorted(self.stored_corrections.items()):
            self.session.times.correct(from_sequence, offset_ms)


def stored(records: Sequence[Sent], cuts: Sequence[int], behind_ms: int = 0) -> Times:
    """As a worker places the records in batches of these sizes, over and over.

    A negative size restarts the worker after the batch.
    """
    worker, times, first, turn = Worker(behind_ms), [], 0, 0
    while first < len(records):
        cut = cuts[turn % len(cuts)]
        times += worker.write(records[first : first + abs(cut)])
        if cut < 0:
            worker.restart()
        first, turn = first + abs(cut), turn + 1
    return times


def seen(records: Sequence[Sent], behind_ms: int = 0) -> Times:
    """As a viewer sees them, who gets one after the other; the bridge forgets the car each time."""
    hub, viewer = Hub(), Viewer(as_text=False, wake=lambda: None, close=lambda _: None)
    hub.join(viewer)
    hub.watch(viewer, Subscription("session", "spa"), now=0)
    times = []
    for second, one in enumerate(records):
        record = LiveRecord("spa", "anna", one.value, NOON_MS + one.at, behind_ms)
        hub.publish([record], now=60 * second)
        hub.expire(now=60 * second + 59)
        times.append(_times(viewer))
    return times


def _times(viewer: Viewer) -> list[int]:
    message = viewer.queue.take(now=0)
    if message is None:
        return []
    got = TelemetryMessage.FromString(message.payload(as_text=False))
    frames = [got.telemetry] if got.HasField("telemetry") else got.frames
    return [one.timestamp - NOON_MS for one in frames]


#: How a clock goes on from a frame to the next, beside the time that passed.
_JUMPS = [0] * 12 + [1, -5, -700, -999, -1_500, 400, 299_000, 301_000, -301_000, HOUR_MS, -HOUR_MS]
_JUMPS += [DAY_MS, -2 * DAY_MS, 40 * 365 * DAY_MS]
_STEPS = [6, 16, 16, 17, 33, 111, 950, 1_200, 5_000, 400_000]


@st.composite
def sessions(draw: st.DrawFn) -> list[Sent]:
    """Draw the records of a session: messages, facts, holes, late frames, jumps and pauses."""
    now, off, number, sent = 0, draw(st.sampled_from(_JUMPS)), 0, {}
    numbered, step, records = draw(st.booleans()), draw(st.sampled_from(_STEPS)), []
    for _ in range(draw(st.integers(1, 40))):
        clocks = []
        for _ in range(draw(st.sampled_from([1, 1, 1, 0, 2, 3]))):
            missing = draw(st.sampled_from([1, 1, 1, 1, 2, 5]))
            number, now = number + missing, now + missing * step
            off += draw(st.sampled_from(_JUMPS))
            sent[number] = now + off
            clocks.append((number if numbered else 0, now + off))
        if numbered and draw(st.integers(0, 7)) == 0:
            clocks = [_again(draw, number, sent)]
        now += draw(st.sampled_from([0, 0, 0, 0, 2_000, 90_000]))
        start = draw(st.sampled_from([None, None, 0, -HOUR_MS, 2 * HOUR_MS, off]))
        if clocks or start is not None:
            records.append(Sent(clocks, now + draw(st.integers(0, 300)), start))
    return records


def _again(draw: st.DrawFn, number: int, sent: dict[int, int]) -> tuple[int, int]:
    """Return a frame that was sent before, or one from a hole."""
    earlier = draw(st.integers(1, max(number, 1)))
    return earlier, sent.get(earlier, earlier * 16)


_CUTS = st.lists(st.sampled_from([1, 2, 3, 7, 20, -1, -2, -5]), min_size=1, max_size=6)


@settings(deadline=None, max_examples=30)
@given(sessions(), _CUTS, st.sampled_from([0, 0, 0, 40 * DAY_MS]))
@example([Sent([(n, 100 * n)], 100 * n) for n in (1, 2, 3)] + [Sent([(4, -9_000)], 400)], [3], 0)
def test_times_do_not_depend_on_batches_and_restarts(
    records: list[Sent], cuts: list[int], behind_ms: int
) -> None:
    """The usual step was forgotten at each batch and each restart, and kept for viewers."""
    live = seen(records, behind_ms)
    event(f"refused: {any(not t for t, r in zip(live, records, strict=True) if r.clocks)}")

    assert stored(records, [len(records)], behind_ms) == live
    assert stored(records, [-1], behind_ms) == live
    assert stored(records, cuts, behind_ms) == live


def test_a_recording_that_is_sent_quickly_keeps_its_late_frames() -> None:
    """It is ahead of the broker's clock, and no frame of it has jumped."""
    records = [Sent([(n, n * MINUTE_MS)], n) for n in (*range(1, 20), *range(21, 30), 20)]
    assert stored(records, [7]) == [[n * MINUTE_MS] for n in (*range(1, 20), *range(21, 30), 20)]
