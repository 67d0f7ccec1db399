"""When frames are due."""

import pytest

from ingest.collectors.pacing import Pace, first_timestamp_ms


@pytest.mark.parametrize(("speed", "wait_s"), [(1, 2.0), (2, 1.0), (0.5, 4.0), (0, 0.0)])
def test_a_frame_two_seconds_later_is_due(speed, wait_s):
    assert Pace(10_000, 100.0, speed).wait_s(12_000, now=100.0) == wait_s


def test_a_late_frame_does_not_wait():
    assert Pace(10_000, 100.0, 1).wait_s(12_000, now=105.0) == 0


def test_lateness_does_not_add_up():
    """The frame after a late one is due when it always was."""
    assert Pace(10_000, 100.0, 1).wait_s(16_000, now=105.0) == pytest.approx(1.0)


@pytest.mark.parametrize("speed", [-1, float("nan"), float("inf")])
def test_a_speed_that_makes_no_sense(speed):
    with pytest.raises(ValueError, match="speed must be"):
        Pace(0, 0.0, speed)


@pytest.mark.parametrize(
    ("speed", "first"), [(1, 600_000), (0.5, 600_000), (2, 550_000), (0, 500_000)]
)
def test_a_session_played_fast_does_not_end_in_the_future(speed, first):
    """100 s, played from second 600 on."""
    assert first_timestamp_ms(100_000, speed=speed, now_ms=600_000) == first
