"""The time inside a lap: by whichever clock the car agrees with."""

import numpy as np
import pyarrow as pa
import pytest

from analytics.comparison.trace import Axis, resample
from analytics.laps.elapsed_time import elapsed_s
from analytics.model.arrays import Reals

LAP_S = 90.0
RATE_HZ = 60


def driven() -> tuple[Reals, Reals, Reals]:
    """Time, share of the lap and speed of a lap at 60 Hz, with two slow corners."""
    time_s = np.arange(0.004, LAP_S, 1 / RATE_HZ)
    at = time_s / LAP_S
    share = at + 0.06 * np.sin(4 * np.pi * at) / (4 * np.pi) * 8
    speed = 160 * (1 + 0.48 * np.cos(4 * np.pi * at))
    return time_s, share, speed


def in_bursts(time_s: Reals) -> Reals:
    """As frames arrive that a network hands on five times a second: up to 200 ms late."""
    return np.ceil(time_s * 5) / 5 + 0.0005 * np.arange(len(time_s)) / len(time_s)


def rms_ms(found: Reals, wanted: Reals) -> float:
    return float(1000 * np.sqrt(np.mean((found - wanted) ** 2)))


def test_frames_in_bursts_are_timed_by_the_games_clock() -> None:
    time_s, share, speed = driven()
    clock_s = np.floor(1000 * time_s) / 1000

    assert rms_ms(in_bursts(time_s), time_s) > 90
    assert rms_ms(elapsed_s(in_bursts(time_s), clock_s, share, speed, LAP_S), time_s) < 1


def test_a_clock_in_steps_is_left_for_the_frames_times() -> None:
    time_s, share, speed = driven()
    clock_s = np.floor(5 * time_s) / 5

    assert elapsed_s(time_s, clock_s, share, speed, LAP_S) == pytest.approx(time_s)


@pytest.mark.parametrize("reads", [0.0, 12.345])
def test_a_clock_that_stands_still_reports_nothing(reads: float) -> None:
    time_s, share, speed = driven()

    assert elapsed_s(time_s, np.full(len(time_s), reads), share, speed, LAP_S) == pytest.approx(
        time_s
    )


def test_a_clock_that_restarts_late_is_put_right_by_its_end() -> None:
    """It reads the lap before for 1.9 s and then begins at nought."""
    time_s, share, speed = driven()
    clock_s = np.where(time_s < 1.9, 88.0 + time_s, time_s - 1.9)

    assert rms_ms(elapsed_s(in_bursts(time_s), clock_s, share, speed, LAP_S), time_s) < 5


def test_a_pause_and_a_rewind_are_no_time() -> None:
    time_s, share, speed = driven()
    paused_s = time_s + 60 * (time_s > 50)

    assert rms_ms(elapsed_s(paused_s, time_s, share, speed, LAP_S), time_s) < 1


def test_the_trace_of_a_lap_in_bursts_is_that_of_the_lap() -> None:
    """Its delta had spikes of 200 ms."""
    time_s, share, speed = driven()
    clock_ms = np.floor(1000 * time_s).astype(np.int64)

    def trace_at(stamp_s: Reals) -> Reals:
        columns = {
            "time": pa.array((1e6 * stamp_s).astype(np.int64), pa.timestamp("us", tz="UTC")),
            "normalized_position": share.astype(np.float32),
            "lap_clock_ms": clock_ms,
            "speed_kmh": speed.astype(np.float32),
        }
        return resample(pa.table(columns), Axis(4000.0), started_at_us=0, lap_time_s=LAP_S).time_s

    assert np.abs(trace_at(in_bursts(time_s)) - trace_at(time_s)).max() < 0.002
