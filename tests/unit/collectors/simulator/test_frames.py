"""The simulated car drives like a car, and its truth agrees with its frames."""

from itertools import islice, pairwise
from math import cos, hypot, pi, sin
from statistics import median, stdev

import pytest

from ingest.collectors.simulator.car import GRAVITY_MPS2, GT3
from ingest.collectors.simulator.circuit import CIRCUITS, Circuit, aldermoor_park
from ingest.collectors.simulator.driver import driver
from ingest.collectors.simulator.frames import drive, facts, laps
from ingest.collectors.simulator.lap import SimulatedLap
from ingest.telemetry_pb2 import LapValidity, PitState, TelemetryFrame

STARTED_AT_MS = 1_750_000_000_000
# Drivers who spoil one of their first laps.
SPOILS_ONE = {"Aldermoor Park": 3, "Val Sarine": 1}
VALID, INVALID = LapValidity.LAP_VALIDITY_VALID, LapValidity.LAP_VALIDITY_INVALID


@pytest.fixture(scope="module", params=sorted(CIRCUITS))
def circuit(request: pytest.FixtureRequest) -> Circuit:
    return CIRCUITS[request.param]()


@pytest.fixture(scope="module")
def frames(circuit: Circuit) -> list[TelemetryFrame]:
    """The out lap, a flying one, and the beginning of the next."""
    return list(islice(drive(circuit, seed=1, started_at_ms=STARTED_AT_MS), 210 * 60))


@pytest.fixture(scope="module")
def driven(circuit: Circuit) -> list[SimulatedLap]:
    return list(islice(laps(circuit, seed=1), 30))


def of_lap(frames: list[TelemetryFrame], number: int) -> list[TelemetryFrame]:
    return [frame for frame in frames if frame.lap_number == number]


def test_frames_come_at_sixty_hertz(frames):
    assert all(
        frame.timestamp == STARTED_AT_MS + round(count * 1000 / 60)
        for count, frame in enumerate(frames)
    )


def test_flying_lap_passes_the_whole_line(circuit, frames):
    """Distance integrated from speed agrees with the track's length within 0.5 %."""
    metres = sum(frame.speed / 3.6 / 60 for frame in of_lap(frames, 2))

    assert metres == pytest.approx(circuit.length_m, rel=0.005)


def test_position_only_grows_and_wraps_at_the_line(frames):
    for before, after in pairwise(frames):
        assert 0 <= after.normalized_position <= 1
        if after.lap_number == before.lap_number:
            assert after.normalized_position >= before.normalized_position
        else:
            assert after.lap_number == before.lap_number + 1
            assert before.normalized_position > 0.995
            assert after.normalized_position < 0.005


def test_official_time_is_the_time_between_the_lines(frames, driven):
    """The lap clock says how long ago the line was; its rounding and the time stamp's cost a
    millisecond at each line.
    """
    firsts = [after for before, after in pairwise(frames) if after.lap_number != before.lap_number]
    lines = [STARTED_AT_MS, *(frame.timestamp - frame.lap_time for frame in firsts)]

    for frame, (start, end), lap in zip(firsts, pairwise(lines), driven, strict=False):
        assert frame.last_lap_time == lap.time_ms
        assert end - start == pytest.approx(frame.last_lap_time, abs=2)
        assert end == pytest.approx(STARTED_AT_MS + (lap.start_s + lap.time_s) * 1000, abs=1)


def test_laps_join_without_a_gap(driven):
    for before, after in pairwise(driven):
        assert after.start_s == before.start_s + before.time_s
        assert after.speed_mps[0] == pytest.approx(before.speed_mps[-1], rel=1e-6)
        assert after.last_lap_time_ms == before.time_ms


def test_sectors_add_up_to_the_lap(driven):
    assert all(
        len(lap.sector_times_ms) == 3 and sum(lap.sector_times_ms) == lap.time_ms for lap in driven
    )


def test_sector_of_a_frame_follows_the_truth(frames, driven):
    """The first frame of sector 2 comes within a frame after the split."""
    lap = driven[1]
    second = next(frame for frame in of_lap(frames, 2) if frame.sector == 2)

    assert 0 <= second.lap_time - lap.sector_times_ms[0] <= 18


def test_tyres_hold_what_is_requested_of_them(circuit, driven):
    for lap in driven:
        for speed, curvature in zip(
            lap.speed_mps, circuit.curvature_per_m[lap.first_node :], strict=True
        ):
            assert speed**2 * abs(curvature) <= 1.005 * GT3.lateral_limit_mps2(speed)


def test_car_neither_brakes_nor_accelerates_like_a_racing_prototype(driven):
    hardest = min(min(lap.gain_mps2) for lap in driven) / GRAVITY_MPS2
    quickest = max(max(lap.gain_mps2) for lap in driven) / GRAVITY_MPS2

    assert -1.65 < hardest < -1.3
    assert 0.5 < quickest < 0.9


def test_a_car_does_not_brake_on_full_throttle(frames):
    assert all(min(frame.throttle, frame.brake) < 0.2 for frame in frames)
    assert all(0 <= frame.throttle <= 1 and 0 <= frame.brake <= 1 for frame in frames)


def test_pedals_state_why_the_speed_changes(frames):
    for before, after in pairwise(of_lap(frames, 2)):
        if min(before.brake, after.brake) > 0.2:
            assert after.speed < before.speed
        if before.throttle > 0.99 and after.throttle > 0.99 and after.gear < 6:
            assert after.speed > before.speed


def test_engine_turns_as_fast_as_gear_and_speed_state(frames):
    for frame in frames:
        assert -1 <= frame.gear <= 6
        assert GT3.idle_rpm <= frame.rpm <= GT3.highest_rpm
        if frame.gear > 1:
            assert abs(frame.rpm - GT3.engine_rpm(frame.speed / 3.6, frame.gear)) <= 2


def test_gears_change_one_at_a_time(frames):
    assert max(abs(after.gear - before.gear) for before, after in pairwise(frames)) == 1


def test_steering_turns_the_way_the_road_does(circuit, frames):
    for frame in frames:
        node = min(int(frame.normalized_position * circuit.nodes), circuit.nodes - 1)
        curvature = circuit.curvature_per_m[node]
        assert abs(frame.steering) < 0.8
        if abs(curvature) > 1 / 400:
            assert frame.steering * curvature > 0


def test_car_moves_where_it_points_as_fast_as_it_states(frames):
    """World position, heading and speed are one motion; beside the line the way is a few per cent
    longer or shorter.
    """
    for before, after in pairwise(of_lap(frames, 2)):
        dx, dz = after.x - before.x, after.z - before.z
        along, way = dx * sin(before.heading) + dz * cos(before.heading), before.speed / 3.6 / 60

        # Not pytest.approx, which takes longer than to drive: these are twenty thousand
        # comparisons.
        assert abs(along - way) <= max(0.12 * way, 0.05)
        assert abs(hypot(dx, dz) - along) <= max(0.01 * abs(along), 0.01)
        assert -pi <= after.heading <= pi


def test_session_starts_in_the_pit_box(frames):
    states = [frame.pit for frame in frames]
    box = states.index(PitState.PIT_STATE_PIT_LANE)
    lane = states.index(PitState.PIT_STATE_ON_TRACK)

    assert set(states[:box]) == {PitState.PIT_STATE_PIT_BOX}
    assert all(frame.speed == 0 and frame.gear == 0 for frame in frames[:box])
    assert all(frame.speed < 50.1 for frame in frames[box:lane])
    assert set(states[lane:]) == {PitState.PIT_STATE_ON_TRACK}
    assert {frame.lap_number for frame in frames[: lane + 1]} == {1}


def test_flying_laps_are_believable_and_differ_by_tenths(circuit, driven):
    flying = [lap.time_s for lap in driven[1:]]

    assert 140 < 3.6 * circuit.length_m / median(flying) < 180
    assert 0.1 < stdev(flying) < 1.0
    assert driven[0].time_s > max(flying) + 5


def test_running_wide_costs_time_and_sometimes_the_lap(circuit, driven):
    spoilt = [lap for lap in driven if not lap.is_valid]
    clean = [lap for lap in driven[1:] if max(map(abs, lap.offset_m)) < 1.5]

    assert spoilt
    assert 0.1 < median(lap.time_s for lap in spoilt) - median(lap.time_s for lap in clean) < 2


def test_spoilt_lap_is_invalid_from_the_cut_until_the_line(circuit):
    seed, rate_hz = SPOILS_ONE[circuit.name], 20
    truth = next(lap for lap in laps(circuit, seed=seed) if not lap.is_valid)
    count = round((truth.start_s + truth.time_s + 5) * rate_hz)
    frames = list(
        islice(drive(circuit, seed=seed, started_at_ms=STARTED_AT_MS, rate_hz=rate_hz), count)
    )

    flags = [frame.validity for frame in of_lap(frames, truth.number)]
    assert flags == sorted(flags)
    assert set(flags) == {VALID, INVALID}
    assert frames[-1].validity == VALID


def test_same_seed_drives_the_same_session_to_the_byte():
    first, again, other = (
        [
            frame.SerializeToString()
            for frame in islice(drive(aldermoor_park(), seed=seed, started_at_ms=1), 3000)
        ]
        for seed in (5, 5, 6)
    )

    assert first == again
    assert first != other


def test_drivers_have_names_and_their_own_pace(circuit):
    field = {
        seed: min(lap.time_s for lap in islice(laps(circuit, seed=seed), 1, 4)) for seed in range(5)
    }

    assert len({driver(seed).name for seed in range(5)}) > 3
    assert 0.2 < max(field.values()) - min(field.values()) < 4


def test_slower_rate_samples_the_same_drive():
    fast = list(islice(drive(aldermoor_park(), seed=2, started_at_ms=0), 1801))
    slow = list(islice(drive(aldermoor_park(), seed=2, started_at_ms=0, rate_hz=10), 301))

    assert fast[::6] == slow


@pytest.mark.parametrize("rate_hz", [0, -1, 501, float("nan")])
def test_impossible_rate_is_refused(rate_hz):
    with pytest.raises(ValueError, match="rate_hz must be above 0"):
        drive(aldermoor_park(), seed=1, started_at_ms=0, rate_hz=rate_hz)


def test_facts_describe_the_session(circuit):
    session = facts(
        circuit, session_id="s1", user_id="u1", driver="Ada", started_at_ms=STARTED_AT_MS
    )

    assert (session.id, session.user_id, session.driver, session.track) == (
        "s1",
        "u1",
        "Ada",
        circuit.name,
    )
    assert session.track_length == pytest.approx(circuit.length_m, rel=1e-6)
    assert (session.sector_count, session.sample_rate, session.started_at) == (3, 60, STARTED_AT_MS)
