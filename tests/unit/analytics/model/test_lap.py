"""Kinds of laps and their reasons, parts of a lap, and input that no car can have driven.

Whatever comes in: a lap is flagged for it, nothing raises, and no time that was not driven is a
flying lap's.
"""

import numpy as np
import pyarrow as pa
import pytest

from analytics.laps.engine import advance
from analytics.model.lap import FLAGS, REASONS, Lap
from analytics.model.track_layout import MINI_SECTORS, TrackLayout
from tests.unit.analytics.laps.test_engine import LAP_MS, SPEED_KMH, Drive, timed

LENGTH_M = SPEED_KMH / 3.6 * LAP_MS / 1000


def flying(laps: dict[int, Lap]) -> list[int]:
    return [number for number, lap in laps.items() if lap.kind == "flying"]


def timed_on(frames: pa.Table, layout: TrackLayout) -> dict[int, Lap]:
    return {lap.lap_number: lap for lap in advance(frames, None, layout)[0]}


def test_every_reason_has_a_flag_that_there_is():
    assert set(REASONS.values()) == set(FLAGS)


def test_mini_sectors_are_equal_parts_that_add_up():
    lap = timed(Drive().frames())[3]

    assert len(lap.mini_sector_times_ms) == MINI_SECTORS
    assert sum(lap.mini_sector_times_ms) == lap.lap_time_ms
    assert set(lap.mini_sector_times_ms) == {LAP_MS // MINI_SECTORS}


def test_sectors_are_measured_where_the_track_layout_has_them():
    """To the millisecond, although frames lie 16.7 ms apart."""
    lap = timed_on(Drive().frames(), TrackLayout(sectors=(0.3, 0.7)))[3]

    assert lap.computed_sector_times_ms == pytest.approx((12_000, 16_000, 12_000), abs=1)
    assert (lap.sector_times_ms, lap.sector_source) == (lap.computed_sector_times_ms, "computed")


def test_parts_begin_at_the_line_wherever_it_lies():
    """Silverstone's, in ACC: the position wraps 2 % of a lap after it."""
    drive = Drive(laps=5.5)
    drive["normalized_position"] = (drive["normalized_position"] + 0.97905) % 1.0

    known = timed_on(drive.frames(), TrackLayout(line=0.97905, sectors=(0.3, 0.7)))[4]
    unknown = timed(drive.frames())[4]

    assert set(known.mini_sector_times_ms) == {LAP_MS // MINI_SECTORS}
    assert known.computed_sector_times_ms == pytest.approx((12_000, 16_000, 12_000), abs=1)
    assert known.line_position == unknown.line_position == pytest.approx(0.97905, abs=1e-4)
    assert unknown.lap_time_ms == LAP_MS
    assert unknown.mini_sector_times_ms == unknown.computed_sector_times_ms == (), (
        "nobody knows where it begins"
    )


def test_a_line_elsewhere_is_where_laps_end_without_a_clock():
    drive = Drive(rate_hz=9)
    drive["lap_clock_ms"] = 0
    drive["normalized_position"] = (drive["normalized_position"] + 0.97905) % 1.0

    laps = timed_on(drive.frames(), TrackLayout(line=0.97905))

    assert [laps[n].lap_time_ms for n in (2, 3)] == pytest.approx([LAP_MS] * 2, abs=1)


def test_the_top_speed_has_a_place():
    drive = Drive()
    drive["speed_kmh"][drive.at(1.25 * LAP_MS, 1.26 * LAP_MS)] = 251.5

    lap = timed(drive.frames())[3]

    assert lap.max_speed_kmh == 251.5
    assert lap.max_speed_position == pytest.approx(0.25, abs=0.001)


@pytest.mark.parametrize(
    ("pit_from", "pit_to", "flags", "kind"),
    [
        (1.4, 1.6, ("pit",), "pit-through"),
        (0.9, 1.1, ("out",), "out"),
        (0.9, 2.1, ("out", "in"), "pit-through"),
        (1.9, 2.1, ("in",), "in"),
    ],
)
def test_the_way_through_the_pits(pit_from, pit_to, flags, kind):
    drive = Drive()
    drive["pit"] = np.where(drive.at(pit_from * LAP_MS, pit_to * LAP_MS), 2, 1)

    lap = timed(drive.frames())[3]

    assert (lap.flags, lap.kind) == (flags, kind)


def test_a_lap_keeps_all_its_reasons():
    drive = Drive()
    drive["validity"] = np.where(drive.at(1.5 * LAP_MS, 1.6 * LAP_MS), 2, 1)
    drive["pit"] = np.where(drive.at(1.9 * LAP_MS, 2.1 * LAP_MS), 2, 1)
    drive.without(drive.at(1.2 * LAP_MS, 1.23 * LAP_MS))

    lap = timed(drive.frames())[3]

    assert lap.flags == ("in", "partial", "invalid")
    assert lap.reasons == ("entered_pits", "frames_missing", "game_invalidated")


def test_how_far_a_car_can_have_come_depends_on_the_length_of_the_track():
    """40 m between two frames, at 0.8 m a frame."""
    drive = Drive()
    drive["normalized_position"][drive.at(1.5 * LAP_MS, 1.6 * LAP_MS)] += 40 / LENGTH_M

    assert timed_on(drive.frames(), TrackLayout(length_m=LENGTH_M))[3].flags == ("partial", "reset")
    assert timed_on(Drive().frames(), TrackLayout(length_m=LENGTH_M))[3].flags == ()


# --- bad input: flagged, never an exception, never a wrong best
# ----------------------------------------------------


def test_a_lap_driven_backwards_is_not_flying():
    drive = Drive()
    backwards = drive.at(LAP_MS, 2 * LAP_MS)
    drive["normalized_position"] = np.where(
        backwards, 1 - drive["normalized_position"], drive["normalized_position"]
    )

    laps = timed(drive.frames())

    assert flying(laps) == [2, 4]
    assert "marks_missed" in laps[3].reasons


def test_a_spin_passes_each_mark_once():
    """Half a kilometre back and on again: the lap took that long, and each of its parts has a
    time.
    """
    drive = Drive()
    t = drive.t - LAP_MS
    way = np.where(
        t < 20_000,
        t,
        np.where(t < 22_000, 40_000 - t, np.where(t < 24_000, t - 4_000, t * 1.25 - 10_000)),
    )
    on_lap = drive.at(LAP_MS, 2 * LAP_MS)
    drive["normalized_position"] = np.where(on_lap, way / LAP_MS, drive["normalized_position"])

    lap = timed(drive.frames())[3]

    assert sum(lap.mini_sector_times_ms) == lap.lap_time_ms == LAP_MS
    assert min(lap.mini_sector_times_ms) > 0


def test_a_position_that_sticks_makes_no_flying_lap():
    drive = Drive()
    drive["normalized_position"][drive.at(1.2 * LAP_MS, 2 * LAP_MS)] = 0.2

    assert flying(timed(drive.frames())) == [2]


def test_a_teleport_to_just_before_the_line_is_no_lap_record():
    drive = Drive()
    drive["lap_number"] += drive.at(1.1 * LAP_MS).astype(int)
    drive["normalized_position"][drive.at(1.1 * LAP_MS - 20, 1.1 * LAP_MS)] = 0.999

    assert (
        min(lap.lap_time_ms or 0 for lap in timed(drive.frames()).values() if lap.kind == "flying")
        >= LAP_MS
    )


def test_a_counter_that_moves_twice_at_one_line_counts_one_lap():
    """Within the shortest lap that there is, a counter belongs to the line before it."""
    drive = Drive()
    drive["lap_number"] += drive.at(LAP_MS + 30).astype(int)

    assert flying(timed(drive.frames())) == [2, 3, 4]


def test_a_counter_that_jumps_ahead_leaves_no_lap_between():
    drive = Drive()
    drive["lap_number"] += 7 * drive.at(LAP_MS).astype(int)

    laps = timed(drive.frames())

    assert sorted(laps) == [1, 2, 10, 11]
    assert [laps[n].lap_time_ms for n in (10, 11)] == [LAP_MS] * 2


def test_a_counter_reset_takes_no_time_from_a_lap_before():
    drive = Drive()
    drive["lap_number"] = np.where(
        drive.at(1.5 * LAP_MS), drive["lap_number"] - 3, drive["lap_number"]
    )

    laps = timed(drive.frames())

    assert "reset" in laps[3].flags
    assert flying(laps) == [2, 4]


def test_doubled_frames_change_nothing():
    frames = Drive().frames()
    doubled = frames.take(np.repeat(np.arange(frames.num_rows), 2))

    assert timed(doubled) == timed(frames)


def test_sessions_of_one_frame_and_of_frames_at_one_place_have_no_laps():
    one = Drive(laps=0.1).frames().slice(0, 1)
    parked = Drive()
    for name in ("lap_number", "lap_clock_ms", "normalized_position", "speed_kmh"):
        parked[name] = 0

    assert timed(one) == timed(parked.frames()) == {}


def test_a_session_of_24_hours_is_timed_to_its_end():
    drive = Drive(laps=120.5, rate_hz=40, start_ms=0)
    drive["time"] += (17 * drive.t).astype(int)
    drive["lap_clock_ms"] *= 18
    drive["speed_kmh"] /= 18

    laps = timed(drive.frames())

    assert sum(lap.lap_time_ms for lap in laps.values()) == 120 * 18 * LAP_MS == 86_400_000
    assert flying(laps) == list(laps)


def test_nonsense_raises_nothing():
    rng = np.random.default_rng(4)
    for _ in range(3):
        drive = Drive(laps=1, rate_hz=20)
        rows = len(drive.t)
        drive["lap_number"] = rng.integers(0, 4, rows)
        drive["lap_clock_ms"] = rng.choice([0, 5, 70_000, 2**31 - 1], rows)
        drive["normalized_position"] = rng.choice([-0.01, 0, 0.3, 0.999, 1.0, 1.01], rows)
        drive["speed_kmh"] = rng.choice([-200, 0, 700], rows)
        drive["last_lap_time_ms"] = rng.integers(0, 2**31 - 1, rows)
        drive["pit"], drive["validity"], drive["sector"] = (
            rng.integers(0, 4, rows) for _ in range(3)
        )

        assert flying(timed(drive.frames())) == []
