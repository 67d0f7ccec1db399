"""What a GT3 car can do, and that the speed profile asks no more of it."""

from itertools import islice, pairwise

import pytest

from ingest.collectors.simulator.car import GRAVITY_MPS2, GT3, GT4
from ingest.collectors.simulator.circuit import val_sarine
from ingest.collectors.simulator.controls import shift
from ingest.collectors.simulator.lap import laps
from ingest.collectors.simulator.speed_profile import (
    Demand,
    brake_backwards,
    corner_energies,
    drive_forwards,
    smooth,
)


def flat_out(nodes: int) -> Demand:
    ones = [1.0] * nodes
    return Demand(ones, ones, ones, [95.0] * nodes, release_mps3=20, pickup_mps3=10)


def profile(curvature: list[float], *, speed_mps: float) -> list[float]:
    demand = flat_out(len(curvature))
    ceilings = brake_backwards(GT3, 2.0, curvature, demand, corner_energies(GT3, curvature, demand))
    energies, _ = drive_forwards(
        GT3, 2.0, curvature, demand, ceilings, energy=speed_mps**2 / 2, gaining_mps2=0
    )
    return [(2 * energy) ** 0.5 for energy in energies]


def test_top_speed_is_that_of_a_gt3_car():
    def surplus(speed_kmh: float) -> float:
        speed = speed_kmh / 3.6
        return GT3.best_drive_mps2(speed) - GT3.drag_per_m * speed**2 - GT3.rolling_mps2

    assert surplus(265) > 0 > surplus(295)


def test_engine_never_turns_faster_than_its_limit_at_top_speed():
    assert GT3.engine_rpm(290 / 3.6, 6) < GT3.highest_rpm


def test_downforce_lets_fast_corners_be_taken_faster():
    slow, fast = GT3.cornering_speed_mps(1 / 20), GT3.cornering_speed_mps(1 / 150)

    assert slow**2 / 20 / GRAVITY_MPS2 == pytest.approx(1.45, abs=0.1)
    assert fast**2 / 150 > 1.2 * slow**2 / 20
    assert GT3.cornering_speed_mps(1 / 10_000) == float("inf")


def test_cornering_speed_is_where_lateral_grip_ends():
    speed = GT3.cornering_speed_mps(1 / 60, grip=0.9)

    assert speed**2 / 60 == pytest.approx(GT3.lateral_limit_mps2(speed, grip=0.9))


def test_car_brakes_no_later_than_it_must_and_no_earlier():
    """From 260 km/h to a 20 m hairpin takes a GT3 car about 150 metres."""
    speeds = profile([0.0] * 200 + [1 / 20] * 20, speed_mps=72)

    braking_m = 2 * sum(1 for before, after in pairwise(speeds) if after < before - 0.01)
    assert speeds[-1] == pytest.approx(GT3.cornering_speed_mps(1 / 20), rel=0.005)
    assert 120 < braking_m < 200


def test_slow_car_is_not_slowed_for_a_corner():
    speeds = profile([0.0] * 10 + [1 / 60] * 20, speed_mps=8)

    assert speeds == sorted(speeds)


def test_smoothing_keeps_straight_lines():
    assert smooth([float(i) for i in range(20)]) == pytest.approx([float(i) for i in range(6, 14)])


def test_downshifts_come_one_by_one_under_braking():
    clock = [i * 0.05 for i in range(60)]
    gears = shift(GT3, clock, [72 - 15 * now for now in clock], [-15.0] * 60, gear=6)

    assert gears == sorted(gears, reverse=True)
    assert set(gears) == {6, 5, 4, 3, 2}
    assert all(
        GT3.engine_rpm(72 - 15 * now, gear) < 7500
        for now, gear in zip(clock[3:], gears[3:], strict=True)
    )


def test_the_lesser_car_takes_some_seconds_more():
    best, lesser = (
        next(islice(laps(val_sarine(), seed=3, car=car), 1, None)).time_s for car in (GT3, GT4)
    )

    assert best * 1.05 < lesser < best * 1.1
