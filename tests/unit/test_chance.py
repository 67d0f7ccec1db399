"""What chance explains: equal values are no difference, however the laps are ordered, and a planted one is."""

import numpy as np
import pytest

from analytics.chance import chances


def told(ours: list[float], reference: list[float]) -> float:
    values = np.array([*ours, *reference])[:, None]
    (chance,) = chances(values, len(ours), np.random.default_rng(0)).tolist()
    return float(chance)


def test_values_that_are_all_equal_are_no_difference() -> None:
    assert told([1.0] * 8, [1.0] * 8) == 1


def test_coarse_values_are_not_ordered_by_whose_they_are() -> None:
    """Seven of twelve against five of twelve: a coin does that, and more, in two of three throws of so many coins."""
    more, fewer = [1.0] * 7 + [1.05] * 5, [1.0] * 5 + [1.05] * 7

    assert told(more, fewer) == pytest.approx(0.68, abs=0.05)
    assert told(fewer, more) == pytest.approx(0.68, abs=0.05)


def test_sets_that_do_not_overlap_are_hardly_chance() -> None:
    """Of the 924 ways to take six of twelve two are so far apart."""
    assert told([1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12]) <= 0.006


def test_more_that_is_looked_at_makes_each_less_sure() -> None:
    draw = np.random.default_rng(1)
    values = draw.normal(0, 1, (16, 1)) + 1.2 * (np.arange(16) < 8)[:, None]
    (alone,) = chances(values, 8, np.random.default_rng(0))

    among = chances(np.hstack([values, draw.normal(0, 1, (16, 40))]), 8, np.random.default_rng(0))[0]

    assert alone < among


def test_what_a_lap_has_not_is_left_out() -> None:
    """A corner that three laps took without the brake is told by the others alone."""
    with_gaps = told([1, 2, 3, 4, 5, 6, np.nan], [7, 8, 9, 10, 11, 12, np.nan, np.nan])

    assert with_gaps <= 0.02
    assert told([np.nan] * 6, [1, 2, 3, 4, 5, 6]) == 1
