"""What real games and recorders do at the line, held against how the car was driven.

Each case is a kind that public recordings show: counters, clocks, flags and official times that lag
or lead, clocks that stand, pauses, holes, formation laps, and recordings that are slow or that end
with their lap.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.laps.engine import advance, timed
from analytics.model.channels import FRAMES
from analytics.model.lap import Lap

START_MS = 1_700_000_000_000
LENGTH_M = 4_000.0
LAPS_S = (60.0, 55.0, 54.0, 56.0)


@dataclass
class Session:
    """Laps of even speed, as the columns of frames that a case may spoil; ``t`` is s since the
    first line.
    """

    laps_s: tuple[float, ...] = LAPS_S
    rate_hz: float = 20.0
    tail_s: float = 15.0
    columns: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ends_s = np.cumsum(self.laps_s)
        self.t = np.arange(0.007, self.ends_s[-1] + self.tail_s, 1 / self.rate_hz)
        self.lap = np.searchsorted(self.ends_s, self.t, side="right")
        begun = np.concatenate([[0.0], self.ends_s])[self.lap]
        taken = np.array([*self.laps_s, 55.0])[self.lap]
        self.columns = {
            "time_ms": START_MS + np.round(1000 * self.t),
            "lap_number": self.lap + 1,
            "lap_clock_ms": np.floor(1000 * (self.t - begun)),
            "normalized_position": (self.t - begun) / taken,
            "speed_kmh": 3.6 * LENGTH_M / taken,
            "last_lap_time_ms": np.concatenate([[0], np.round(1000 * np.array(self.laps_s))])[
                self.lap
            ],
            "validity": np.ones(len(self.t)),
        }

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[name]

    def __setitem__(self, name: str, values: np.ndarray) -> None:
        self.columns[name] = np.broadcast_to(values, len(self.t)).copy()

    def keep(self, frames: np.ndarray) -> None:
        self.t, self.lap = self.t[frames], self.lap[frames]
        self.columns = {name: values[frames] for name, values in self.columns.items()}

    def frames(self) -> pa.Table:
        known = {
            **self.columns,
            "time": self["time_ms"] * 1000,
            "sequence": np.arange(1, len(self.t) + 1),
        }
        return pa.table(
            [_column(one, known.get(one.name), len(self.t)) for one in FRAMES], schema=FRAMES
        )

    def timed(self) -> list[Lap]:
        """The laps, each as it was emitted last."""
        return list({lap.lap_number: lap for lap in advance(self.frames(), None)[0]}.values())

    def times_s(self) -> list[float | None]:
        return [lap.lap_time_ms and lap.lap_time_ms / 1000 for lap in self.timed()]


def driven_back(at_s: float, back_s: float) -> Session:
    """The game goes so far back at a time, and the recording goes on: what was driven stays."""
    session = Session()
    jump, again = np.searchsorted(session.t, [at_s, at_s - back_s])
    session.keep(np.concatenate([np.arange(jump), np.arange(again, len(session.t))]))
    session["time_ms"] = START_MS + 50 * np.arange(len(session.t)) + 7
    return session


def _column(one: pa.Field, values: np.ndarray | None, rows: int) -> pa.Array:
    if values is not None:
        return (
            pa.array(values)
            .cast(pa.int64() if pa.types.is_timestamp(one.type) else one.type, safe=False)
            .cast(one.type)
        )
    return pa.nulls(rows, one.type) if one.nullable else pa.array(np.zeros(rows)).cast(one.type)


TRUE_S = [pytest.approx(seconds, abs=0.002) for seconds in LAPS_S]
#: Where only the position tells, rounded times of frames move a crossing by a millisecond or two.
NEAR_MS = [pytest.approx(1000 * seconds, abs=4) for seconds in LAPS_S]
NEAR_S = [pytest.approx(seconds, abs=0.004) for seconds in LAPS_S]


@pytest.mark.parametrize("early_s", [0.05, 0.4, 1.5, 4.0])
def test_a_counter_that_rises_before_the_line(early_s: float) -> None:
    session = Session()
    session["lap_number"] = np.searchsorted(session.ends_s - early_s, session.t, side="right") + 1

    assert session.times_s() == TRUE_S
    assert {lap.kind for lap in session.timed()} == {"flying"}


@pytest.mark.parametrize("late_s", [0.05, 1.0, 4.0, 9.0])
def test_a_counter_that_rises_after_the_clock_restarted(late_s: float) -> None:
    session = Session()
    session["lap_number"] = np.searchsorted(session.ends_s + late_s, session.t, side="right") + 1

    assert session.times_s() == TRUE_S
    assert [lap.lap_number for lap in session.timed()] == [1, 2, 3, 4]


@pytest.mark.parametrize("read", [12_345, 40_000])
def test_a_clock_that_stands_while_the_car_drives(read: int) -> None:
    """It was taken for a pause: a lap of 12 s, flying, and the record of the track."""
    session = Session()
    session["lap_clock_ms"] = np.where(session.lap == 2, read, session["lap_clock_ms"])

    assert session.times_s() == NEAR_S


def test_a_clock_that_stands_in_the_first_lap_gives_it_no_time() -> None:
    session = Session()
    session["lap_clock_ms"] = np.where(session.lap == 0, 30_000, session["lap_clock_ms"])

    times = session.times_s()
    assert times[0] in (None, pytest.approx(60.0, abs=0.01))
    assert times[1:] == NEAR_S[1:]


@pytest.mark.parametrize("step_ms", [100, 250, 1_000])
def test_a_clock_that_runs_in_steps_is_no_stopwatch(step_ms: int) -> None:
    """Exports that show tenths or whole seconds: the position at 20 Hz says more."""
    session = Session()
    session["lap_clock_ms"] = session["lap_clock_ms"] // step_ms * step_ms

    # No line was seen before the first lap: its time is the clock's, to a step, or none.
    first, *others = session.times_s()
    assert others == NEAR_S[1:]
    assert first is None or first == pytest.approx(60, abs=step_ms / 1000)


#: Lap times that are no whole number of steps at any rate here.
ODD_LAPS_S = (60.013, 55.171, 54.337, 56.219)


def uneven(rate_hz: float) -> Session:
    """At the line the car is 1.4 times as fast as on average."""
    session = Session(laps_s=ODD_LAPS_S, rate_hz=rate_hz)
    share = session["normalized_position"]
    session["normalized_position"] = share + 0.4 * np.sin(2 * np.pi * share) / (2 * np.pi)
    session["speed_kmh"] = session["speed_kmh"] * (1 + 0.4 * np.cos(2 * np.pi * share))
    return session


def from_first_frames(session: Session) -> np.ndarray:
    """The time since the first frame with the number of the lap."""
    first_ms = [session["time_ms"][session.lap == lap][0] for lap in np.unique(session.lap)]
    return session["time_ms"] - np.array(first_ms)[session.lap]


def from_position(session: Session) -> np.ndarray:
    """The lap's time, spread evenly over the track."""
    taken_ms = 1000 * np.array([*ODD_LAPS_S, 55.0])[session.lap]
    return np.floor(taken_ms * session["normalized_position"])


def interpolated(session: Session) -> np.ndarray:
    """A clock that the game showed twice a second, with straight lines between the readings."""
    shown_s = np.arange(0, session.t[-1] + 0.5, 0.5)
    begun_s = np.concatenate([[0], session.ends_s])[np.searchsorted(session.ends_s, shown_s)]
    return np.floor(np.interp(session.t, shown_s, 1000 * (shown_s - begun_s)))


def with_offset(session: Session) -> np.ndarray:
    """A clock that is 0.14 s ahead in each lap."""
    return session["lap_clock_ms"] + 140


@pytest.mark.parametrize("rate_hz", [9.0, 20.0])
@pytest.mark.parametrize("clock", [from_first_frames, from_position, interpolated, with_offset])
def test_a_clock_that_was_derived_is_no_stopwatch(
    clock: Callable[[Session], np.ndarray], rate_hz: float
) -> None:
    """At 9 Hz, laps by the clock of an export were up to 100 ms off."""
    session = uneven(rate_hz)
    session["lap_clock_ms"] = clock(session)

    laps = session.timed()

    assert {lap.kind for lap in laps} == {"flying"}
    # No line was seen before the first lap: its time is the clock's, to a step, or none.
    first, *others = (lap.lap_time_ms for lap in laps)
    assert others == [pytest.approx(1000 * lap_s, abs=4) for lap_s in ODD_LAPS_S[1:]]
    assert first is None or first == pytest.approx(1000 * ODD_LAPS_S[0], abs=1000 / rate_hz)


@pytest.mark.parametrize("pause_s", [2.0, 60.0, 3_600.0])
def test_a_pause_is_no_part_of_the_lap_and_does_not_spoil_it(pause_s: float) -> None:
    session = Session()
    session["time_ms"] = session["time_ms"] + 1000 * pause_s * (session.t > 80)

    assert session.times_s() == TRUE_S
    assert {lap.kind for lap in session.timed()} == {"flying"}


def test_a_pause_in_which_frames_went_on_is_no_part_of_the_lap() -> None:
    """The recorder writes the same frame again and again."""
    session = Session()
    row = int(np.searchsorted(session.t, 80))
    session.keep(
        np.concatenate([np.arange(row), np.full(400, row), np.arange(row, len(session.t))])
    )
    session["time_ms"] = START_MS + 50 * np.arange(len(session.t)) + 7

    assert session.times_s() == TRUE_S


@pytest.mark.parametrize("none", [2_147_483_647, -1, 0, 86_400_001])
def test_a_number_that_means_no_time_is_no_official_time(none: int) -> None:
    session = Session()
    session["last_lap_time_ms"] = np.where(session.lap == 2, none, session["last_lap_time_ms"])

    assert [lap.official_lap_time_ms for lap in session.timed()] == [60_000, None, 54_000, 56_000]


def test_the_time_of_an_older_lap_comes_first_and_is_not_believed() -> None:
    session = Session()
    session["last_lap_time_ms"][np.flatnonzero(session.lap == 3)[:3]] = 60_000

    assert [lap.official_lap_time_ms for lap in session.timed()] == [60_000, 55_000, 54_000, 56_000]


def test_an_official_time_that_is_corrected_is_the_later_one() -> None:
    session = Session()
    session["last_lap_time_ms"][np.flatnonzero(session.lap == 3)[:20]] = 54_100

    assert [lap.official_lap_time_ms for lap in session.timed()] == [60_000, 55_000, 54_000, 56_000]


@pytest.mark.parametrize("lag_s", [0.1, 1.0, 4.0])
def test_the_invalid_flag_outlives_its_lap(lag_s: float) -> None:
    session = Session()
    invalid = (session.t > 70) & (session.t < session.ends_s[1] + lag_s)
    session["validity"] = np.where(invalid, 2, 1)

    assert [lap.kind for lap in session.timed()] == ["flying", "invalid", "flying", "flying"]


def test_a_hole_in_which_the_car_stood_does_not_spoil_the_lap() -> None:
    """The garage, or frames that came late in one burst."""
    session = Session()
    row = int(np.searchsorted(session.t, 80))
    later = np.arange(len(session.t)) >= row
    for name, step in (("time_ms", 5_000), ("lap_clock_ms", 5_000 * (session.lap == 1))):
        session[name] = session[name] + later * step

    lap = session.timed()[1]
    assert (lap.kind, lap.gaps) == ("flying", 0)
    assert lap.lap_time_ms == pytest.approx(60_000, abs=4)


def test_a_hole_in_which_the_car_drove_makes_the_lap_partial() -> None:
    session = Session()
    session.keep((session.t < 80) | (session.t > 82))

    assert [(lap.kind, lap.gaps) for lap in session.timed()][1] == ("partial", 1)


@pytest.mark.parametrize("rate_hz", [1.0, 1.7, 4.0])
def test_slow_recordings_have_flying_laps(rate_hz: float) -> None:
    session = Session(rate_hz=rate_hz)

    assert {lap.kind for lap in session.timed()} == {"flying"}
    assert session.times_s() == [pytest.approx(seconds, abs=0.02) for seconds in LAPS_S]


def test_a_formation_lap_is_no_part_of_the_first_lap() -> None:
    """The clock reads 0 and the counter 1 until the race begins."""
    session = Session(laps_s=(80.0, *LAPS_S))
    formation = session.lap == 0
    session["lap_number"] = np.maximum(session.lap, 1)
    session["lap_clock_ms"] = np.where(formation, 0, session["lap_clock_ms"])
    session["last_lap_time_ms"] = np.where(session.lap < 2, 0, session["last_lap_time_ms"])

    assert session.times_s() == TRUE_S
    assert session.timed()[0].started_at_us == pytest.approx((START_MS + 80_000) * 1000, abs=2_000)
    assert session.timed()[0].frames == 1_200


@st.composite
def odd_sessions(draw: st.DrawFn) -> Session:
    """Counters, flags and official times each with a lag of its own, at some rate, with a pause or
    none.
    """
    session = Session(rate_hz=draw(st.sampled_from([9.0, 20.0])), tail_s=12.0)
    ends_s, t = session.ends_s, session.t
    session["lap_number"] = np.searchsorted(ends_s + draw(st.floats(-3, 8)), t, side="right") + 1
    late = np.searchsorted(ends_s + draw(st.floats(0, 5)), t, side="right")
    session["last_lap_time_ms"] = np.concatenate([[0], np.round(1000 * np.array(LAPS_S))])[late]
    invalid = (t > ends_s[1] - 20) & (t < ends_s[1] + draw(st.floats(0.0, 4.0)))
    session["validity"] = np.where(invalid, 2, 1)
    pause_at_s = draw(st.floats(70, 100))
    session["time_ms"] = session["time_ms"] + 1000 * draw(st.sampled_from([0, 0, 30])) * (
        t > pause_at_s
    )
    return session


@settings(max_examples=15)
@given(odd_sessions(), st.integers(100, 2_000))
def test_lags_of_any_kind_change_no_lap(session: Session, batch: int) -> None:
    """Held against how the car was driven, and however the frames are cut into batches."""
    frames, engine_state, laps = session.frames(), None, {}
    for start in range(0, len(frames), batch):
        ended, engine_state = advance(frames.slice(start, batch), engine_state)
        laps |= {lap.lap_number: lap for lap in ended}

    assert list(laps.values()) == session.timed()
    assert [lap.lap_time_ms / 1000 for lap in laps.values() if lap.lap_time_ms] == TRUE_S
    assert [lap.official_lap_time_ms for lap in laps.values()] == [60_000, 55_000, 54_000, 56_000]
    assert [lap.kind for lap in laps.values()] == ["flying", "invalid", "flying", "flying"]


@pytest.mark.parametrize("rate_hz", [9.0, 60.0])
def test_a_recording_that_stops_at_the_line_ends_with_a_lap(rate_hz: float) -> None:
    """Single laps that programs export, and logs that stop when the car has finished."""
    session = Session(laps_s=(60.0, 55.0), rate_hz=rate_hz)
    session.keep(session.t < session.ends_s[-1])

    laps = timed(session.frames())

    assert [lap.lap_time_ms for lap in laps] == [
        pytest.approx(60_000, abs=2),
        pytest.approx(55_000, abs=4),
    ]
    assert [lap.kind for lap in laps] == ["flying", "flying"]


def test_a_recording_that_stops_elsewhere_does_not_end_with_a_lap() -> None:
    session = Session(laps_s=(60.0, 55.0))
    session.keep(session.t < session.ends_s[-1] - 1.0)

    assert len(timed(session.frames())) == 1


def test_a_recording_that_stops_just_behind_the_line_ends_with_a_lap() -> None:
    """The counter and the clock come too late to be in it."""
    session = Session(laps_s=(60.0, 55.0))
    session.keep(session.t < session.ends_s[-1] + 0.06)
    behind = session.lap == 2
    session["lap_number"] = np.where(behind, 2, session["lap_number"])
    session["lap_clock_ms"] = np.where(
        behind, 55_000 + session["lap_clock_ms"], session["lap_clock_ms"]
    )

    assert [lap.lap_time_ms for lap in timed(session.frames())] == pytest.approx(
        [60_000, 55_000], abs=4
    )


@pytest.mark.parametrize("back_s", [3.0, 8.0, 20.0])
def test_laps_do_not_overlap_after_going_back_over_the_line(back_s: float) -> None:
    """Frames that were driven before the game was put back belong to one lap, and their number is
    that of the interval.
    """
    session = driven_back(sum(LAPS_S[:2]) + 3.0, back_s)
    laps = session.timed()
    time_us = session["time_ms"] * 1000
    for lap in laps:
        held = (time_us >= lap.started_at_us) & (time_us < lap.ended_at_us)
        assert np.count_nonzero(held) == lap.frames
    assert all(a.ended_at_us <= b.started_at_us for a, b in pairwise(laps))
    assert [lap.lap_time_ms for lap in laps[-2:]] == NEAR_MS[-2:]
