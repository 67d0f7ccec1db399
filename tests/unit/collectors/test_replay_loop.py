"""The loop of a collector, on a clock that only moves when somebody sleeps."""

import os
import signal

import pytest

from ingest.collectors.delivery.statistics import Statistics
from ingest.collectors.pacing import Pace
from ingest.collectors.replay_loop import STEP_S, collect, stop_on_signals
from ingest.telemetry_pb2 import TelemetryFrame


class Track:
    """A place for frames that remembers when each came; ``room`` is how many it takes before it is
    full.
    """

    def __init__(self, room=1000):
        self.now = 50.0
        self.room = room
        self.arrived = []

    @property
    def has_room(self):
        return self.room > 0

    @property
    def statistics(self):
        return Statistics(frames_collected=len(self.arrived))

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds

    def poll(self, timeout_s):
        self.now += timeout_s
        if timeout_s:
            self.room = 1

    def send(self, frame):
        self.room -= 1
        self.arrived.append((self.now - 50.0, frame.timestamp))


def frames(*timestamps):
    return [TelemetryFrame(timestamp=t) for t in timestamps]


def drive(track, driven, *, speed=1.0, stop=lambda: False, **more):
    collect(driven, track, speed=speed, stop=stop, clock=track.clock, sleep=track.sleep, **more)


@pytest.mark.parametrize(
    ("speed", "seconds"), [(1, [0, 0.5, 2]), (4, [0, 0.125, 0.5]), (0, [0, 0, 0])]
)
def test_frames_are_sent_when_they_are_due(speed, seconds):
    track = Track()
    drive(track, frames(1000, 1500, 3000), speed=speed)

    assert [at for at, _ in track.arrived] == pytest.approx(seconds)


def test_a_full_sender_is_waited_for():
    track = Track(room=1)
    drive(track, frames(1, 2, 3), speed=0)

    assert [t for _, t in track.arrived] == [1, 2, 3]
    assert track.now == pytest.approx(50 + 2 * STEP_S)


def test_stop_is_received_in_the_middle_of_a_pause():
    """A driver stood in the pits for an hour; Ctrl-C ends the replay at once."""
    track = Track()
    drive(track, frames(0, 3_600_000), stop=lambda: track.now > 52)

    assert [t for _, t in track.arrived] == [0]
    assert track.now < 52 + 2 * STEP_S


def test_statistics_are_reported_now_and_then_and_at_the_end():
    track, seen = Track(), []
    drive(track, frames(*range(0, 25_000, 1000)), report=lambda s: seen.append(s.frames_collected))

    assert seen == [11, 21, 25]


def test_no_frames_are_a_session_too():
    seen = []
    drive(Track(), [], report=seen.append)

    assert seen == [Statistics()]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_requests_to_stop_and_the_second_acts_as_ever(number):
    before = signal.getsignal(number)
    with stop_on_signals() as stop:
        assert not stop()
        os.kill(os.getpid(), number)
        assert stop()
        assert signal.getsignal(number) == before
    assert signal.getsignal(number) == before


def test_a_pace_that_began_earlier_makes_up_for_it():
    """Of a live car: what was due while its first lap was planned goes at once, and the next ones
    at their own time.
    """
    track = Track()
    drive(track, frames(1000, 1016, 1033, 1050), pace=Pace(1000, 50.0 - 0.025, 1.0))

    assert [at for at, _ in track.arrived] == pytest.approx([0, 0, 0.008, 0.025])
