"""When ACC's pages begin a session, end one, and give frames."""

from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.codec.blanking import blank_implausible, blanked_fields
from ingest.collectors.games.acc import broadcast_protocol
from ingest.telemetry_pb2 import LapValidity, PitState
from tests.game_emulators import acc_messages as game
from tests.unit.acc import (
    LIVE,
    NONE_MS,
    OFF,
    PAUSE,
    REPLAY,
    Followed,
    car_update,
    frames,
    kinds,
    lap,
    pages,
)

UNKNOWN_PLACE = (0.0, 0.0, 0.0)


@pytest.fixture
def followed():
    return Followed()


def hear(followed, message):
    followed.broadcast.take(broadcast_protocol.parse(message.encode())[0], now_s=followed.now_s)


def test_a_session_begins_with_its_first_frame(followed):
    began, *_ = said = followed.drive(4)

    assert kinds(said) == "began frame frame"
    facts = began.facts
    assert (facts.game, facts.track, facts.car) == (
        "Assetto Corsa Competizione",
        "monza",
        "ferrari_296_gt3",
    )
    assert (facts.driver, facts.track_length, facts.sector_count) == ("Ada Lovelace", 5793, 3)
    assert facts.sample_rate == 60
    assert said[1].timestamp == facts.started_at
    assert (facts.id, facts.user_id) == ("", "")


def test_what_a_frame_states(followed):
    frame = frames(followed.drive(3))[0]

    assert (frame.lap_number, frame.lap_time, frame.last_lap_time, frame.sector) == (
        3,
        50_000,
        107_123,
        2,
    )
    assert (frame.throttle, frame.brake, frame.speed, frame.gear, frame.rpm) == (
        0.5,
        0.0,
        180.0,
        3,
        7000,
    )
    assert (frame.x, frame.y, frame.z) == (100.0, 5.0, -200.0)
    assert (frame.pit, frame.validity) == (
        PitState.PIT_STATE_ON_TRACK,
        LapValidity.LAP_VALIDITY_VALID,
    )


@pytest.mark.parametrize(("raw", "gear"), [(0, -1), (1, 0), (2, 1), (7, 6)])
def test_gears(followed, raw, gear):
    assert frames(followed.drive(physics={"gear": raw}))[0].gear == gear


def test_no_time_is_zero(followed):
    frame = frames(followed.drive(graphics={"iLastTime": NONE_MS, "iCurrentTime": NONE_MS}))[0]

    assert (frame.last_lap_time, frame.lap_time) == (0, 0)


@pytest.mark.parametrize(
    ("flags", "pit"),
    [
        ({"isInPitLane": 1}, PitState.PIT_STATE_PIT_LANE),
        ({"isInPitLane": 1, "isInPit": 1}, PitState.PIT_STATE_PIT_BOX),
        ({"isInPit": 1}, PitState.PIT_STATE_PIT_BOX),
    ],
)
def test_pits(followed, flags, pit):
    assert frames(followed.drive(graphics=flags))[0].pit == pit


def test_a_car_that_has_no_slot_is_nowhere(followed):
    frame = frames(followed.drive(graphics={"playerCarID": 44}))[0]

    assert (frame.x, frame.y, frame.z) == UNKNOWN_PLACE


def test_without_a_step_of_the_physics_there_is_no_frame(followed):
    followed.drive()

    assert followed.look(moved=False) == []
    assert kinds(followed.drive(2)) == "frame frame"


def test_half_a_page_that_a_dead_game_left_is_never_reported(followed):
    """The page is new and does not change any more: it looks as whole as any."""
    followed.drive()
    said = followed.look(physics={"speedKmh": 1.0})
    said += [
        event for _ in range(10) for event in followed.look(moved=False, physics={"speedKmh": 1.0})
    ]
    said += followed.driving.gone("the game is gone")

    assert kinds(said) == "frame ended"
    assert frames(said)[0].speed == 180


def test_a_stale_page_begins_nothing(followed):
    """A bridge that was killed leaves the last page behind, live."""
    assert [event for _ in range(10) for event in followed.look(moved=False)] == []


def test_live_pages_that_stand_still_for_a_minute_are_an_end(followed):
    followed.drive()
    followed.now_s += 61

    assert kinds(followed.look(moved=False)) == "ended"
    assert followed.look(moved=False) == []


@pytest.mark.parametrize("status", [PAUSE, REPLAY])
@pytest.mark.parametrize("moved", [True, False])
def test_pause_and_replay_yield_nothing(followed, status, moved):
    followed.drive()
    said = [h for _ in range(120) for h in followed.look(moved=moved, graphics={"status": status})]

    assert kinds(said) in {"frame", ""}  # that of the moment before
    assert "ended" not in kinds(followed.drive(3))


def test_a_step_of_the_replay_under_the_old_status_is_not_reported(followed):
    """The status is on another page than the step, and is written later."""
    followed.drive()
    followed.look(physics={"speedKmh": 33.0})

    assert frames(followed.look(physics={"speedKmh": 33.0}, graphics={"status": REPLAY})) == []
    assert 33.0 not in [frame.speed for frame in frames(followed.drive(3))]


def test_a_pause_moves_no_clock(followed):
    first = frames(followed.drive(3))[-1]
    followed.look(graphics={"status": PAUSE})
    followed.now_s += 100
    last = frames(followed.drive(3))[-1]

    assert last.timestamp - first.timestamp == pytest.approx(100_000, abs=100)


def test_the_menus_end_a_session(followed):
    followed.drive()

    assert kinds(followed.look(graphics={"status": OFF})) == "frame ended"
    assert followed.look(graphics={"status": OFF}) == []
    assert kinds(followed.drive(2)) == "began frame"


@pytest.mark.parametrize(
    ("change", "of"),
    [
        ({"sessionIndex": 1}, "graphics"),
        ({"session": 2}, "graphics"),
        ({"completedLaps": 0, "iCurrentTime": 0}, "graphics"),
        ({"carModel": "bmw_m4_gt3"}, "static"),
        ({"track": "Spa"}, "static"),
    ],
)
def test_another_session_begins(followed, change, of):
    followed.drive()
    said = followed.drive(3, **{of: change})

    assert kinds(said) == "frame ended began frame frame"


def test_a_track_is_the_same_however_it_is_written(followed):
    followed.drive()

    assert "ended" not in kinds(followed.drive(3, static={"track": "Monza"}))


def test_a_restart_in_the_first_lap_is_seen_by_the_sessions_clock(followed):
    first = {"completedLaps": 0, "sessionTimeLeft": 500_000.0}
    followed.drive(graphics=first)

    assert "ended" not in kinds(followed.drive(3, graphics=first | {"sessionTimeLeft": 503_000.0}))
    assert (
        kinds(followed.drive(3, graphics=first | {"sessionTimeLeft": 600_000.0}))
        == "frame ended began frame frame"
    )


def test_a_restart_of_the_game_is_seen_by_its_count_of_steps(followed):
    followed.packet_id = 100_000
    followed.drive(graphics={"completedLaps": 0})
    followed.packet_id = 0

    assert (
        kinds(followed.drive(3, graphics={"completedLaps": 0})) == "frame ended began frame frame"
    )


def test_steps_that_count_again_within_a_session_end_nothing(followed):
    followed.packet_id = 100_000
    followed.drive()
    followed.packet_id = 0

    assert "ended" not in kinds(followed.drive())


@pytest.mark.parametrize("completed", [2**31 - 1, 1_000_000, -7])
def test_a_counter_that_cannot_be_ends_no_session(followed, completed):
    """It was taken for a lap count that went back, when it could be again."""
    followed.drive(4)
    odd = frames(followed.drive(3, graphics={"completedLaps": completed}))
    after = followed.drive(3)

    assert ("lap_number",) in [blanked_fields(frame) for frame in odd]
    assert kinds(after) == "frame frame frame"
    assert [blanked_fields(frame) for frame in frames(after)][1:] == [(), ()]


def test_a_change_of_driver_is_a_fact(followed):
    followed.drive()
    _, changed, _ = followed.drive(2, static={"playerName": "Grace", "playerSurname": "Hopper"})

    assert changed.facts.driver == "Grace Hopper"


@pytest.mark.parametrize(
    "static",
    [{"smVersion": "1.7"}, {"smVersion": ""}, {"smVersion": "2.0"}],
    ids=["AC's", "blank", "unknown"],
)
def test_pages_that_are_not_accs(followed, static):
    assert followed.drive(5, static=static) == []
    followed.drive()

    assert kinds(followed.drive(5, static=static)) == "ended"


def test_an_unknown_version_with_accs_placeholders_is_acc(followed):
    assert (
        kinds(followed.drive(3, static={"smVersion": "1.8", "trackConfiguration": "track config"}))
        == "began frame"
    )


def test_broadcasts_report_the_length_of_the_track(followed):
    unknown = {"track": "autodromo_nuovo"}
    assert followed.drive(static=unknown)[0].facts.track_length == 0

    hear(followed, game.TrackData(1, "Autodromo Nuovo", 99, 5111, [], []))
    changed, *_ = followed.drive(2, static=unknown)

    assert changed.facts.track_length == 5111


def test_the_length_of_another_track_is_not_believed(followed):
    hear(followed, game.TrackData(1, "Circuit de Spa-Francorchamps", 3, 7004, [], []))

    assert followed.drive()[0].facts.track_length == 5793


def test_a_lap_that_the_broadcasts_call_invalid_is_invalid(followed):
    hear(followed, car_update(1000, current_lap=lap(1000, invalid=1)))

    assert frames(followed.drive())[0].validity == LapValidity.LAP_VALIDITY_INVALID


@pytest.mark.parametrize(
    "told", [{"car": 7}, {"laps": 1}], ids=["of another car", "of the lap before"]
)
def test_what_is_reported_of_others_counts_for_nothing(followed, told):
    hear(followed, car_update(1000, current_lap=lap(1000, invalid=1), **told))

    assert frames(followed.drive())[0].validity == LapValidity.LAP_VALIDITY_VALID


def test_what_was_reported_long_ago_counts_for_nothing(followed):
    hear(followed, car_update(1000, current_lap=lap(1000, invalid=1)))
    followed.now_s += 1.1

    assert frames(followed.drive())[0].validity == LapValidity.LAP_VALIDITY_VALID


@pytest.mark.parametrize("value", [nan, inf, -inf])
def test_a_number_that_is_none_costs_no_frame(followed, value):
    followed.drive()
    said = frames(followed.drive(3, physics={"speedKmh": value}))

    assert {blanked_fields(frame) for frame in said} == {(), ("speed",)}
    assert followed.complaints.counts == {}


def test_a_stalled_engine_turned_in_gear_costs_no_frame(followed):
    """Real ACC tells -62, and down to -3,092 at up to 104 km/h: 110 of 3,496 pages of one capture
    were thrown away.
    """
    followed.drive()
    said = frames(followed.drive(3, physics={"rpms": -62, "speedKmh": 104.0}))

    assert said[-1].speed == 104.0
    assert blanked_fields(said[-1]) == ("rpm",)


@pytest.mark.parametrize(
    ("of", "change"),
    [
        ("graphics", {"completedLaps": 2**31 - 1}),
        ("graphics", {"currentSectorIndex": 2**31 - 1}),
        ("physics", {"gear": -(2**31)}),
    ],
)
def test_one_more_than_the_largest_number_is_no_error(followed, of, change):
    (last,) = frames(followed.drive(3, **{of: change}))[-1:]
    assert len(blanked_fields(last)) == 1


def test_a_car_that_jumps_is_counted_and_sent(followed):
    followed.drive()
    said = followed.drive(3, graphics={"carCoordinates": [9, 9, 9, 5000, 5, -200]})

    assert [frame.x for frame in frames(said)] == [100, 5000, 5000]
    assert followed.complaints.counts == {"the car jumped; sent as it is": 1}


def test_strings_without_an_end_end_with_their_field(followed):
    snapshot = pages(7)
    endless = snapshot._replace(static=snapshot.static[:68] + b"x\0" * 33 + snapshot.static[134:])
    followed.at(snapshot._replace(physics=b"\1" + snapshot.physics[1:]))
    followed.at(endless)
    followed.packet_id = 7
    began = followed.look()[0]

    assert began.facts.car == "x" * 33


spoilt = st.tuples(
    st.integers(0, 799),
    st.binary(min_size=4, max_size=4),
    st.integers(0, 1587),
    st.binary(min_size=4),
)
statuses = st.sampled_from([LIVE, LIVE, LIVE, OFF, REPLAY, PAUSE])


@given(st.lists(st.tuples(spoilt, statuses, st.integers(0, 3), st.floats(0, 100)), max_size=25))
def test_whatever_the_pages_hold_sessions_are_reported_in_order(looks):
    """Frames lie within a session, in time, and each could have come from a car."""
    followed = Followed()
    runs, last_ms = False, 0
    for (at, four, there, more), status, index, pause_s in looks:
        followed.now_s += pause_s
        followed.packet_id += 1
        snapshot = pages(followed.packet_id, graphics={"status": status, "sessionIndex": index})
        physics = (snapshot.physics[:at] + four + snapshot.physics[at + 4 :])[:800]
        graphics = (snapshot.graphics[:there] + more + snapshot.graphics[there + len(more) :])[
            :1588
        ]
        for event in followed.at(snapshot._replace(physics=physics, graphics=graphics)):
            match kinds([event]):
                case "began":
                    assert not runs
                    runs, last_ms = True, 0
                case "ended":
                    assert runs
                    runs = False
                case "frame":
                    assert runs
                    assert blank_implausible(event) == ()
                    assert event.timestamp > last_ms
                    last_ms = event.timestamp
