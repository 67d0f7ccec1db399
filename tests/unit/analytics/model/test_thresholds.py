"""What a game sends as the threshold has reached it, though frames hold float32 and constants
float64.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest

from analytics.comparison.corner_metrics import cornering
from analytics.comparison.corners import Corners, find_corners
from analytics.comparison.trace import Axis, Trace
from analytics.files.summaries import laps_of
from analytics.model.thresholds import threshold


@pytest.mark.parametrize("value", [0.02, 0.05, 0.2, 0.9, 0.95, 0.98])
def test_both_kinds_of_a_number_reach_it(value: float) -> None:
    assert np.float64(np.float32(value)) >= threshold(value)
    assert value >= threshold(value)
    assert np.float64(np.nextafter(np.float32(threshold(value)), np.float32(0))) < threshold(value)


def a_lap(full: float) -> Trace:
    """One corner at 500 m, driven into and out of at ``full`` throttle."""
    axis = Axis(1000.0)
    at = axis.distance_m
    throttle = np.where((at > 400) & (at < 600), 0.0, np.float64(np.float32(full)))
    brake = np.where((at > 420) & (at < 500), np.float64(np.float32(0.2)), 0.0)
    speed = 200 - 100 * np.exp(-(((at - 500) / 60) ** 2))
    time_s = np.concatenate([[0.0], np.cumsum(3.6 / speed[1:])])
    zero = np.zeros(len(at))
    return Trace(
        axis, time_s, {"speed_kmh": speed, "throttle": throttle, "brake": brake, "steering": zero}
    )


def measured(laps: Sequence[Trace]) -> tuple[Corners, dict[str, np.ndarray]]:
    corners = find_corners(laps)
    driven = cornering(laps, corners)
    return corners, {
        name: driven[name] for name in ("lift_m", "full_throttle_m", "brake_m", "throttle_m")
    }


def test_throttle_of_95_percent_is_full_and_a_brake_of_20_percent_is_meant() -> None:
    _, found = measured([a_lap(0.95)] * 3)

    assert found["lift_m"].ravel() == pytest.approx(400, abs=1.5)
    assert found["full_throttle_m"].ravel() == pytest.approx(600, abs=1.5)
    assert found["brake_m"].ravel() == pytest.approx(421, abs=1.5)


def test_shares_of_a_lap_hold_the_threshold_itself() -> None:
    """0.02 of the brake is braking: as a float32 it is 0.0199999995."""
    count = 10
    columns = {
        "time": pa.array(np.arange(count) * 20_000, pa.timestamp("us", tz="UTC")),
        "lap_number": pa.array(np.ones(count, np.int32)),
        "rpm": pa.array(np.full(count, 7000, np.int32)),
        "throttle": pa.array(np.full(count, 0.98, np.float32)),
        "brake": pa.array(np.full(count, 0.02, np.float32)),
        **{
            name: pa.array(np.zeros(count, np.float32))
            for name in ("speed_kmh", "steering", "x_m", "z_m")
        },
    }
    (lap,) = laps_of(pa.table(columns), [])

    assert (lap.full_throttle_share, lap.braking_share) == (1.0, 1.0)
