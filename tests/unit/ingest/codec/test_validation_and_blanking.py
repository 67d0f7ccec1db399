"""Columns and single frames are judged alike: what ingest stores, viewers see, however frames come
in batches.
"""

import numpy as np
import pyarrow as pa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from analytics.model.channels import CHANNELS
from ingest.batching.clock_corrections import place_in_time
from ingest.batching.sequence_set import SequenceSet
from ingest.batching.write_batch import OpenSession
from ingest.codec.blanking import blank_implausible, record_fault
from ingest.codec.decode import decode
from ingest.codec.session_times import Placing, SessionTimes
from ingest.codec.timestamps import time_fault
from ingest.telemetry_pb2 import TelemetryFrame
from serve.bridge.live.hub import Hub, LiveRecord
from tests.unit.frames import ANY_FRAME, DRIVEN_FRAME, NOON_MS, frame

#: Frames that are nearly empty, or have times and sequences at the edges, beside any.
_BARE = st.builds(
    TelemetryFrame,
    timestamp=st.sampled_from([0, 1, NOON_MS // 1000, NOON_MS, -1, 2**62]),
    sequence=st.sampled_from([-1, 0, 1, 2**53 - 1, 2**53]),
    lap_number=st.sampled_from([-1, 0, 1]),
    rpm=st.sampled_from([-62, 0, 7000]),
)
FRAMES = st.lists(ANY_FRAME | DRIVEN_FRAME | _BARE, min_size=1, max_size=8)


@settings(max_examples=40, deadline=None)
@given(FRAMES)
@example([frame(timestamp=-1)])
@example([frame(timestamp=1, throttle=-0.0)])
def test_a_batch_refuses_the_frames_that_are_refused_one_by_one(
    frames: list[TelemetryFrame],
) -> None:
    """Values of no frame, empty ones, impossible times and sequences."""
    values = [one.SerializeToString() for one in frames]
    refused = {rejected.record for rejected in decode(values, [b"a"] * len(values)).rejected}
    hubs = [Hub() for _ in values]
    for hub, value in zip(hubs, values, strict=True):
        hub.publish([LiveRecord("a", "anna", value, NOON_MS)], now=0.0)

    assert refused == {
        i for i, one in enumerate(frames) if record_fault(one) or time_fault(one.timestamp)
    }
    assert refused == {i for i, hub in enumerate(hubs) if hub.unreadable}


@settings(max_examples=40, deadline=None)
@given(st.lists(ANY_FRAME, min_size=1, max_size=8))
def test_a_batch_blanks_the_values_that_are_blanked_one_by_one(
    frames: list[TelemetryFrame],
) -> None:
    for n, one in enumerate(frames):
        one.timestamp, one.sequence = NOON_MS + n, n + 1
    stored = decode([one.SerializeToString() for one in frames], [b"a"] * len(frames))
    blanked = [blank_implausible(one) for one in frames]

    assert sum(stored.blanked.values()) == sum(map(len, blanked))
    for channel in CHANNELS:
        unknown = [
            channel.wire in names or (channel.optional and not getattr(one, channel.wire))
            for one, names in zip(frames, blanked, strict=True)
        ]
        assert stored.frames[channel.name].is_null().to_pylist() == unknown, channel.name


#: How a clock goes on from a frame to the next, ms: as it should, to and fro, by minutes, by years.
_STEP = st.sampled_from(
    [
        16,
        16,
        16,
        16,
        17,
        0,
        -5,
        -1_500,
        -999,
        400,
        299_000,
        301_000,
        -301_000,
        4_000_000,
        31_536_000_000,
    ]
)
_STEPS = st.lists(
    st.tuples(_STEP, st.sampled_from([16, 16, 16, 20, 700, 5_000])), min_size=1, max_size=30
)
_BEGUN = st.sampled_from([0, -3_000, 250_000, 360_000, -7_200_000, 86_400_000_000])


def stored_times(times_ms: list[int], appended_ms: list[int]) -> list[int]:
    """As a worker places the frames of one batch."""
    values = [
        frame(timestamp=time_ms, sequence=n).SerializeToString()
        for n, time_ms in enumerate(times_ms, 1)
    ]
    decoded = decode(values, [b"a"] * len(values))
    decoded, _ = place_in_time(
        decoded, {"a": OpenSession(1, "a", SequenceSet())}, np.array(appended_ms)
    )
    times: list[int] = (decoded.frames["time"].cast(pa.int64()).to_numpy() // 1000).tolist()
    return times


@settings(deadline=None)
@given(_BEGUN, _STEPS)
@example(0, [(-5, 16), (-999, 16)])
def test_a_clock_is_put_right_in_a_batch_as_it_is_frame_by_frame(
    begun_ms: int, steps: list[tuple[int, int]]
) -> None:
    """`place_in_time` looks at columns first, and at frames only where a column is suspicious;
    viewers' frames come one by one.

    A clock that went back in two steps of less than a second each was put right for viewers only.
    """
    times_ms = (NOON_MS + begun_ms + np.cumsum([0, *(clock for clock, _ in steps)])).tolist()
    appended_ms = (NOON_MS + 40 + np.cumsum([0, *(passed for _, passed in steps)])).tolist()
    placing = Placing(SessionTimes())
    live = [
        placing.place(n, raw, at)
        for n, (raw, at) in enumerate(zip(times_ms, appended_ms, strict=True), 1)
    ]

    assert [fault for _, fault in live] == [None] * len(live)
    assert stored_times(times_ms, appended_ms) == [placed for placed, _ in live]
