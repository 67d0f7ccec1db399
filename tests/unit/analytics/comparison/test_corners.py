"""Corners: found where the circuit has them, measured in every lap, and what they cost adds up."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice, pairwise

import numpy as np
import pytest

import analytics
from analytics.catalog import TimedLap
from analytics.comparison.consistency import consistency
from analytics.comparison.corner_metrics import (
    MEASURES,
    cornering,
    robust_spread,
    scatter,
    time_lost_s,
)
from analytics.comparison.corners import Corners, find_corners
from analytics.comparison.theoretical_best import (
    attainable_best,
    mini_sectors_m,
    part_times_s,
    theoretical_best,
)
from analytics.comparison.trace import PLACE, Trace, traces
from analytics.comparison.track_map import track_map
from analytics.errors import TooFewLaps
from ingest.collectors.simulator.circuit import val_sarine
from ingest.simulated_recordings import record
from tests.paths import SHARED

OKAYAMA = SHARED / "data" / "iracing_okayama_driverA.parquet"
CIRCUIT = val_sarine()


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory) -> list[TimedLap]:
    """Seven laps of Val Sarine at 30 Hz; the first leaves the pits."""
    path = tmp_path_factory.mktemp("driven") / "stint.parquet"
    record(path, CIRCUIT, seed=5, laps=7, started_at=datetime(2026, 5, 1, tzinfo=UTC), rate_hz=30)
    return list(analytics.open(path).laps)


@pytest.fixture(scope="module")
def laps(timed: list[TimedLap]) -> list[Trace]:
    return traces(lap for lap in timed if not lap.flags)


@pytest.fixture(scope="module")
def corners(laps: list[Trace]) -> Corners:
    return find_corners(laps)


def without(laps: list[Trace], *channels: str) -> list[Trace]:
    return [
        replace(lap, channels={k: v for k, v in lap.channels.items() if k not in channels})
        for lap in laps
    ]


def apexes_m() -> list[float]:
    return [corner.apex * CIRCUIT.step_m for corner in CIRCUIT.corners]


def ways_to_see_corners(laps: list[Trace]) -> Iterator[tuple[str, float, Corners]]:
    """By position, by heading, and by speed alone; the last shows where cars are slowest, not where
    the bend is tightest.
    """
    yield "position", 15, find_corners(laps)
    yield "heading", 15, find_corners(without(laps, "x_m", "z_m"))
    yield "speed", 30, find_corners(without(laps, *PLACE))


def test_corners_are_where_the_circuit_has_them(laps: list[Trace]) -> None:
    for source, within_m, found in ways_to_see_corners(laps):
        assert found.source == source
        assert [corner.apex_m for corner in found] == pytest.approx(apexes_m(), abs=within_m)
        assert all(c.begin_m <= c.entry_m <= c.apex_m <= c.exit_m <= c.end_m for c in found)


def test_left_and_right_are_the_drivers(laps: list[Trace], corners: Corners) -> None:
    """Also where a game's axes go round the other way."""
    truth = [
        "right" if CIRCUIT.curvature_per_m[corner.apex] > 0 else "left"
        for corner in CIRCUIT.corners
    ]
    mirrored = [replace(lap, channels={**lap.channels, "x_m": -lap["x_m"]}) for lap in laps]

    assert [corner.turns for corner in corners] == truth
    assert [corner.turns for corner in find_corners(mirrored)] == truth


def test_corners_are_numbered_once(laps: list[Trace], corners: Corners) -> None:
    """Fewer laps show the same corners: what a lap did in one does not renumber the rest."""
    assert [corner.apex_m for corner in find_corners(laps[:1])] == pytest.approx(
        [c.apex_m for c in corners], abs=15
    )


def test_what_corners_cost_adds_up_to_the_gap(laps: list[Trace], corners: Corners) -> None:
    for lap in laps[1:]:
        lost_s = time_lost_s(lap, laps[0], corners)
        assert lost_s.sum() == pytest.approx(lap.lap_time_s - laps[0].lap_time_s, abs=1e-9)
    driven = cornering(laps, corners)
    assert driven["time_s"].sum(axis=1) == pytest.approx([lap.lap_time_s for lap in laps])


def test_points_come_in_the_order_in_which_a_corner_is_driven(
    laps: list[Trace], corners: Corners
) -> None:
    driven = cornering(laps, corners)
    order = ("lift_m", "brake_m", "release_m", "throttle_m", "full_throttle_m")
    for before, after in pairwise(order):
        assert (driven[after] > driven[before]).mean() > 0.95
    assert np.isfinite(driven["brake_m"]).mean() > 0.9
    assert driven.to_arrow().num_rows == len(laps) * len(corners)


def test_minimum_speeds_are_those_of_the_truth(laps: list[Trace], corners: Corners) -> None:
    from ingest.collectors.simulator.lap import laps as truth

    driven = cornering(laps, corners)
    true = {lap.number: lap.speed_mps for lap in islice(truth(CIRCUIT, seed=5), 7)}
    for lap, row in zip(laps, driven["min_speed_kmh"], strict=True):
        assert lap.lap is not None
        slowest = [3.6 * min(true[lap.lap.number][c.start : c.end]) for c in CIRCUIT.corners]
        assert row == pytest.approx(slowest, abs=1.0)


def test_who_does_not_brake_has_no_braking_point(laps: list[Trace], corners: Corners) -> None:
    lifting = [
        replace(lap, channels={**lap.channels, "brake": np.zeros(len(lap.axis))}) for lap in laps
    ]

    driven = cornering(lifting, corners)

    assert np.isnan(driven["brake_m"]).all()
    assert np.isnan(driven["release_m"]).all()
    assert "brake_m" not in {one.measure for one in scatter(driven)}


def test_scatter_states_of_how_many_laps(laps: list[Trace], corners: Corners) -> None:
    found = list(scatter(cornering(laps, corners)))

    assert {one.measure for one in found} == set(MEASURES)
    assert all(5 <= one.n <= len(laps) for one in found)
    assert list(scatter(cornering(laps[:4], corners))) == []


def test_the_theoretical_best_is_no_slower_than_the_attainable(laps: list[Trace]) -> None:
    times_s = part_times_s(laps, mini_sectors_m(laps))
    numbers = [lap.lap.number for lap in laps if lap.lap]

    ideal, reachable = theoretical_best(times_s), attainable_best(times_s, numbers)

    fastest_s = min(lap.lap_time_s for lap in laps)
    assert times_s.sum(axis=1) == pytest.approx([lap.lap_time_s for lap in laps])
    assert ideal.time_s < reachable.time_s <= fastest_s
    assert (ideal.n, len(ideal.parts)) == (len(laps), 25)


def test_the_attainable_best_was_driven_in_one_go() -> None:
    """The end of one lap and the beginning of the next, if they follow one another; and never a lap
    in between left out.
    """
    times_s = np.array([[12.0, 10.0, 10.0], [9.0, 11.0, 12.0], [9.0, 13.0, 13.0]])

    assert attainable_best(times_s, [4, 5, 6]).time_s == 29.0
    assert attainable_best(times_s, [4, 5, 6]).parts == (0, 0, 1)
    assert attainable_best(times_s, [4, 6, 8]).parts == (0, 0, 0)
    assert theoretical_best(times_s).time_s == 29.0
    assert theoretical_best(times_s).parts == (1, 0, 0)
    with pytest.raises(ValueError, match="there is none"):
        theoretical_best(times_s[:0])


def test_consistency_states_which_laps_it_is_of(timed: list[TimedLap]) -> None:
    found = consistency(timed)

    assert found.n == 6
    assert found.left_out == {1: "out"}
    assert found.best_s <= found.median_s
    assert found.spread_s == robust_spread(
        np.array([(lap.time_ms or 0) / 1000 for lap in timed[1:]])
    )


def test_a_slope_is_not_a_spread(timed: list[TimedLap]) -> None:
    """Tyres that cost a tenth a lap are not the driver's unevenness."""
    slower = [
        replace(lap, lap=replace(lap.lap, official_lap_time_ms=80_000 + 100 * lap.number))
        for lap in timed[1:]
    ]

    found = consistency(slower)

    assert found.slope_s == pytest.approx(0.1)
    assert found.detrended_spread_s == pytest.approx(0, abs=1e-9)
    assert found.spread_s > 0.1


def test_nothing_is_reported_of_a_few_laps(timed: list[TimedLap]) -> None:
    with pytest.raises(TooFewLaps, match=r"3 laps qualify, and it takes 5 \(lap 1: out\)"):
        consistency(timed[:4])


def test_laps_of_two_sessions_are_no_stint(timed: list[TimedLap]) -> None:
    """They have their numbers twice: a flagged lap of one would leave out one of the other, and
    slopes would be infinite.
    """
    others = [replace(lap, session=replace(lap.session, key="another")) for lap in timed]

    with pytest.raises(ValueError, match="laps of 2 sessions are no stint"):
        consistency([*timed, *others])


def test_a_map_states_what_it_was_made_of(laps: list[Trace]) -> None:
    seen, reckoned = track_map(laps), track_map(without(laps, "x_m", "z_m"))
    apart_m = np.hypot(reckoned.x_m - seen.x_m + seen.x_m[0], reckoned.y_m - seen.y_m + seen.y_m[0])
    circle = track_map(without(laps, *PLACE))

    assert [m.made_of for m in (seen, reckoned, circle)] == [
        "position",
        "heading and speed",
        "nothing",
    ]
    assert apart_m.mean() < 3
    assert np.hypot(circle.x_m, circle.y_m) == pytest.approx(laps[0].axis.length_m / 2 / np.pi)
    assert "circle" in circle.note


def test_corners_of_a_real_session() -> None:
    """Okayama's short layout by speed alone: the real drivers' laps agree on five braked
    corners.
    """
    if not OKAYAMA.is_file():
        pytest.skip(f"needs the real recording {OKAYAMA.name} beside the checkout")
    real = traces(analytics.open(OKAYAMA).laps.flying())
    found = find_corners(real)

    braked = [one for one in scatter(cornering(real, found)) if one.measure == "brake_m"]

    assert len(found) == 5
    assert all(1 < one.spread < 25 for one in braked)


def test_corners_need_laps() -> None:
    with pytest.raises(ValueError, match="there is none"):
        find_corners([])
    with pytest.raises(ValueError, match="there is none"):
        track_map([])
