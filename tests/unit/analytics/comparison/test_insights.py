"""Insights: planted differences are found with their size, and where there are none nothing is
said.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from analytics.comparison.corner_metrics import CornerMetrics, cornering
from analytics.comparison.corners import Corner, Corners
from analytics.comparison.insights import LEAST_LAPS, insights
from analytics.comparison.trace import Axis, Trace

AXIS = Axis(2000.0)
APEXES_M = (400.0, 900.0, 1500.0)
SLOWEST_KMH = (90.0, 120.0, 75.0)
BRAKING_MPS2, PULLING_MPS2 = 14.0, 6.0
TOP_KMH = 220.0
CORNERS = Corners(
    AXIS,
    "position",
    1,
    tuple(
        Corner(i + 1, begin, apex - 40, apex, apex + 60, end, "left")
        for i, (begin, apex, end) in enumerate(
            zip((0, 650, 1200), APEXES_M, (650, 1200, 2000), strict=True)
        )
    ),
)


def a_lap(
    early_m: np.ndarray, slowest_kmh: np.ndarray, late_m: Sequence[float] | np.ndarray = (0, 0, 0)
) -> Trace:
    """A point mass that brakes so many metres too early for each corner, and holds its slowest
    speed until the apex, or until so many metres behind it.
    """
    at = AXIS.distance_m
    energy = np.full(len(at), (TOP_KMH / 3.6) ** 2)
    braking = np.zeros(len(at), bool)
    coasting = np.zeros(len(at), bool)
    for apex, early, slowest, late in zip(APEXES_M, early_m, slowest_kmh, late_m, strict=True):
        ahead, behind = np.maximum(apex - early - at, 0), np.maximum(at - apex - late, 0)
        coasting |= (at >= apex) & (at < apex + late)
        limit = (slowest / 3.6) ** 2 + 2 * (BRAKING_MPS2 * ahead + PULLING_MPS2 * behind)
        braking |= (limit < energy) & (ahead > 0)
        energy = np.minimum(energy, limit)
    speed_mps = np.sqrt(energy)
    slowness = 1 / speed_mps
    time_s = np.concatenate([[0], np.cumsum((slowness[1:] + slowness[:-1]) / 2 * np.diff(at))])
    pulling = (
        np.append(np.diff(energy) >= 0, True)
        & ~braking
        & ~coasting
        & ((np.append(np.diff(energy), 1) > 0) | (speed_mps > 61))
    )
    channels = {"speed_kmh": 3.6 * speed_mps, "brake": braking * 0.8, "throttle": pulling * 1.0}
    return Trace(AXIS, time_s, channels)


def a_driver(
    seed: int, *, laps: int = 12, early_m: float = 0.0, slower_kmh: float = 0.0
) -> CornerMetrics:
    """Laps that scatter as people's do; what is planted is planted in the second corner."""
    draw = np.random.default_rng(seed)
    second = np.array([0.0, 1.0, 0.0])
    driven = [
        a_lap(
            5 + draw.normal(0, 2, 3) + early_m * second,
            SLOWEST_KMH + draw.normal(0, 0.8, 3) - slower_kmh * second,
        )
        for _ in range(laps)
    ]
    return cornering(driven, CORNERS)


LATE_M = 171.0


def a_late_driver(seed: int, how: str, *, laps: int, late_m: float = LATE_M) -> CornerMetrics:
    """Behind the second apex, the throttle comes so much later. Until then it is left alone, held
    at 15 or 60 %, or pressed for 20 m and left again.
    """
    draw = np.random.default_rng(seed)
    driven = []
    for _ in range(laps):
        late = np.maximum(draw.normal(8, 4, 3), 0) + late_m * np.array([0, 1, 0])
        lap = a_lap(5 + draw.normal(0, 2, 3), SLOWEST_KMH + draw.normal(0, 0.8, 3), late)
        behind_m = AXIS.distance_m - APEXES_M[1]
        early = (behind_m > 5) & (behind_m < late[1] - 5)
        pressed = {"left": 0.0, "held at 15 %": 0.15, "held at 60 %": 0.6}.get(how)
        touched = pressed if pressed is not None else np.where(behind_m < 25, 1.0, 0.0)
        throttle = np.where(early, touched, lap["throttle"])
        driven.append(replace(lap, channels={**lap.channels, "throttle": throttle}))
    return cornering(driven, CORNERS)


@pytest.mark.parametrize("laps", [3, 4, 6, 12])
@pytest.mark.parametrize("how", ["left", "held at 15 %", "held at 60 %", "pressed and left"])
def test_a_late_throttle_is_a_cause(how: str, laps: int) -> None:
    """Two seconds went without one: no single difference in driving stood out."""
    ours = a_late_driver(1, how, laps=laps)

    (found, *_) = said = insights(ours, a_late_driver(2, "left", laps=laps, late_m=0))

    sizes = {one.measure: one.size for one in found.driving}
    throttle = {"throttle_m", "full_throttle_m", "off_throttle_m"} & sizes.keys()
    assert str(found.corner) == "T2"
    assert 1.5 < found.time.low < 2.3
    assert throttle
    assert all(sizes[name] == pytest.approx(LATE_M, abs=75) for name in throttle)
    assert not any("no single difference" in str(one) for one in said)


def test_a_throttle_that_never_comes_before_the_next_corner_is_a_cause() -> None:
    """No place of it is known then."""
    ours = a_late_driver(1, "left", laps=4, late_m=320)

    (found, *_) = insights(ours, a_late_driver(2, "left", laps=4, late_m=0))

    assert "off the throttle for 2" in str(found)


def test_a_slow_approach_is_named_where_it_costs_the_time() -> None:
    """A late throttle costs time in the part of the next corner, too, which is driven alike."""
    ours = a_late_driver(1, "left", laps=6, late_m=260)

    said = insights(ours, a_late_driver(2, "left", laps=6, late_m=0))

    assert [str(one.corner) for one in said] == ["T2", "T3"]
    assert said[1].driving[0].measure == "approach_speed_kmh"
    assert " km/h slower on the approach" in str(said[1])


def test_braking_early_is_found_with_its_size() -> None:
    (found,) = insights(a_driver(1, early_m=8), a_driver(2))

    (braking,) = [d for d in found.driving if d.measure == "brake_m"]
    true_s = a_lap(np.array([5, 13, 5]), np.array(SLOWEST_KMH)).lap_time_s
    true_s -= a_lap(np.array([5, 5, 5]), np.array(SLOWEST_KMH)).lap_time_s
    assert str(found.corner) == "T2"
    assert braking.size == pytest.approx(-8, abs=2)
    assert braking.low <= -8 <= braking.high
    assert found.time.size == pytest.approx(true_s, abs=0.03)
    assert found.time.low <= true_s <= found.time.high
    assert str(found).startswith("T2: braking ")
    assert " m early" in str(found)
    assert "12 laps against 12" in str(found)


def test_a_slow_corner_is_found_and_the_costliest_comes_first() -> None:
    ours = a_driver(3, early_m=4, slower_kmh=6)

    found = insights(ours, a_driver(4))

    slowest = [d for d in found[0].driving if d.measure == "min_speed_kmh"]
    assert [str(one.corner) for one in found] == ["T2"]
    assert slowest[0].size == pytest.approx(-6, abs=1.5)
    assert [one.time.size for one in found] == sorted(
        (one.time.size for one in found), reverse=True
    )


def test_what_is_won_is_reported_too() -> None:
    (found,) = insights(a_driver(2), a_driver(1, early_m=8))

    assert found.time.size < 0
    assert " s won (" in str(found)


def test_nothing_is_found_where_nothing_is() -> None:
    """Twenty comparisons of a driver with himself: by chance one of them may speak, and two in a
    quarter of all such rows.
    """
    spoken = [bool(insights(a_driver(100 + i), a_driver(200 + i))) for i in range(20)]
    assert sum(spoken) <= 2


@pytest.mark.parametrize("laps", [3, 4, 5])
def test_few_laps_show_a_large_difference(laps: int) -> None:
    """From four laps a side every exchange is tried; with three the spread that all corners share
    decides.
    """
    found = insights(a_driver(1, laps=laps, early_m=60), a_driver(2, laps=laps))

    assert [str(one.corner) for one in found] == ["T2"]
    assert {"brake_m", "lift_m"} & {one.measure for one in found[0].driving}
    assert found[0].time.low > 0


@pytest.mark.parametrize(("laps", "most"), [(3, 3), (4, 3)])
def test_few_laps_of_one_driver_are_hardly_ever_distinguished(laps: int, most: int) -> None:
    """Thirty comparisons of a driver with himself; the seeds are fixed, so the count is."""
    found = [
        bool(insights(a_driver(100 + i, laps=laps), a_driver(200 + i, laps=laps)))
        for i in range(30)
    ]
    assert sum(found) <= most


def test_three_laps_that_overlap_show_nothing() -> None:
    """One slow lap of three makes a large mean, and is not a way of driving."""
    ours, reference = a_driver(1, laps=3), a_driver(2, laps=3)
    times = ours["time_s"].copy()
    times[0, 1] += 30.0

    assert (
        insights(replace(ours, measures=dict(ours.measures) | {"time_s": times}), reference) == []
    )


def test_a_loss_is_located_along_the_corner() -> None:
    """The parts add up to the loss; braking early loses before the apex, a slow apex before it and
    behind it.
    """
    (early,) = insights(a_driver(1, early_m=8), a_driver(2))
    slow = insights(a_driver(3, slower_kmh=6), a_driver(4))[0]

    for found in (early, slow):
        assert sum(part.time_s for part in found.parts) == pytest.approx(found.time.size, abs=1e-3)
    assert max(early.parts, key=lambda part: part.time_s).phase == "while braking"
    assert all(part.time_s > 0 for part in slow.parts[1:])
    assert str(early).endswith(" s of it while braking")


def test_a_loss_without_a_cause_is_located_all_the_same() -> None:
    """A car with less power loses on the straight, where no driver's input differs."""
    ours, reference = a_driver(1), a_driver(2)
    behind = np.where(AXIS.distance_m > 1000, (AXIS.distance_m - 1000) * 1e-3, 0.0).clip(0, 0.15)
    slower = tuple(replace(lap, time_s=lap.time_s + behind) for lap in ours.laps)

    (found,) = insights(cornering(slower, CORNERS), reference)

    assert found.driving == ()
    assert str(found).startswith("T2: no single difference in driving stands out; 0.1")
    assert {"on the throttle", "on the straight"} & {
        part.phase for part in found.parts if part.time_s > 0.03
    }


def test_a_longer_line_is_a_cause() -> None:
    """World positions show a wider line: the same place on the track, more metres driven."""
    draw = np.random.default_rng(7)

    def along(seed: int, wider: float) -> CornerMetrics:
        laps = []
        for lap in a_driver(seed).laps:
            bend = np.where(
                (AXIS.distance_m > 800) & (AXIS.distance_m < 1000),
                1 + wider + draw.normal(0, 0.002),
                1.0,
            )
            place = np.cumsum(bend * AXIS.distance_m[1])
            slower = np.concatenate([[0.0], np.diff(lap.time_s)]) * bend
            channels = {**lap.channels, "x_m": place, "z_m": np.zeros_like(place)}
            laps.append(replace(lap, time_s=np.cumsum(slower), channels=channels))
        return cornering(laps, CORNERS)

    (found,) = insights(along(1, 0.05), along(2, 0.0))

    (line,) = [one for one in found.driving if one.measure == "path_m"]
    assert line.size == pytest.approx(10, abs=1)
    assert "on a line 10 m longer" in str(found)


def test_two_laps_yield_nothing_whatever_they_show() -> None:
    few, many = a_driver(1, laps=LEAST_LAPS - 1, early_m=20), a_driver(2)

    assert insights(few, many) == []
    assert insights(many, few) == []


def test_the_same_laps_give_the_same_words() -> None:
    ours, reference = a_driver(1, early_m=8), a_driver(2)
    assert insights(ours, reference) == insights(ours, reference)


def test_no_size_is_reported_where_the_medians_are_not_apart() -> None:
    """Ranks are: half of ours are far slower, half of the reference's far faster, and in the middle
    both are the same.
    """
    ours, reference = a_driver(1, laps=30), a_driver(2, laps=30)
    halves = np.arange(30)[:, None] % 2 * [0.0, 1.0, 0.0]
    apart = [
        CornerMetrics(
            CORNERS,
            side.laps,
            {**side.measures, "time_s": np.ones((30, 3)) + sign * halves + noise},
        )
        for side, sign, noise in ((ours, 1, 0.0), (reference, -1, 0.001))
    ]

    assert insights(*apart) == []


def test_corners_must_be_the_same() -> None:
    ours = a_driver(1)
    other = CornerMetrics(Corners(AXIS, "speed", 1, CORNERS.corners[:2]), ours.laps, ours.measures)
    with pytest.raises(ValueError, match="find them once"):
        insights(ours, other)
