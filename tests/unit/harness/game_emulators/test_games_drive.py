"""The played car crosses the line when its recording says so, and a game's course is what it was
told.
"""

import json
from itertools import islice, pairwise
from math import cos, hypot, sin

import pytest

from ingest.collectors.simulator.circuit import aldermoor_park
from ingest.collectors.simulator.lap import laps
from ingest.telemetry_pb2 import TelemetryFrame
from tests.game_emulators.drive import Drive, Moment
from tests.game_emulators.outing import Outing, recorded, simulated
from tests.game_emulators.playing import Playing, Status
from tests.paths import SHARED

LENGTH_M = 3600.0
RECORDING = SHARED / "data" / "acc_brands_hatch_mit_sessionA.parquet"


def recorded_laps(count: int = 2000) -> list[TelemetryFrame]:
    """Laps of 90.5 s, ten frames a second, at a steady 143.2 km/h."""
    frames = []
    for number in range(count):
        lap, clock_ms = divmod(number * 100, 90_500)
        frames.append(
            TelemetryFrame(
                timestamp=1000 + number * 100,
                lap_time=clock_ms,
                lap_number=1 + lap,
                normalized_position=clock_ms / 90_500,
                speed=143.2,
                gear=4,
            )
        )
    return frames


def moments(drive: Drive, *, step_ms: float = 10.0) -> list[Moment]:
    seen, now_ms = [], 0.0
    while (moment := drive.at(now_ms)) is not None:
        seen.append(moment)
        now_ms += step_ms
    return seen


@pytest.fixture(scope="module")
def driven() -> list[Moment]:
    return moments(Drive(recorded_laps(), track_length_m=LENGTH_M))


def test_a_recording_is_played_to_its_end(driven):
    assert len(driven) == pytest.approx(199_900 / 10, abs=1)


def test_the_line_is_crossed_between_two_frames(driven):
    (first, second) = [
        index for index, (a, b) in enumerate(pairwise(driven), 1) if b.lap_count > a.lap_count
    ]

    assert (first * 10, second * 10) == (90_500, 181_000)
    assert driven[first].lap_clock_ms == 0
    assert driven[first].last_lap_ms == driven[first].best_lap_ms == 90_500
    assert driven[first - 1].last_lap_ms == 0


def test_position_and_clock_only_grow_within_a_lap(driven):
    for before, after in pairwise(driven):
        if after.lap_count == before.lap_count:
            assert after.position >= before.position
            assert after.lap_clock_ms >= before.lap_clock_ms
        else:
            assert before.position > 0.999
            assert after.position < 0.001


def test_sectors_add_up_to_the_lap(driven):
    last = driven[-1]

    assert len(last.splits_ms) == 3
    assert sum(last.splits_ms) == last.last_lap_ms
    assert {moment.sector for moment in driven} == {0, 1, 2}
    assert all(moment.sector_line_ms == 0 for moment in driven if moment.sector == 0)


def test_official_time_of_a_recording_is_the_game_s_own():
    seen = moments(
        Drive(recorded_laps(), track_length_m=LENGTH_M, official_ms={1: 90_497}), step_ms=100
    )

    assert {moment.last_lap_ms for moment in seen if moment.lap_count == 1} == {90_497}


def test_a_recording_without_places_drives_a_circle_as_long_as_the_track(driven):
    way_m = sum(hypot(b.x_m - a.x_m, b.z_m - a.z_m) for a, b in pairwise(driven[:9_050]))

    assert way_m == pytest.approx(LENGTH_M, rel=0.001)
    points_forwards(driven[100:8000:100])


def test_the_simulated_car_points_where_it_goes_in_the_game_s_axes():
    drive = simulated().begin()
    seen = [moment for index in range(3000) if (moment := drive.at(index * 40)) is not None]

    points_forwards(seen[250::10])


def points_forwards(seen: list[Moment]) -> None:
    """Forward is (-sin, cos) of the heading in both games."""
    for before, after in pairwise(seen):
        dx, dz = after.x_m - before.x_m, after.z_m - before.z_m
        assert hypot(dx, dz) > 0
        assert (-sin(before.heading_rad) * dx + cos(before.heading_rad) * dz) / hypot(dx, dz) > 0.95


def test_the_simulated_car_s_official_times_are_those_of_its_truth():
    truth = list(islice(laps(aldermoor_park(), seed=3), 2))
    drive = simulated(seed=3).begin()

    moment = drive.at((truth[1].start_s + truth[1].time_s) * 1000 + 5)

    assert (moment.lap_count, moment.last_lap_ms) == (2, truth[1].time_ms)
    assert sum(moment.splits_ms) == truth[1].time_ms
    assert moment.splits_ms == pytest.approx(truth[1].sector_times_ms, abs=18)


@pytest.mark.skipif(not RECORDING.is_file(), reason=f"no recording at {RECORDING}")
def test_a_recorded_session_has_the_lap_times_that_its_game_reported():
    outing = recorded(RECORDING)
    told = [
        lap["lap_time_ms"]
        for lap in json.loads(RECORDING.with_suffix(".json").read_text())["true_laps"]
    ]
    seen = moments(outing.begin(), step_ms=100)

    assert (outing.track, outing.track_length_m) == ("brands_hatch", pytest.approx(3908, rel=0.01))
    assert list(dict.fromkeys(moment.last_lap_ms for moment in seen)) == [0, *told[:-1]]


@pytest.fixture
def playing() -> Playing:
    outing = Outing(
        "spa", "car", "A B", LENGTH_M, lambda: Drive(recorded_laps(), track_length_m=LENGTH_M)
    )
    game = Playing([outing], load_s=1.0)
    game.start(100.0)
    return game


def test_nothing_is_shown_before_it_is_loaded(playing):
    playing.advance(100.9)
    assert (playing.status, playing.loaded) == (Status.OFF, False)

    playing.advance(101.0)
    assert (playing.status, playing.loaded, playing.driven_s) == (Status.LIVE, True, 0)


def test_the_car_stands_still_in_a_pause(playing):
    playing.advance(101.0)
    playing.advance(103.0)
    playing.pause()
    playing.advance(110.0)
    stood = playing.moment
    playing.live()
    playing.advance(110.5)

    assert stood.lap_clock_ms == 2000
    assert playing.moment.lap_clock_ms == 2500


def test_a_replay_moves_and_leads_back_to_the_car(playing):
    for tenth in range(1, 40):
        playing.advance(101 + tenth / 10)
    at = playing.moment
    playing.replay()
    shown = set()
    for tenth in range(40, 60):
        playing.advance(101 + tenth / 10)
        shown.add(playing.moment.lap_clock_ms)
    playing.live()
    playing.advance(107.1)

    assert playing.status is Status.LIVE
    assert len(shown) > 10
    # Of the last two steps, one was before the replay.
    assert playing.moment.lap_clock_ms == at.lap_clock_ms + 200


def test_a_session_restarts_with_its_own_index(playing):
    playing.advance(101.0)
    playing.advance(110.0)
    playing.next_session(110.0)
    playing.advance(111.0)
    assert (playing.session, playing.session_index, playing.moment.lap_clock_ms) == (1, 1, 0)

    playing.again(111.5)
    playing.advance(112.5)
    assert (playing.session, playing.session_index) == (2, 1)

    playing.restart(113.0)
    playing.advance(113.5)
    assert (playing.session, playing.session_index, playing.loaded) == (3, 0, False)


def test_the_menu_follows_the_last_session(playing):
    playing.advance(101.0)
    playing.advance(101.0 + 200.0)

    assert (playing.over, playing.status) == (True, Status.OFF)


@pytest.mark.parametrize("how", ["nan", "infinite", "teleport"])
def test_spoilt_values_end_with_live(playing, how):
    playing.advance(101.0)
    playing.advance(102.0)
    before = playing.moment
    playing.spoil(how)
    playing.advance(102.1)
    spoilt = playing.moment
    playing.live()
    playing.advance(102.2)

    assert not abs(spoilt.x_m - before.x_m) < 1000
    assert abs(playing.moment.x_m - before.x_m) < 100
