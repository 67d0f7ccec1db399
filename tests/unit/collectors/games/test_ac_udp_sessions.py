"""Of Assetto Corsa's datagrams: where sessions begin and end, which frames there are, and when they
were.
"""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.codec.blanking import blanked_fields
from ingest.collectors.games.ac.udp_protocol import parse
from ingest.collectors.games.interface import SessionBegan
from ingest.telemetry_pb2 import TelemetryFrame
from tests.unit import ac
from tests.unit.ac import WALL_MS, Remote, frames, kinds


def test_a_session_begins_with_its_first_moving_moment():
    remote = Remote()

    assert kinds(remote.here()) == "", "it may be paused"
    assert kinds(remote.drive(3)) == "began frame frame frame frame"
    facts = remote.said[0].facts
    assert (facts.game, facts.car, facts.driver) == (
        "Assetto Corsa",
        "ks_ferrari_488_gt3",
        "Ada Lovelace",
    )
    assert (facts.track, facts.started_at) == ("ks_nurburgring/layout_gp", WALL_MS + 1_000_000)


def test_before_the_answer_nothing_is_believed():
    remote = Remote()
    remote.sessions._answer = None

    assert remote.drive(5) == []


def test_a_pause_yields_nothing_and_ends_nothing():
    remote = Remote()
    remote.drive(5)

    for _ in range(600):
        remote.wait(1)
        assert remote.here() == []
    assert kinds(remote.drive(2)) == "frame frame"


def test_after_half_an_hour_of_silence_nobody_waits():
    remote = Remote()
    remote.drive(5)

    assert remote.sessions.waited(remote.now_s + 1799) == []
    assert kinds(remote.sessions.waited(remote.now_s + 1801)) == "ended"
    assert kinds(remote.drive(2)) == "began frame frame"


def test_the_same_answer_again_changes_nothing():
    """The game is asked again after each silence."""
    remote = Remote()
    remote.drive(5)
    remote.wait(3)

    assert remote.sessions.answered(parse(ac.answer())) == []
    assert kinds(remote.drive(2)) == "frame frame"


@pytest.mark.parametrize("field", ["carName", "driverName", "trackName", "trackConfig"])
def test_another_answer_is_another_session(field):
    remote = Remote()
    remote.drive(5)

    assert kinds(remote.sessions.answered(parse(ac.answer(**{field: "other"})))) == "ended"
    assert kinds(remote.drive(2)) == "began frame frame"


def test_a_new_lap_goes_on():
    remote = Remote()
    remote.drive(100)
    remote.lap_count, remote.clock_ms = 1, 0

    assert kinds(remote.drive(3, lastLap=1650)) == "frame frame frame"


@pytest.mark.parametrize("odd", [(1, 90_017), (0, 5)], ids=["counter first", "clock first"])
def test_counter_and_clock_that_do_not_turn_together_lose_no_frame(odd):
    remote = Remote()
    remote.clock_ms = 89_000
    remote.drive(60)
    remote.clock_ms = 89_997
    remote.drive(1)
    remote.wait(0.015)
    remote.here(lapCount=odd[0], lapTime=odd[1])
    remote.lap_count, remote.clock_ms = 1, 5
    remote.drive(20)

    assert kinds(remote.said) == "began" + 82 * " frame"
    assert odd in [(frame.lap_number - 1, frame.lap_time) for frame in frames(remote.said)]
    assert remote.complaints.counts == {}


def test_the_counter_going_back_is_another_session():
    remote = Remote()
    remote.lap_count = 3
    remote.drive(20)
    remote.wait(2)
    remote.lap_count, remote.clock_ms = 0, 0

    assert kinds(remote.drive(20)) == "ended began" + 20 * " frame"


def test_a_first_lap_begun_again_is_another_session():
    """After a menu, or where the car stands somewhere else at once."""
    for wait_s, way_m in ((2.0, 0.0), (0.015, -900.0)):
        remote = Remote()
        remote.drive(400)
        remote.wait(wait_s)
        remote.clock_ms, remote.x_m = 0, remote.x_m + way_m

        assert kinds(remote.drive(20)) == "ended began" + 20 * " frame"


def test_a_flying_start_is_the_same_session():
    """The clock goes to zero at the line, and no lap is counted."""
    remote = Remote()
    remote.drive(400)
    remote.clock_ms = 0

    assert kinds(remote.drive(20)) == " ".join(["frame"] * 20)


def test_back_into_the_pits_is_the_same_session():
    remote = Remote()
    remote.lap_count = 2
    remote.drive(400)
    remote.wait(3)
    remote.clock_ms, remote.x_m = 0, -500.0

    assert kinds(remote.drive(20, isInPit=1)) == " ".join(["frame"] * 20)
    assert remote.complaints.counts == {"the car jumped; sent as it is": 1}


def test_a_datagram_that_was_overtaken_is_counted():
    remote = Remote()
    remote.drive(100)

    assert remote.here(lapTime=remote.clock_ms - 18) == []
    assert remote.here(lapTime=remote.clock_ms - 33) == []
    assert kinds(remote.drive(50)) == " ".join(["frame"] * 50)
    assert remote.complaints.counts == {"came late": 2}


def test_one_moment_elsewhere_is_no_frame():
    """40 km away and back: no car, and no session."""
    remote = Remote()
    remote.drive(100)
    remote.now_s += 0.015

    assert remote.here(lapTime=remote.clock_ms + 15, carCoordinates=(40_000.0, 0.0, 0.0)) == []
    assert kinds(remote.drive(2)) == "frame frame"
    assert remote.complaints.counts == {"does not go on from what came before": 1}


@pytest.mark.parametrize("laps", [0, 4])
@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"lapCount": -7}, "lap_number"),
        ({"lapCount": 2**31 - 1}, "lap_number"),
        ({"lapTime": -5}, "lap_time"),
        ({"lapTime": 1_999_999_999}, "lap_time"),
        ({"carPositionNormalized": 7.0}, "normalized_position"),
        ({"carPositionNormalized": float("nan")}, "normalized_position"),
        ({"carCoordinates": (1e30, 0.0, 0.0)}, "x"),
    ],
)
def test_unknown_value_costs_no_frame_and_no_session(fields, name, laps):
    """What says no lap, clock or place was thrown away, and a place that cannot be was taken for a
    jump.
    """
    remote, same = Remote(), Remote()
    for one, odd in ((remote, fields), (same, {})):
        one.lap_count = laps
        one.drive(50)
        one.drive(40, **odd)
        one.drive(50)

    assert kinds(remote.said) == kinds(same.said)
    told = frames(remote.said)
    assert [blanked_fields(frame) for frame in told] == [()] * 50 + [(name,)] * 40 + [()] * 50
    assert [f.timestamp for f in told] == pytest.approx(
        [f.timestamp for f in frames(same.said)], abs=500
    )
    assert [f.timestamp for f in told[90:]] == pytest.approx(
        [f.timestamp for f in frames(same.said)][90:], abs=10
    )
    assert remote.complaints.counts == {}


def test_a_replay_of_what_was_driven_yields_nothing():
    remote = Remote()
    remote.clock_ms = 30_000
    remote.drive(300)
    clock_ms, x_m = remote.clock_ms, remote.x_m

    for _ in range(3):
        remote.clock_ms, remote.x_m = 31_000, 50.0
        assert remote.drive(200) == []
    remote.clock_ms, remote.x_m = clock_ms, x_m
    assert kinds(remote.drive(2)) == "frame frame"


def test_a_network_that_was_away_for_laps():
    remote = Remote()
    remote.drive(100)
    remote.wait(200)
    remote.lap_count, remote.clock_ms, remote.x_m = 2, 33_000, -700.0

    assert kinds(remote.drive(2)) == "frame frame"


def test_the_official_time_comes_with_whichever_datagram_is_first():
    remote = Remote()
    remote.lap_count = 4
    remote.drive(10, lastLap=90_111)
    remote.lap_count, remote.clock_ms = 5, 0

    remote.sessions.lap_done(parse(ac.lap(4, 91_222, driver="Somebody Else")))
    assert frames(remote.drive(1, lastLap=90_111))[-1].last_lap_time == 90_111
    remote.sessions.lap_done(parse(ac.lap(4, 90_777)))
    assert frames(remote.drive(1, lastLap=90_111))[-1].last_lap_time == 90_777
    remote.lap_count, remote.clock_ms = 6, 0
    assert frames(remote.drive(1, lastLap=89_999))[-1].last_lap_time == 89_999


def test_the_wheel_is_reported_in_shares_of_the_lock():
    remote = Remote()
    remote.drive(2)

    assert [frame.steering for frame in frames(remote.drive(1, steer=-225.0))] == [-0.5]
    assert [frame.steering for frame in frames(remote.drive(1, steer=900.0))] == [1.0]
    assert [frame.steering for frame in frames(remote.drive(1, steer=225.0))] == [0.25], (
        "the lock is 900 as it seems"
    )
    assert [blanked_fields(frame) for frame in frames(remote.drive(1, steer=5000.0))] == [
        ("steering",)
    ]


def test_times_follow_the_lap_clock_through_a_jittering_network():
    """Arrivals are late by up to 40 ms, differently each time; the times between frames are the
    game's.
    """
    remote = Remote()
    jitter = [0, 13, 40, 2, 27, 9, 38, 21]
    for step in range(600):
        remote.clock_ms += 18
        remote.x_m += 1
        remote.here(arrives_s=1000 + (18 * step + jitter[step % 8]) / 1000)

    times = [frame.timestamp for frame in frames(remote.said)]
    assert {after - before for before, after in pairwise(times[8:])} == {18}
    assert all(
        0 <= WALL_MS + 1_000_000 + 18 * step - time <= 1 for step, time in enumerate(times[8:], 8)
    )


def test_a_pause_takes_its_time():
    remote = Remote()
    remote.drive(100)
    before = frames(remote.said)[-1].timestamp
    remote.wait(60)
    remote.drive(1)

    assert frames(remote.said)[-1].timestamp - before == pytest.approx(60_015, abs=20)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("drive"), st.integers(1, 30)),
        st.tuples(st.just("wait"), st.floats(0, 700)),
        st.tuples(st.just("lap"), st.integers(0, 2000)),
        st.tuples(st.just("again"), st.integers(0, 2000)),
        st.tuples(st.just("put"), st.integers(-5000, 5000)),
        st.tuples(st.just("odd"), st.integers(-(2**31), 2**31 - 1)),
    ),
    max_size=25,
)


@given(steps)
def test_whatever_happens_frames_are_in_sessions_and_in_order(course):
    remote = Remote()
    for what, how in course:
        match what:
            case "drive":
                remote.drive(how)
            case "wait":
                remote.wait(how)
            case "lap":
                remote.lap_count, remote.clock_ms = remote.lap_count + 1, how
            case "again":
                remote.lap_count, remote.clock_ms = 0, how
            case "put":
                remote.x_m += how
            case "odd":
                remote.here(lapTime=how)
    sessions = (" ".join(kinds(remote.said).split())).split("began")
    assert sessions[0] == "", "no frame before the first session"
    assert all(one.removesuffix(" ended ").strip("frame ") == "" for one in sessions)
    times = [0]
    for event in remote.said:
        if isinstance(event, SessionBegan):
            times = [0]
        elif isinstance(event, TelemetryFrame):
            times.append(event.timestamp)
            assert times[-2] < times[-1] <= WALL_MS + 1000 * remote.now_s + len(times)


@given(st.lists(st.integers(20, 60), max_size=6))
def test_a_drive_is_reported_without_a_loss(laps):
    """However long laps are: every moment is a frame, all in one session."""
    remote = Remote()
    driven = 0
    for steps_of_lap in laps:
        driven += steps_of_lap
        remote.drive(steps_of_lap)
        remote.lap_count, remote.clock_ms = remote.lap_count + 1, 0
    assert len(frames(remote.said)) == driven
    assert kinds(remote.said).count("began") == (driven > 0)
