"""Insights held against what simulated drivers are, and against laps that insights have not
seen.
"""

from dataclasses import replace

import pytest

from analytics.comparison.insights import Difference, Insight
from ingest.collectors.simulator.driver import driver
from tests.bench.insight_truth import Claim, Driven, claims, spoken_of_nothing
from tests.unit.analytics.comparison.test_insights import CORNERS, a_driver

LATE, EARLY = sorted((driver(1), driver(2)), key=lambda one: -one.braking)


def apart(measure: str, size: float, within: float = 1.0) -> Difference:
    return Difference(measure, size, size - within, size + within, 6, 6, 0.0, 0.01)


@pytest.mark.parametrize(("size", "is_true"), [(8.0, True), (-8.0, False)])
def test_who_uses_more_of_the_brakes_brakes_later(size: float, is_true: bool) -> None:
    laps = a_driver(1, laps=14)
    late, early = Driven(LATE, laps, laps), Driven(EARLY, laps, laps)
    told = Insight(
        CORNERS.corners[0],
        apart("time_s", -0.1),
        (apart("brake_m", size), apart("throttle_m", 5.0)),
    )

    assert [one.as_they_are for one in claims([told], late, early)] == [is_true, None]
    assert [one.as_they_are for one in claims([told], early, late)] == [not is_true, None]


@pytest.mark.parametrize(
    ("size", "right_way", "in_interval"),
    [(8.0, True, True), (11.0, True, False), (-8.0, False, False)],
)
def test_a_claim_is_held_against_laps_it_has_not_seen(
    size: float, right_way: bool, in_interval: bool
) -> None:
    """The same laps, of which one driver's are braked 8 m later."""
    laps = a_driver(1, laps=14)
    later = replace(laps, measures=dict(laps.measures) | {"brake_m": laps["brake_m"] + 8.0})
    told = Insight(CORNERS.corners[0], apart("time_s", -0.1), (apart("brake_m", size),))

    (claim,) = claims([told], Driven(LATE, laps, later), Driven(EARLY, laps, laps))

    assert claim == Claim(apart("brake_m", size), size > 0, pytest.approx(8.0))
    assert (claim.right_way, claim.in_interval) == (right_way, in_interval)


def test_of_a_driver_and_himself_hardly_anything_is_reported() -> None:
    assert spoken_of_nothing(a_driver(1, laps=14), 20) <= 3
