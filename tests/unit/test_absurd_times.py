"""Times that a session or the clock rules out: one broken clock must not fill the database with chunks."""

from collections.abc import Mapping

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ingest.decode import Decoded, decode, reject_absurd_times
from ingest.telemetry_pb2 import Session, TelemetryMessage
from tests.unit.frames import NOON_MS, frame

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
SPA_SINCE_NOON = {"spa": NOON_MS}


def at(*offsets_ms: int) -> bytes:
    """One record with frames at these times after noon."""
    driven = [frame(timestamp=NOON_MS + o) for o in offsets_ms]
    return driven[0].SerializeToString() if len(driven) == 1 else TelemetryMessage(frames=driven).SerializeToString()


def judged(values: list[bytes], starts: Mapping[str, int], *, now_ms: int = NOON_MS, key: bytes = b"spa") -> Decoded:
    return reject_absurd_times(decode(values, [key] * len(values)), starts, now_ms=now_ms)


def reasons(*args, **kwargs) -> list[tuple[int, str]]:
    return [(r.record, r.reason) for r in judged(*args, **kwargs).rejected]


def test_clock_may_be_five_minutes_ahead():
    assert reasons([at(5 * MINUTE_MS), at(5 * MINUTE_MS + 1)], SPA_SINCE_NOON) == [
        (1, f"time: {NOON_MS + 5 * MINUTE_MS + 1} is 300 s ahead of the clock here")
    ]


def test_frame_may_be_an_hour_before_the_start():
    assert reasons([at(-HOUR_MS), at(-HOUR_MS - 1)], SPA_SINCE_NOON) == [
        (1, f"time: {NOON_MS - HOUR_MS - 1} is 3600 s before its session's start")
    ]


def test_recorded_session_of_years_ago_is_fine():
    """A replay keeps its own times."""
    long_ago = [at(-5 * 365 * 24 * HOUR_MS + i) for i in range(3)]
    assert judged(long_ago, {}).frames.num_rows == 3


def test_new_session_starts_at_its_first_acceptable_frame():
    """The first record is from a broken clock; the second says when the session started."""
    answer = judged([at(HOUR_MS), at(0), at(-2 * HOUR_MS), at(1)], {})
    assert [r.record for r in answer.rejected] == [0, 2]
    assert answer.frames["record"].to_pylist() == [1, 3]


def test_known_start_counts_more_than_the_first_frame():
    assert [r for r, _ in reasons([at(-2 * HOUR_MS), at(0)], SPA_SINCE_NOON)] == [0]


def test_record_is_rejected_with_all_its_frames():
    answer = judged([at(0, HOUR_MS, 1), at(2)], SPA_SINCE_NOON)
    assert [r.record for r in answer.rejected] == [0]
    assert answer.frames["record"].to_pylist() == [1]


def test_start_of_the_facts_is_judged_too():
    def facts(started_at: int) -> bytes:
        return TelemetryMessage(session=Session(track="Spa", started_at=started_at)).SerializeToString()

    answer = judged([facts(NOON_MS), facts(0), facts(NOON_MS + HOUR_MS)], {})
    assert [f.record for f in answer.facts] == [0, 1]
    assert [r.reason for r in answer.rejected] == [
        f"facts: started_at: {NOON_MS + HOUR_MS} is 3600 s ahead of the clock here"
    ]


def test_session_left_with_nothing_is_gone():
    decoded = decode([at(HOUR_MS), at(0)], [b"broken clock", b"spa"])
    answer = reject_absurd_times(decoded, {}, now_ms=NOON_MS)
    assert answer.sessions == ["spa"]
    assert answer.frames["session"].to_pylist() == [0]


def test_earlier_rejections_are_kept():
    assert [r for r, _ in reasons([b"\x0c", at(HOUR_MS), at(0)], SPA_SINCE_NOON)] == [0, 1]


def test_nothing_to_judge():
    assert judged([], {}).rejected == []


@given(
    st.lists(st.tuples(st.integers(-3, 3), st.sampled_from([b"spa", b"monza"])), max_size=12),
    st.dictionaries(st.sampled_from(["spa", "monza"]), st.integers(-2, 2)),
)
def test_it_is_the_rule_record_by_record(sent, known):
    """Times in steps of 31 minutes around noon, judged one after the other."""
    step = 31 * MINUTE_MS
    decoded = decode([at(t * step) for t, _ in sent], [key for _, key in sent])
    answer = reject_absurd_times(decoded, {key: NOON_MS + s * step for key, s in known.items()}, now_ms=NOON_MS)
    starts, kept = dict(known), []
    for record, (t, key) in enumerate(sent):
        if t <= 0 and t * step >= starts.setdefault(key.decode(), t) * step - HOUR_MS:
            kept.append(record)
    assert answer.frames["record"].to_pylist() == kept
    assert np.array_equal(answer.frames["session"], [answer.sessions.index(sent[r][1].decode()) for r in kept])
