"""Insights held against what simulated drivers are: a claim is true if the driver of whom it is told is one who does that."""

import pytest

from analytics.insights import Difference, Insight
from ingest.collectors.driver import driver
from tests.bench.insight_truth import Claim, claims, spoken_of_nothing
from tests.unit.test_insights import CORNERS, a_driver

LATE, EARLY = sorted((driver(1), driver(2)), key=lambda one: -one.braking)


def apart(measure: str, size: float) -> Difference:
    return Difference(measure, size, size, size, 6, 6, 0.0, 0.01)


@pytest.mark.parametrize(("size", "is_true"), [(8.0, True), (-8.0, False)])
def test_who_uses_more_of_the_brakes_brakes_later(size: float, is_true: bool) -> None:
    told = Insight(CORNERS.corners[0], apart("time_s", -0.1), (apart("brake_m", size), apart("throttle_m", 5.0)))

    assert list(claims([told], LATE, EARLY)) == [Claim("brake_m", is_true)]
    assert list(claims([told], EARLY, LATE)) == [Claim("brake_m", not is_true)]


def test_of_a_driver_and_himself_hardly_anything_is_said() -> None:
    assert spoken_of_nothing(a_driver(1, laps=14), 20) <= 3
