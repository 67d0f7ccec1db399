"""Insights about recorded drivers, held against plain sums over the frames, and against themselves.

Few recordings of one track have three laps each. `tests.bench.insight_truth` has simulated pairs.
"""

from collections.abc import Iterator

import numpy as np
import pyarrow.parquet as pq
import pytest

import analytics
from analytics.comparison.consistency import representative_laps
from analytics.comparison.corner_metrics import CornerMetrics, cornering
from analytics.comparison.corners import Corner, find_corners
from analytics.comparison.insights import LEAST_LAPS, insights
from analytics.comparison.trace import traces
from tests.bench.insight_truth import spoken_of_nothing
from tests.paths import SHARED
from tests.unit.analytics.laps.test_engine import needs_recordings

DATA = SHARED / "data"
FEW = [
    ("ac_mugello_driver1", "ac_mugello_driver2"),
    ("ac_yasmarina_driver1", "ac_yasmarina_driver3"),
]

pytestmark = needs_recordings


def pair(*names: str) -> tuple[list[CornerMetrics], float]:
    """The flying laps of two recordings in the same corners, and the length of the axis."""
    sessions = [next(iter(analytics.open(DATA / f"{name}.parquet").sessions)) for name in names]
    every = traces(lap for session in sessions for lap in session.laps.flying())
    corners = find_corners(every)
    keys = [session.key for session in sessions]
    driven = [[one for one in every if one.lap and one.lap.session.key == key] for key in keys]
    return [cornering(laps, corners) for laps in driven], corners.axis.length_m


def of_frames(name: str, corner: Corner, length_m: float) -> Iterator[tuple[float, float, float]]:
    """For each lap by the recording's own columns: the time in a corner's part of it, in s, and the
    lowest and the last speed there.
    """
    table = pq.read_table(DATA / f"{name}.parquet")
    lap, clock_ms, position, speed_kmh = (
        table[column].to_numpy().astype(float)
        for column in ("lap_number", "lap_time_ms", "normalized_position", "speed_kmh")
    )
    begin, end = corner.begin_m / length_m, corner.end_m / length_m
    for number in np.unique(lap):
        here = lap == number
        at_ms = np.interp([begin, end], position[here], clock_ms[here])
        inside = speed_kmh[here & (position >= begin) & (position <= end)]
        yield (at_ms[1] - at_ms[0]) / 1000, inside.min(), inside[-1]


def test_claims_about_two_recorded_drivers_are_those_of_their_frames() -> None:
    """Five laps against three, 5 s apart: what is said holds by medians of the recordings' rows."""
    names = "acc_brands_hatch_mit_sessionA", "acc_brands_hatch_mit_sessionB"
    (ours, theirs), length_m = pair(*names)

    said = insights(ours, theirs)

    assert said
    for insight in said:
        rows = [np.array(list(of_frames(name, insight.corner, length_m))) for name in names]
        time_s, slowest_kmh, last_kmh = np.median(rows[0], axis=0) - np.median(rows[1], axis=0)
        assert insight.time.size == pytest.approx(time_s, abs=0.1)
        claims = {one.measure: one for one in insight.driving}
        for measure, plain in (("min_speed_kmh", slowest_kmh), ("exit_speed_kmh", last_kmh)):
            if measure in claims:
                assert claims[measure].size == pytest.approx(plain, abs=3)


@pytest.mark.parametrize("names", FEW)
def test_two_recorded_drivers_of_two_laps_each_are_not_compared(names: tuple[str, str]) -> None:
    """They are up to 11 s a lap apart, which two laps do not show to be a way of driving."""
    (ours, theirs), _ = pair(*names)

    assert max(len(ours), len(theirs)) < LEAST_LAPS
    assert insights(ours, theirs) == []


@pytest.mark.parametrize(
    ("name", "splits", "most"),
    [("ac_limerock_driverC", 100, 5), ("iracing_okayama_driverA", 10, 0)],
)
def test_halves_of_a_recorded_session_are_hardly_ever_told_apart(
    name: str, splits: int, most: int
) -> None:
    """Four laps against four, and seven against six; the seeds are fixed, so the count is."""
    session = next(iter(analytics.open(DATA / f"{name}.parquet").sessions))
    laps = traces(representative_laps(list(session.laps)))

    assert spoken_of_nothing(cornering(laps, find_corners(laps)), splits) <= most
