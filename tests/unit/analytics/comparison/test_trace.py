"""Laps laid over one another: deltas that end where the stopwatches do, and frames that say nothing
left out.
"""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import combinations, islice, pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import analytics
from analytics.comparison.trace import Axis, Trace, delta_s, resample, traces
from ingest.collectors.simulator.circuit import aldermoor_park, val_sarine
from ingest.collectors.simulator.lap import laps as driven
from ingest.simulated_recordings import record
from tests.paths import SHARED

DATA = SHARED / "data"
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def a_lap(position: list[float], *, every_ms: int = 1000, **columns: list[float]) -> pa.Table:
    """A frame every second from half a second after the line at time 0."""
    count = len(position)
    time_us = 500_000 + 1000 * every_ms * np.arange(count)
    known = {"normalized_position": np.array(position, np.float32), "lap_clock_ms": time_us // 1000}
    return pa.table({"time": pa.array(time_us, pa.timestamp("us", tz="UTC")), **known, **columns})


def of(frames: pa.Table, *, lap_time_s: float = 4.0, line: float = 0.0, **more: object) -> Trace:
    return resample(frames, Axis(100.0, line=line), started_at_us=0, lap_time_s=lap_time_s, **more)


def check_every_pair(laps: list[Trace]) -> int:
    for one, other in combinations(laps, 2):
        assert one.lap is not None
        assert other.lap is not None
        difference_ms = (one.lap.time_ms or 0) - (other.lap.time_ms or 0)
        assert 1000 * delta_s(one, other)[-1] == pytest.approx(difference_ms, abs=1)
        assert delta_s(one, other)[0] == 0
    assert all((np.diff(lap.time_s) > 0).all() for lap in laps)
    return len(laps) * (len(laps) - 1) // 2


@pytest.mark.skipif(
    not DATA.is_dir(), reason=f"needs the real recordings in {DATA.name}/ beside the checkout"
)
def test_every_pair_of_real_laps_ends_with_the_difference_of_their_times() -> None:
    pairs = [
        check_every_pair(traces(drive.laps.flying())) for drive in analytics.open(DATA).sessions
    ]
    assert sum(pairs) > 100


def test_a_simulated_lap_is_where_it_was_when_it_was(tmp_path: Path) -> None:
    """Not only at the line: at every node of the circuit, to the millisecond that frames are
    stamped with.
    """
    circuit = val_sarine()
    path = record(tmp_path / "stint.parquet", circuit, seed=5, laps=3, started_at=NOON)
    laps = traces(analytics.open(path).laps.flying())
    assert check_every_pair(laps) == 1
    for lap, truth in zip(laps, islice(driven(circuit, seed=5), 1, 3), strict=True):
        at_nodes_s = np.interp(np.linspace(0, 1, circuit.nodes + 1), lap.axis.share, lap.time_s)
        assert np.abs(at_nodes_s - truth.clock_s).max() < 0.002


def test_laps_of_two_tracks_are_not_compared(tmp_path: Path) -> None:
    for name, circuit in (("a", val_sarine()), ("b", aldermoor_park())):
        record(tmp_path / f"{name}.parquet", circuit, seed=5, laps=1, started_at=NOON, rate_hz=5)
    with pytest.raises(ValueError, match="laps of 2 tracks"):
        traces(analytics.open(tmp_path).laps)
    with pytest.raises(ValueError, match="lay both on one"):
        delta_s(of(a_lap([0.5])), replace(of(a_lap([0.5])), axis=Axis(90.0)))


def test_time_is_nought_at_the_line_and_the_lap_time_at_the_next() -> None:
    trace = of(a_lap([0.125, 0.375, 0.625, 0.875]))

    assert (trace.time_s[0], trace.lap_time_s) == (0.0, 4.0)
    assert trace.time_s == pytest.approx(4 * trace.axis.share, abs=1e-6)


def test_frames_on_the_other_side_of_the_line_are_not_the_laps() -> None:
    """A game counts the line a frame early or late, and holds its position at 0 or 1 around the
    origin.
    """
    trace = of(a_lap([0.999, 0.0, 0.3, 0.7, 1.0, 0.002], every_ms=600))

    assert trace.backward_m == 0
    assert (np.diff(trace.time_s) > 0).all()
    assert trace.time_s[30] == pytest.approx(1.7)


def test_the_line_may_be_anywhere() -> None:
    trace = of(a_lap([0.1, 0.35, 0.6, 0.85], every_ms=1000), line=0.975)

    assert trace.time_s == pytest.approx(4 * trace.axis.share, abs=1e-6)


def test_a_grid_before_the_line_is_behind_the_car_and_not_ahead() -> None:
    """Where the lap is counted from the grid on, 0.97 is 3 % before the line, however long the car
    stood there.
    """
    trace = of(a_lap([0.97, 0.97, 0.97, 0.25, 0.5, 0.75]), lap_time_s=6.5)

    assert trace.time_s[[25, 50, 75]] == pytest.approx([3.5, 4.5, 5.5])
    assert trace.backward_m == 0


def test_what_is_driven_backwards_is_dropped_and_reported() -> None:
    trace = of(a_lap([0.2, 0.4, 0.3, 0.6]))

    assert trace.backward_m == pytest.approx(10, abs=1e-4)
    assert (np.diff(trace.time_s) > 0).all()
    assert trace.time_s[60] == pytest.approx(3.5)


def test_gears_do_not_change_between_frames() -> None:
    frames = a_lap([0.1, 0.5, 0.9], gear=[2, 3, 4], speed_kmh=[100.0, 200.0, 300.0])

    trace = of(frames, channels=("gear", "speed_kmh", "x_m"))

    assert set(trace["gear"]) == {2, 3, 4}
    assert [trace["gear"][i] for i in (49, 51)] == [2, 3]
    assert trace["speed_kmh"][30] == pytest.approx(150)
    assert "x_m" not in trace.channels


def test_a_place_that_one_frame_does_not_know_is_between_its_neighbours() -> None:
    """On the wire 0 means unknown, and cars do drive over the origin of a game's axes."""
    position = np.linspace(0.01, 0.99, 99).tolist()
    x_m = [10 * share if share != position[40] else None for share in position]

    trace = of(a_lap(position, every_ms=30, x_m=x_m), channels=("x_m",))

    assert trace["x_m"][10:90] == pytest.approx(10 * trace.axis.share[10:90], abs=1e-4)


def test_a_place_that_is_unknown_for_long_is_not_made_up() -> None:
    position = np.linspace(0.01, 0.99, 99).tolist()
    x_m = [10 * share if not 0.4 < share < 0.6 else None for share in position]

    assert "x_m" not in of(a_lap(position, every_ms=30, x_m=x_m), channels=("x_m",)).channels


def test_a_hole_in_the_frames_makes_no_place_up_elsewhere() -> None:
    """Over the hole every channel is drawn; where frames do not know a place there is none, however
    long the hole.
    """
    position = [share for share in np.linspace(0.01, 0.99, 99).tolist() if not 0.6 < share < 0.9]

    one = [10 * share if share != position[40] else None for share in position]
    assert "x_m" in of(a_lap(position, every_ms=30, x_m=one), channels=("x_m",)).channels

    many = [10 * share if not 0.05 < share < 0.5 else None for share in position]
    assert "x_m" not in of(a_lap(position, every_ms=30, x_m=many), channels=("x_m",)).channels


def test_what_places_a_frame_is_no_channel() -> None:
    """Whoever asks for all columns gets those that there are along a lap."""
    trace = of(
        a_lap([0.1, 0.5, 0.9], gear=[2, 3, 4], sequence=[1, 2, 3]),
        channels=("time", "sequence", "gear"),
    )

    assert list(trace.channels) == ["gear"]


def test_a_pause_is_no_time() -> None:
    """Where the game stood still, its own clock tells how far the lap was."""
    frames = a_lap([0.125, 0.375, 0.625, 0.875])
    time_us = frames["time"].cast(pa.int64()).to_numpy() + np.array([0, 0, 9_000_000, 9_000_000])
    paused = frames.set_column(0, "time", pa.array(time_us, pa.timestamp("us", tz="UTC")))

    assert of(paused).time_s == pytest.approx(of(frames).time_s)


def test_an_official_time_is_spread_over_the_lap() -> None:
    ours, official = of(a_lap([0.5])), of(a_lap([0.5]), lap_time_s=4.04, clock_s=4.0)

    assert official.lap_time_s == 4.04
    assert official.time_s == pytest.approx(1.01 * ours.time_s)


@pytest.mark.parametrize("length_m", [0.0, -1.0, 0.5])
def test_an_axis_has_a_length(length_m: float) -> None:
    with pytest.raises(ValueError, match="cannot have steps"):
        Axis(length_m)


def test_places_are_a_metre_apart_or_less() -> None:
    assert {round(b - a, 6) for a, b in pairwise(Axis(100.5).distance_m)} == {round(100.5 / 101, 6)}
