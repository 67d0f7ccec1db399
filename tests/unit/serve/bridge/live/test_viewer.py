"""What a slow viewer misses, what it never misses, and when it has to go."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.telemetry_pb2 import Lap, Status, TelemetryMessage
from serve.bridge.live.client_messages import Reply
from serve.bridge.live.outgoing import OutgoingMessage
from serve.bridge.live.viewer import TOO_SLOW, Close, Patience, Viewer, ViewerQueue

SMALL = Patience(
    waiting_messages=4, waiting_bytes=10_000, kept_bytes=1_000, stalled_s=10.0, report_every_s=1.0
)


def frame(name, session="car-1", size=10):
    return OutgoingMessage(name.ljust(size).encode(), session=session, frames=1)


def lap(number, session="car-1"):
    message = TelemetryMessage(lap=Lap(lap_number=number), session_id=session)
    return OutgoingMessage(message.SerializeToString(), session=session)


def names(messages):
    return [m.binary.decode().strip() for m in messages]


def drain(queue, *, now=0.0):
    taken = []
    while (message := queue.take(now=now)) is not None:
        taken.append(message)
    return taken


def told(message):
    """The status that a message carries."""
    parsed = TelemetryMessage.FromString(message.binary)
    assert parsed.HasField("status")
    return parsed.status


@pytest.fixture
def queue():
    return ViewerQueue(SMALL)


def test_a_viewer_that_keeps_up_gets_every_frame_in_order(queue):
    for name in "abc":
        queue.offer(frame(name), now=0.0)

    assert names(drain(queue)) == ["a", "b", "c"]


def test_a_viewer_behind_gets_the_newest_frame_of_each_car(queue):
    for name in "abcdef":
        queue.offer(frame(name + "1", "car-1"), now=0.0)
        queue.offer(frame(name + "2", "car-2"), now=0.0)

    newest = [m for m in drain(queue) if m.frames]

    assert names(newest) == ["f1", "f2"]


def test_a_viewer_behind_receives_how_much_it_missed(queue):
    for name in "abcdefgh":
        queue.offer(frame(name), now=0.0)

    first = queue.take(now=0.0)

    assert told(first) == Status(state="live", missed_frames=7)


def test_what_was_missed_is_reported_once_a_second_and_when_all_is_sent(queue):
    """A viewer on a slow line hears about it, but not with every frame."""
    for name in "abcdefgh":
        queue.offer(frame(name), now=0.0)
    queue.take(now=0.0)
    queue.offer(frame("i"), now=0.1)

    assert names([queue.take(now=0.2)]) == ["i"]
    assert told(queue.take(now=0.3)).missed_frames == 1
    assert queue.take(now=0.4) is None


def test_a_viewer_that_caught_up_gets_every_frame_again(queue):
    for name in "abcdefgh":
        queue.offer(frame(name), now=0.0)
    drain(queue)

    for name in "xyz":
        queue.offer(frame(name), now=1.0)

    assert names(drain(queue, now=1.0)) == ["x", "y", "z"]


def test_laps_survive_where_frames_are_missed(queue):
    for number in range(1, 20):
        queue.offer(frame(f"frame {number}"), now=0.0)
        queue.offer(lap(number), now=0.0)

    laps = [
        TelemetryMessage.FromString(m.binary).lap.lap_number
        for m in drain(queue)
        if m.binary[:1] == b"\x1a"
    ]

    assert laps == list(range(1, 20))


def test_large_frames_count_by_their_bytes(queue):
    queue.offer(frame("a", size=6_000), now=0.0)
    queue.offer(frame("b", size=6_000), now=0.0)

    assert queue.behind


def test_a_viewer_that_takes_nothing_is_closed(queue):
    assert queue.offer(frame("a"), now=0.0) is None
    assert queue.offer(frame("b"), now=10.0) is None

    assert queue.offer(frame("c"), now=10.1) == TOO_SLOW


def test_a_viewer_that_takes_a_little_stays(queue):
    """A phone on a bad line sees less of the race, but it sees it."""
    for second in range(100):
        for _ in range(60):
            assert queue.offer(frame("a"), now=float(second)) is None
        queue.take(now=float(second))


def test_a_quiet_hour_is_no_stall(queue):
    queue.offer(frame("a"), now=0.0)
    drain(queue, now=0.0)

    assert queue.offer(frame("b"), now=3600.0) is None


def test_too_many_replies_close_a_viewer_that_reads_none(queue):
    replies = [queue.offer(Reply("error", error="x" * 100), now=0.0) for _ in range(20)]

    assert TOO_SLOW in replies


def test_a_close_prints_as_code_and_reason():
    assert str(Close(4008, "too slow")) == "4008 (too slow)"


def test_a_viewer_that_must_go_is_not_woken():
    said = []
    viewer = Viewer(
        as_text=False,
        wake=lambda: said.append("wake"),
        close=lambda c: said.append(str(c)),
        queue=ViewerQueue(SMALL),
    )

    assert viewer.offer(frame("a"), now=0.0)
    assert not viewer.offer(frame("b"), now=60.0)
    assert said == ["wake", "4008 (too slow)"]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("frame"), st.integers(0, 3)), st.just(("lap", 0)), st.just(("take", 0))
    )
)


@given(STEPS)
def test_every_frame_is_sent_or_counted_as_missed(steps):
    """Whatever a viewer reads and when: nothing vanishes silently, order holds within a car, and
    little waits.
    """
    queue = ViewerQueue(SMALL)
    offered, out = 0, []
    for number, (step, car) in enumerate(steps):
        if step == "frame":
            queue.offer(frame(f"{number}", f"car-{car}"), now=0.0)
            offered += 1
        elif step == "lap":
            queue.offer(lap(number + 1), now=0.0)
        elif (message := queue.take(now=0.0)) is not None:
            out.append(message)
        frames_waiting = sum(1 for m in (*queue._waiting, *queue._newest.values()) if m.frames)
        assert frames_waiting <= max(SMALL.waiting_messages, 4)
    out += drain(queue)

    sent = [m for m in out if m.frames]
    missed = sum(told(m).missed_frames for m in out if not m.frames and m.binary[:1] == b"\x22")
    assert len(sent) + missed == offered
    for car in range(4):
        numbers = [int(n) for n in names([m for m in sent if m.session == f"car-{car}"])]
        assert numbers == sorted(numbers)
