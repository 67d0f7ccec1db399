"""Pauses grow between attempts, up to a limit, and chance only shortens them."""

import pytest

from ingest.backoff import Backoff


def test_pauses_double_up_to_the_longest() -> None:
    pauses = [Backoff(0.5, longest_s=4.0).pause_s(failures) for failures in range(7)]

    assert pauses == [0, 0.5, 1, 2, 4, 4, 4]


def test_failures_of_a_whole_night_overflow_nothing() -> None:
    assert Backoff(1.0, longest_s=30.0).pause_s(100_000) == 30
    assert Backoff(3.0).pause_s(100_000) > 1e18


@pytest.mark.parametrize(("jitter", "expected_s"), [(0.0, 8.0), (0.5, 6.0), (1.0, 4.0)])
def test_jitter_takes_at_most_half_of_a_pause(jitter: float, expected_s: float) -> None:
    assert Backoff(1.0).pause_s(4, jitter=jitter) == expected_s
