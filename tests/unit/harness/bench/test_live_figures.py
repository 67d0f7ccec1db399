"""The live bench's arithmetic: from instants to milliseconds."""

import pytest

from tests.bench.live_figures import Steps, figures, spread

STEPS = Steps(
    begun_s={"a": 100.0, "b": 100.01},
    rate_hz=50.0,
    sent_s={"a": [100.001, 100.022, 100.043], "b": [100.012, 100.033]},
)


def test_a_step_is_when_the_game_computed_it_and_not_when_it_was_sent():
    assert STEPS.between(100.0, 100.04) == {
        ("a", 1): (100.0, 100.001),
        ("a", 2): (100.02, 100.022),
        ("b", 1): (100.01, 100.012),
        ("b", 2): (100.03, 100.033),
    }


def test_steps_outside_of_the_time_that_counts_do_not():
    assert set(STEPS.between(100.02, 100.04)) == {("a", 2), ("b", 2)}


def test_each_viewer_counts_and_a_frame_that_nobody_got_is_missing():
    due = STEPS.between(100.0, 100.04)
    appended = {("a", 1): 100.003, ("a", 2): 100.024, ("b", 1): 100.014}
    viewed = [
        (("a", 1), 100.005),
        (("a", 1), 100.007),
        (("a", 2), 100.025),
        (("b", 1), 100.016),
        (("a", 3), 100.05),
    ]

    found = figures(due, appended, viewed)

    assert (found.frames, found.received, found.missing) == (4, 4, 1)
    assert found.latency_ms.max == pytest.approx(7.0)
    assert found.latency_ms.p50 == pytest.approx(5.5)
    assert found.hops_ms["step → sent"].max == pytest.approx(3.0)
    assert found.hops_ms["sent → broker's log"].max == pytest.approx(2.0)
    assert found.hops_ms["broker's log → socket"].max == pytest.approx(4.0)


def test_one_late_frame_of_a_thousand_is_the_maximum_and_not_the_99th_percentile():
    found = spread([0.002] * 999 + [0.5])

    assert (found.p50, found.p99, found.max) == pytest.approx((2.0, 2.0, 500.0))
