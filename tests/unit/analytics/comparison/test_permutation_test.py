"""What chance explains: equal values are no difference, however the laps are ordered, and a planted
one is.
"""

import numpy as np
import pytest

from analytics.comparison.permutation_test import null_distribution


def chances(values: np.ndarray, ours: int, draw: np.random.Generator) -> np.ndarray:
    """The probability of each column, corrected over all; every column is of one measure."""
    columns = np.arange(values.shape[1])
    return null_distribution(values, ours, np.zeros_like(columns), draw).probabilities(
        list(columns)
    )


def probability(ours: list[float], reference: list[float]) -> float:
    values = np.array([*ours, *reference])[:, None]
    (chance,) = chances(values, len(ours), np.random.default_rng(0)).tolist()
    return float(chance)


def test_values_that_are_all_equal_are_no_difference() -> None:
    assert probability([1.0] * 8, [1.0] * 8) == 1


def test_coarse_values_are_not_ordered_by_whose_they_are() -> None:
    """Seven of twelve against five of twelve: a coin does that, and more, in two of three throws of
    so many coins.
    """
    more, fewer = [1.0] * 7 + [1.05] * 5, [1.0] * 5 + [1.05] * 7

    assert probability(more, fewer) == pytest.approx(0.68, abs=0.05)
    assert probability(fewer, more) == pytest.approx(0.68, abs=0.05)


def test_sets_that_do_not_overlap_are_hardly_chance() -> None:
    """Of the 924 ways to take six of twelve two are so far apart."""
    assert probability([1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12]) <= 0.006


def test_more_that_is_looked_at_makes_each_less_sure() -> None:
    draw = np.random.default_rng(1)
    values = draw.normal(0, 1, (16, 1)) + 1.2 * (np.arange(16) < 8)[:, None]
    (alone,) = chances(values, 8, np.random.default_rng(0))

    among = chances(np.hstack([values, draw.normal(0, 1, (16, 40))]), 8, np.random.default_rng(0))[
        0
    ]

    assert alone < among


def test_what_a_lap_has_not_is_left_out() -> None:
    """A corner that three laps took without the brake is told by the others alone."""
    with_gaps = probability([1, 2, 3, 4, 5, 6, np.nan], [7, 8, 9, 10, 11, 12, np.nan, np.nan])

    assert with_gaps <= 0.02
    assert probability([np.nan] * 6, [1, 2, 3, 4, 5, 6]) == 1


def test_four_against_four_can_be_rare() -> None:
    """Two of the 70 ways to take four of eight are so far apart, and no exchange is drawn twice."""
    assert probability([1, 2, 3, 4], [7, 8, 9, 10.5]) == pytest.approx(2 / 70)


def test_three_against_three_are_judged_by_the_spread_of_all_columns() -> None:
    """Two of 20 exchanges are no proof; a difference of 30 times the spread that other corners show
    is one.
    """
    noise = np.random.default_rng(3).normal(0, 1, (6, 12))
    large, small = noise.copy(), noise.copy()
    large[:3, 0] += 30
    small[:, 0] = [1.2, 1.9, 2.4, 0.1, 0.6, 1.1]

    assert chances(large, 3, np.random.default_rng(0))[0] <= 0.01
    assert chances(small, 3, np.random.default_rng(0))[0] > 0.05


def test_three_that_overlap_three_are_no_difference() -> None:
    noise = np.random.default_rng(3).normal(0, 1, (6, 12))
    noise[0, 0] += 200

    assert chances(noise, 3, np.random.default_rng(0))[0] == 1
