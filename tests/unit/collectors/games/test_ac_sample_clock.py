"""When samples were taken: by the game's clock, held to ours."""

from itertools import pairwise

import pytest

from ingest.collectors.games.ac.handshake import LONGEST_PAUSE_S, SILENCE_S, HandshakeSchedule
from ingest.collectors.games.ac.sample_clock import LONGEST_DELAY_S, SampleClock
from ingest.collectors.games.ac.steering import SHARE_LOCK, USUAL_LOCK_DEG, Steering


def test_a_sample_that_came_late_was_not_taken_late():
    clock = SampleClock(now_s=10.0)

    assert clock.place_s(20, now_s=10.020) == pytest.approx(10.020)
    assert clock.place_s(20, now_s=10.075) == pytest.approx(10.040)
    assert clock.place_s(20, now_s=10.076) == pytest.approx(10.060)


def test_no_sample_was_taken_after_it_came():
    """The first was delayed; from the second on that is known."""
    clock = SampleClock(now_s=10.030)

    assert clock.place_s(20, now_s=10.021) == pytest.approx(10.021)
    assert clock.place_s(20, now_s=10.050) == pytest.approx(10.041)


def test_after_a_pause_time_restarts():
    clock = SampleClock(now_s=10.0)

    assert clock.place_s(20, now_s=10.030 + LONGEST_DELAY_S) == pytest.approx(
        10.030 + LONGEST_DELAY_S
    )


def test_a_delay_that_every_sample_has_is_taken_out():
    """A short pause, or a game that runs a little slow."""
    clock = SampleClock(now_s=0.0)

    lags_s = [0.02 * n - clock.place_s(18, now_s=0.02 * n) for n in range(1, 5000)]

    assert max(lags_s) < 0.5
    assert sum(lags_s) / len(lags_s) < 0.35
    assert min(lags_s) >= 0


def test_a_wheel_is_reported_in_shares_of_a_lock_that_only_grows():
    wheel = Steering(USUAL_LOCK_DEG)

    assert [wheel.share(deg) for deg in (45.0, -450.0, 600.0, 300.0)] == [0.1, -1.0, 1.0, 0.5]
    assert Steering(SHARE_LOCK).share(-0.25) == -0.25


@pytest.mark.parametrize("angle", [float("nan"), float("inf"), -1e9])
def test_what_is_no_angle_is_not_learnt_from(angle):
    wheel = Steering(USUAL_LOCK_DEG)

    assert not abs(wheel.share(angle)) <= 1
    assert wheel.share(450.0) == 1


def test_a_silent_game_is_requested_ever_more_seldom():
    handshakes, now_s, sent_s = HandshakeSchedule(), 0.0, []
    while now_s < 30:
        if handshakes.due(now_s):
            handshakes.begin(now_s)
            sent_s.append(now_s)
        now_s += 0.1

    pauses_s = [round(after - before, 1) for before, after in pairwise(sent_s)]
    assert sent_s[0] == 0
    assert pauses_s[:2] == pytest.approx([SILENCE_S, 2 * SILENCE_S], abs=0.11)
    assert pauses_s[2:] == pytest.approx([LONGEST_PAUSE_S] * len(pauses_s[2:]), abs=0.11)


def test_a_game_that_talks_is_not_requested():
    handshakes = HandshakeSchedule()
    assert handshakes.begin(0.0), "to forget an earlier listener with our port"
    for step in range(600):
        handshakes.received(step / 60)
        assert not handshakes.due(step / 60 + 0.9)
    assert handshakes.due(10 + 1.1)
    assert not handshakes.begin(11.1), "it may still know us"
    assert handshakes.begin(12.2)
