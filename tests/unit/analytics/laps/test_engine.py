"""The lap engine: what is a lap, how long it was, and that cutting or restarting a stream changes
neither.

Cars here drive a straight-line model: position is speed times time, so that every true crossing is
known exactly.
"""

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.files.recording import open_recording
from analytics.laps.engine import RESUME_MARGIN_US, advance, advance_each, resume
from analytics.laps.state import EngineState
from analytics.model.channels import CHANNELS, FRAMES
from analytics.model.lap import Lap
from analytics.model.track_layout import UNKNOWN, TrackLayout
from tests.paths import SHARED

#: What is NULL where nobody sent it.
OPTIONAL = {channel.name for channel in CHANNELS if channel.optional} | {"sequence"}

DATA = SHARED / "data"
RECORDINGS = [
    "iracing_okayama_driverA",
    "ac_limerock_driverC",
    "ac_mugello_driver2",
    "ac_monza_rl_agent_1",
]
needs_recordings = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"needs the real recordings in {DATA.name}/ beside the checkout"
)

START_MS = 1_700_000_000_000
LAP_MS = 40_000
SPEED_KMH = 180.0


class Drive:
    """A car at constant speed on a lap of `LAP_MS`, as columns that a test may spoil. ``t`` is ms
    since the first line.
    """

    def __init__(
        self, *, laps: float = 3.5, rate_hz: float = 60.0, start_ms: float = -500.0
    ) -> None:
        self.t = np.arange(start_ms, laps * LAP_MS, 1000 / rate_hz).round()
        turns = np.floor(self.t / LAP_MS)
        self.columns = {
            "time": (START_MS + self.t).astype(np.int64),
            "sequence": np.arange(1, len(self.t) + 1),
            "lap_number": (turns + 2).astype(int),
            "lap_clock_ms": (self.t - turns * LAP_MS).astype(int),
            "normalized_position": self.t / LAP_MS - turns,
            "speed_kmh": np.full(len(self.t), SPEED_KMH),
        }

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[name]

    def __setitem__(self, name: str, values: object) -> None:
        self.columns[name] = np.broadcast_to(np.asarray(values), len(self.t)).copy()

    def at(self, start_ms: float, end_ms: float = math.inf) -> np.ndarray:
        return (self.t >= start_ms) & (self.t < end_ms)

    def without(self, mask: np.ndarray) -> "Drive":
        self.t = self.t[~mask]
        self.columns = {name: values[~mask] for name, values in self.columns.items()}
        return self

    def frames(self) -> pa.Table:
        known = {**self.columns, "time": self.columns["time"] * 1000}
        columns = [
            pa.array(known[f.name]).cast(f.type) if f.name in known else _constant(f, len(self.t))
            for f in FRAMES
        ]
        return pa.table(columns, schema=FRAMES)


def _constant(field: pa.Field, rows: int) -> pa.Array:
    return (
        pa.nulls(rows, field.type)
        if (field.name in OPTIONAL)
        else pa.array(np.zeros(rows)).cast(field.type)
    )


def timed(frames: pa.Table, layout: TrackLayout = UNKNOWN) -> dict[int, Lap]:
    return {lap.lap_number: lap for lap in advance(frames, None, layout)[0]}


def timed_in_pieces(
    frames: pa.Table, cuts: list[int], layout: TrackLayout = UNKNOWN
) -> dict[int, Lap]:
    laps: dict[int, Lap] = {}
    engine_state: EngineState | None = None
    edges = [0, *sorted(cuts), frames.num_rows]
    for start, end in pairwise(edges):
        ended, engine_state = advance(frames.slice(start, end - start), engine_state, layout)
        laps.update({lap.lap_number: lap for lap in ended})
    return laps


def restarted(
    frames: pa.Table, stops: Iterable[int], layout: TrackLayout = UNKNOWN
) -> Iterator[tuple[int, dict[int, Lap], EngineState | None, EngineState | None]]:
    """As ingest does it, for each of ``stops``: stop after so many frames, forget all, read back
    what `resume` wants.

    The stop, the laps until there, what was carried over there, and what is carried over after the
    restart.
    """
    time_us = frames["time"].cast(pa.int64()).to_numpy()
    laps: dict[int, Lap] = {}
    engine_state: EngineState | None = None
    for before, stop in pairwise([0, *sorted(stops)]):
        ended, engine_state = advance(frames.slice(before, stop - before), engine_state, layout)
        laps |= {lap.lap_number: lap for lap in ended}
        if laps:
            last = laps[max(laps)]
            first = max(
                int(np.searchsorted(time_us[:stop], last.started_at_us - RESUME_MARGIN_US)) - 1, 0
            )
            again, going_on = resume(
                frames.slice(first, stop - first),
                lap_number=last.lap_number,
                started_at_us=last.started_at_us,
                layout=layout,
            )
            assert {lap.lap_number: lap for lap in again} == {last.lap_number: last}
        else:
            _, going_on = advance(frames.slice(0, stop), None, layout)
        yield stop, laps, engine_state, going_on


def held(engine_state: EngineState | None) -> object:
    """All that a carry-over holds, to be compared."""
    return engine_state and (
        engine_state.recent.whole.tolist(),
        engine_state.recent.real.tolist(),
        engine_state.open,
        engine_state.ended,
        engine_state.ahead,
    )


def test_a_lap_is_from_line_to_line():
    laps = timed(Drive().frames())

    assert [laps[n].lap_time_ms for n in (2, 3, 4)] == [LAP_MS] * 3
    assert laps[2].started_at_us == START_MS * 1000
    assert laps[2].flags == ()
    assert laps[2].frames == 2400
    assert laps[2].max_speed_kmh == SPEED_KMH
    assert 5 not in laps, "a lap that is being driven is not a lap yet"


def test_the_first_lap_is_partial_if_seen_from_the_middle():
    lap = timed(Drive(start_ms=-15_000).frames())[1]

    assert lap.flags == ("partial",)
    assert lap.lap_time_ms == LAP_MS, "the game's clock saw all of it"


def test_no_clock_and_no_beginning_means_no_time():
    drive = Drive(start_ms=-15_000)
    drive["lap_clock_ms"] = 0

    laps = timed(drive.frames())

    assert laps[1].lap_time_ms is None
    assert laps[2].lap_time_ms == LAP_MS


@pytest.mark.parametrize("rate_hz", [60, 7.3])
def test_the_crossing_is_found_by_position_where_the_clock_is_slow(rate_hz):
    """iRacing shows the old lap's clock for up to two seconds after the line."""
    drive = Drive(rate_hz=rate_hz)
    late = drive["lap_clock_ms"] < 1_900
    drive["lap_clock_ms"] = np.where(late, drive["lap_clock_ms"] + LAP_MS, drive["lap_clock_ms"])

    laps = timed(drive.frames())

    assert sorted(laps) == [1, 2, 3, 4]
    assert [laps[n].lap_time_ms for n in (2, 3)] == [LAP_MS] * 2


def test_acceleration_across_the_line_is_allowed_for():
    """From 100 to 200 km/h between two frames: half of the time is not half of the way."""
    drive = Drive(rate_hz=2)
    drive["lap_clock_ms"] = 0
    first = int(np.flatnonzero(drive["lap_number"] == 3)[0])
    drive["speed_kmh"][first - 1 : first + 1] = 100, 200
    drive["normalized_position"][first - 1 : first + 1] = 1 - 0.005, 0.007

    crossing_us = timed(drive.frames())[3].started_at_us

    half, way = 0.005 / 0.012, 500
    x = (math.sqrt(100**2 + 2 * 100 * half * 150) - 100) / 100
    assert crossing_us / 1000 - drive["time"][first - 1] == pytest.approx(x * way, abs=0.01)


def test_the_position_may_stick_around_the_origin():
    """ACC holds it at 1.0 and then at 0.0 over some five metres."""
    drive = Drive()
    drive["lap_clock_ms"] = 0
    position = drive["normalized_position"]
    drive["normalized_position"] = np.where(
        position > 0.999, 1.0, np.where(position < 0.001, 0.0, position)
    )

    laps = timed(drive.frames())

    assert [laps[n].lap_time_ms for n in (2, 3)] == [LAP_MS] * 2


@pytest.mark.parametrize("frames_late", [-1, 1])
@pytest.mark.parametrize("clock", [True, False])
def test_the_counter_may_move_a_frame_before_or_after_the_wrap(frames_late, clock):
    drive = Drive(rate_hz=9)
    drive["lap_number"] = np.roll(drive["lap_number"], frames_late)
    if not clock:
        drive["lap_clock_ms"] = 0

    laps = timed(drive.without(drive.at(-500, -200) | drive.at(3.4 * LAP_MS)).frames())

    assert sorted(laps) == [1, 2, 3, 4]
    assert [laps[n].lap_time_ms for n in (2, 3)] == [LAP_MS] * 2


def test_a_counter_that_stands_still_is_no_hindrance():
    drive = Drive(start_ms=-15_000)
    drive["lap_number"] = 1

    laps = timed(drive.frames())

    assert sorted(laps) == [1, 2, 3, 4]
    assert [laps[n].lap_time_ms for n in (2, 3, 4)] == [LAP_MS] * 3


def test_the_clock_restarting_at_the_green_light_is_no_lap():
    drive = Drive(start_ms=-30_000, laps=1.5)
    waiting = drive.at(-math.inf, 0)
    drive["lap_number"] = np.where(waiting, 1, drive["lap_number"] - 1)
    drive["normalized_position"][waiting] = 0.0
    drive["speed_kmh"][drive.at(-math.inf, 300)] = 0.0
    drive["lap_clock_ms"][waiting] = drive.t[waiting] + 30_000

    laps = timed(drive.frames())

    assert sorted(laps) == [1]
    assert laps[1].flags == ("out",)
    assert laps[1].lap_time_ms == LAP_MS


def test_a_pause_is_not_part_of_the_lap():
    """The wall clock runs on in the menu, the game's does not."""
    drive = Drive()
    drive["time"][drive.at(60_000)] += 25_000

    lap = timed(drive.frames())[3]

    assert lap.lap_time_ms == LAP_MS
    assert (lap.flags, lap.gaps) == ((), 0)


def test_the_official_time_comes_late_and_corrects_the_lap():
    drive = Drive()
    drive["last_lap_time_ms"] = np.where(drive.t < LAP_MS + 3_000, 39_500, 40_007)
    frames = drive.frames()
    line = int(np.flatnonzero(drive["lap_number"] == 3)[0])

    at_line, engine_state = advance(frames.slice(0, line + 10), None)
    afterwards, _ = advance(frames.slice(line + 10), engine_state)

    assert [lap.official_lap_time_ms for lap in at_line if lap.lap_number == 2] == [None]
    assert replace(at_line[-1], official_lap_time_ms=40_007) == afterwards[0]


def test_an_official_time_too_late_belongs_to_nobody():
    drive = Drive()
    drive["last_lap_time_ms"] = np.where(drive.t < LAP_MS + 11_000, 39_500, 40_300)

    assert timed(drive.frames())[2].official_lap_time_ms is None


def test_two_laps_of_the_same_time_both_get_it():
    drive = Drive()
    drive["last_lap_time_ms"] = np.where(drive.t < LAP_MS + 200, 0, LAP_MS + 3)

    laps = timed(drive.frames())

    assert [laps[n].official_lap_time_ms for n in (2, 3, 4)] == [LAP_MS + 3] * 3


@pytest.mark.parametrize(
    ("channel", "value", "start_ms", "end_ms", "flags"),
    [
        ("pit", 2, LAP_MS, LAP_MS + 9_000, {3: ("out",)}),
        ("pit", 3, LAP_MS - 5_000, LAP_MS, {2: ("in",)}),
        ("pit", 2, LAP_MS - 5_000, LAP_MS + 5_000, {2: ("in",), 3: ("out",)}),
        ("validity", 2, 60_000, 61_000, {3: ("invalid",)}),
    ],
)
def test_the_game_states_pit_and_invalid(channel, value, start_ms, end_ms, flags):
    drive = Drive()
    drive[channel] = np.where(drive.at(start_ms, end_ms), value, 1)

    laps = timed(drive.frames())

    assert {n: laps[n].flags for n in (2, 3, 4) if laps[n].flags} == flags


def test_holes_are_counted_and_a_long_one_makes_the_lap_partial():
    drive = Drive().without(Drive().at(50_000, 50_100) | Drive().at(55_000, 55_600))

    laps = timed(drive.frames())

    assert (laps[3].gaps, laps[3].flags) == (2, ("partial",))
    assert laps[3].lap_time_ms == LAP_MS
    assert (laps[4].gaps, laps[4].flags) == (0, ())


def test_a_short_hole_leaves_the_lap_flying():
    laps = timed(Drive().without(Drive().at(50_000, 50_100)).frames())

    assert (laps[3].gaps, laps[3].flags) == (1, ())


def test_a_hole_over_the_line_spoils_both_laps():
    laps = timed(Drive().without(Drive().at(LAP_MS - 400, LAP_MS + 400)).frames())

    assert laps[2].flags == laps[3].flags == ("partial",)
    assert [laps[n].lap_time_ms for n in (2, 3)] == [LAP_MS] * 2


@pytest.mark.parametrize(("metres", "flags"), [(800, ("partial",)), (-800, ("partial", "reset"))])
def test_a_car_that_is_put_elsewhere_is_noticed(metres, flags):
    """2 km round; forwards it is a teleport, backwards a reset."""
    drive = Drive()
    drive["normalized_position"][drive.at(60_000, 65_000)] += metres / 2_000

    assert set(timed(drive.frames())[3].flags) >= set(flags)


def test_a_restarted_game_takes_no_number_twice():
    """Laps 2 and 3 are finished when the counter falls back to 1: the attempt at lap 4 is dropped,
    its number used again.
    """
    first, second = Drive(laps=2.5), Drive(laps=2.5, start_ms=0)
    gap_ms = int(2.5 * LAP_MS) + 1_000
    second["time"] += gap_ms
    second["lap_number"] -= 1
    before = timed(first.frames())

    laps = timed(pa.concat_tables([first.frames(), second.frames()]))

    assert {n: laps[n] for n in before} == before
    assert sorted(laps) == [1, 2, 3, 4, 5]
    assert "reset" in laps[4].flags
    assert laps[4].started_at_us == (START_MS + gap_ms) * 1000
    assert [laps[n].lap_time_ms for n in (4, 5)] == [LAP_MS] * 2


def test_the_first_lap_driven_again_is_dropped():
    """Restarting within lap 1 moves no counter: the clock restarts, and the car stands
    elsewhere.
    """
    first, second = Drive(laps=0.5, start_ms=0), Drive(laps=1.2, start_ms=0)
    second["time"] += 21_000

    laps = timed(pa.concat_tables([first.frames(), second.frames()]))

    assert sorted(laps) == [2]
    assert laps[2].started_at_us == (START_MS + 21_000) * 1000
    assert laps[2].flags == ("reset",)


def test_sectors_add_up_to_the_lap():
    drive = Drive()
    drive["sector"] = (
        1
        + (drive["normalized_position"] >= 0.3).astype(int)
        + (drive["normalized_position"] >= 0.7)
    )

    lap = timed(drive.frames())[3]

    assert lap.sector_source == "game"
    assert sum(lap.sector_times_ms) == lap.lap_time_ms
    assert lap.sector_times_ms == pytest.approx((12_000, 16_000, 12_000), abs=9)


def test_a_clock_that_is_set_at_the_line_makes_no_lap_of_months():
    """The store's columns hold 24 days of milliseconds, and a lap that does not fit would stop its
    partition.
    """
    drive = Drive()
    drive["time"] = drive["time"] + np.where(drive.at(LAP_MS), 60 * 86_400_000, 0)
    laps = timed(drive.frames())
    assert laps[2].lap_time_ms is None
    assert "partial" in laps[2].flags
    assert laps[3].lap_time_ms == LAP_MS


def test_a_sector_that_the_game_missed_is_measured():
    drive = Drive()
    sector = (
        1
        + (drive["normalized_position"] >= 0.3).astype(int)
        + (drive["normalized_position"] >= 0.7)
    )
    drive["sector"] = np.where((drive["lap_number"] == 3) & (sector == 2), 1, sector)

    laps = timed(drive.frames())

    assert (laps[3].sector_times_ms, laps[3].sector_source) == (
        laps[3].computed_sector_times_ms,
        "computed",
    )
    assert (len(laps[4].sector_times_ms), laps[4].sector_source) == (3, "game")


def test_late_frames_are_left_to_the_store():
    """A resend after an outage brings old frames: they are stored, but laps are not timed again."""
    frames = Drive().frames()
    laps, engine_state = advance(frames, None)

    assert advance(frames.slice(100, 500), engine_state) == ([], engine_state)
    shuffled = pa.concat_tables(
        [frames.slice(0, 3_000), frames.slice(100, 900), frames.slice(3_000)]
    )
    assert timed(shuffled) == {lap.lap_number: lap for lap in laps}


def test_no_frames_change_nothing():
    frames = Drive(laps=1.5).frames()
    _, engine_state = advance(frames, None)

    assert advance(frames.slice(0, 0), None) == ([], None)
    assert advance(frames.slice(0, 0), engine_state) == ([], engine_state)


@st.composite
def drives(draw: st.DrawFn) -> pa.Table:
    """Sessions with everything that goes wrong: late counters and clocks, holes, pauses, jumps,
    restarts, official times.
    """
    parts, offset_ms, sequence = [], 0, 0
    for _ in range(draw(st.integers(1, 3))):
        drive = Drive(
            laps=draw(st.floats(0.1, 3.2)),
            rate_hz=draw(st.sampled_from([4, 9, 20])),
            start_ms=draw(st.integers(-12_000, 0)),
        )
        rows = len(drive.t)
        if draw(st.booleans()):
            drive["lap_number"] = np.concatenate(
                [drive["lap_number"][:1], drive["lap_number"][:-1]]
            )
        if draw(st.booleans()):
            drive["lap_number"] = 1
        clock = draw(st.sampled_from(["good", "late", "none"]))
        if clock == "late":
            drive["lap_clock_ms"] += np.where(drive["lap_clock_ms"] < 1_500, LAP_MS, 0)
        if clock == "none":
            drive["lap_clock_ms"] = 0
        if draw(st.booleans()):
            drive["normalized_position"] = np.clip(drive["normalized_position"] * 1.02 - 0.01, 0, 1)
        if draw(st.booleans()):
            drive["sector"] = 1 + np.floor(drive["normalized_position"] * 2.99).astype(int)
        if draw(st.booleans()):
            delay = draw(st.integers(0, 9_000))
            drive["last_lap_time_ms"] = LAP_MS + np.floor((drive.t - delay) / LAP_MS).astype(int)
        where = draw(st.integers(0, rows - 1))
        match draw(st.sampled_from(["", "pause", "jump", "pit", "invalid"])):
            case "pause":
                drive["time"][where:] += 7_000
            case "jump":
                drive["normalized_position"][where : where + 30] = 0.5
            case "pit":
                drive["pit"] = np.where(np.arange(rows) // 40 == where // 40, 2, 1)
            case "invalid":
                drive["validity"] = np.where(np.arange(rows) == where, 2, 1)
        drive["time"] += offset_ms - int(drive["time"][0]) + START_MS
        drive["sequence"] += sequence
        hole = draw(st.integers(0, rows - 1))
        drive.without(
            (np.arange(rows) > hole) & (np.arange(rows) <= hole + draw(st.integers(0, 12)))
        )
        offset_ms, sequence = (
            int(drive["time"][-1]) - START_MS + draw(st.integers(50, 3_000)),
            int(drive["sequence"][-1]),
        )
        parts.append(drive.frames())
    return pa.concat_tables(parts)


def places(frames: pa.Table) -> st.SearchStrategy[int]:
    """Where a session may be cut: anywhere, and often within a few frames of the line, where it
    hurts most.
    """
    position = frames["normalized_position"].to_numpy()
    lines = np.flatnonzero(np.abs(np.diff(position)) > 0.5).tolist() or [0]
    near_line = st.builds(
        lambda line, k: min(max(line + k, 0), frames.num_rows),
        st.sampled_from(lines),
        st.integers(-6, 6),
    )
    return st.one_of(st.integers(0, frames.num_rows), near_line)


#: The line where these cars have it, and a track that says otherwise; sectors, and how far a car
#: can have come.
ELSEWHERE = TrackLayout(line=0.3, sectors=(0.2, 0.75), length_m=2_000.0)
LAYOUTS = st.sampled_from([UNKNOWN, ELSEWHERE])


@given(drives(), LAYOUTS, st.data())
def test_any_cut_gives_the_same_laps(frames, layout, data):
    """Their parts, reasons and places too."""
    cuts = data.draw(st.lists(places(frames), max_size=12))

    assert timed_in_pieces(frames, cuts, layout) == timed(frames, layout)


@given(st.lists(drives(), min_size=2, max_size=4), st.integers(2, 9))
def test_sessions_are_timed_together_as_each_alone(field, pieces):
    """A batch holds many cars on several tracks; what one of them does is nothing to the others."""
    layouts = [ELSEWHERE if n % 2 else UNKNOWN for n in range(len(field))]
    laps: list[dict[int, Lap]] = [{} for _ in field]
    states: list[EngineState | None] = [None] * len(field)
    for n in range(pieces):
        cuts = [
            (frames.num_rows * n // pieces, frames.num_rows * (n + 1) // pieces) for frames in field
        ]
        together = pa.concat_tables(
            [frames.slice(a, b - a) for frames, (a, b) in zip(field, cuts, strict=True)]
        )
        answers = advance_each(
            together, np.cumsum([b - a for a, b in cuts]).tolist(), states, layouts
        )
        states = [engine_state for _, engine_state in answers]
        for timed_so_far, (ended, _) in zip(laps, answers, strict=True):
            timed_so_far.update({lap.lap_number: lap for lap in ended})

    assert laps == [timed(frames, layout) for frames, layout in zip(field, layouts, strict=True)]


@given(drives(), LAYOUTS, st.data())
def test_any_restart_gives_the_same_laps(frames, layout, data):
    stop = data.draw(places(frames))

    for _, laps, _, going_on in restarted(frames, [stop], layout):
        ended, _ = advance(frames.slice(stop), going_on, layout)
        assert laps | {lap.lap_number: lap for lap in ended} == timed(frames, layout)


def test_frame_by_frame_gives_the_same_laps():
    frames = Drive(laps=1.2, rate_hz=20).frames()

    assert timed_in_pieces(frames, list(range(frames.num_rows))) == timed(frames)


@needs_recordings
@pytest.mark.parametrize("name", RECORDINGS)
def test_real_sessions_may_be_cut_and_restarted_anywhere(name):
    frames = open_recording(DATA / f"{name}.parquet").frames()
    whole = timed(frames)
    rng = np.random.default_rng(1)
    lines = np.flatnonzero(np.diff(frames["lap_number"].to_numpy())) + 1
    near_lines = [int(line + k) for line in lines[:6] for k in (-1, 0, 1, 2)]

    assert timed_in_pieces(frames, rng.integers(0, frames.num_rows, 500).tolist()) == whole
    for stop, _, engine_state, going_on in restarted(
        frames, [*near_lines, *rng.integers(0, frames.num_rows, 30).tolist()]
    ):
        # The laps that follow are made of this and of frames: to drive on from each stop would say
        # the same, and take long.
        assert held(going_on) == held(engine_state), stop


@needs_recordings
@pytest.mark.parametrize(
    ("name", "rms_ms", "worst_ms"),
    [("iracing_okayama_driverA", 3, 6), ("ac_limerock_driverC", 8, 15)],
)
def test_real_laps_are_timed_as_the_game_does(name, rms_ms, worst_ms):
    """The frames carry the jitter of the network that they came over; the game's own lap times do
    not.
    """
    recording = DATA / f"{name}.parquet"
    truth = {
        lap["lap_number"]: lap["lap_time_ms"]
        for lap in json.loads(recording.with_suffix(".json").read_text())["true_laps"]
    }

    laps = timed(open_recording(recording).frames())

    errors = np.array([(laps[n].lap_time_ms or 0) - truth[n] for n in truth])
    assert np.sqrt(np.mean(errors**2)) <= rms_ms
    assert np.abs(errors).max() <= worst_ms


@needs_recordings
def test_real_laps_without_a_clock_are_timed_by_position():
    """Jitter of the arrival time is all that is left: 17 to 35 ms between frames."""
    name = "iracing_okayama_driverA"
    frames = open_recording(DATA / f"{name}.parquet").frames()
    no_clock = pa.array(np.zeros(frames.num_rows, np.int32))
    frames = frames.set_column(
        frames.schema.get_field_index("lap_clock_ms"), frames.schema.field("lap_clock_ms"), no_clock
    )
    truth = {
        lap["lap_number"]: lap["lap_time_ms"]
        for lap in json.loads((DATA / f"{name}.json").read_text())["true_laps"]
    }

    laps = timed(frames)

    errors = np.array([(laps[n].lap_time_ms or 0) - truth[n] for n in truth if n > 1])
    assert np.sqrt(np.mean(errors**2)) <= 9


@needs_recordings
def test_the_grid_before_the_line_is_no_lap():
    """Assetto Corsa's position runs 0.99, 1.0, 0 on the way from the grid over the line, in lap
    1.
    """
    laps = timed(open_recording(DATA / "ac_imola_driver1.parquet").frames())

    assert sorted(laps) == [1, 2, 3]
    assert laps[1].flags == ("out",)
