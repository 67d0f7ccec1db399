"""Of Assetto Corsa's pages: where sessions begin and end, and which looks make a frame."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.codec.blanking import blanked_fields
from ingest.collectors.games.ac.clocks import ClockReading
from ingest.collectors.games.ac.page_sessions import AcPageSessions
from ingest.collectors.games.anomalies import AnomalyCounts
from ingest.telemetry_pb2 import PitState
from tests.unit import ac
from tests.unit.ac import OFF, PAUSE, REPLAY, WALL_MS, frames, kinds


class Followed:
    """Looks at a game that steps five times between them, and shows a picture."""

    def __init__(self):
        self.complaints = AnomalyCounts("test")
        self.sessions = AcPageSessions(self.complaints, rate_hz=60)
        self.now_s, self.physics_id, self.graphics_id, self.clock_ms = 1000.0, 0, 0, 50_000
        self.look()

    def look(self, *, physics_moves=True, graphics_moves=True, graphics=None, **pages):
        self.now_s += 1 / 60
        self.physics_id += 5 * physics_moves
        self.graphics_id += graphics_moves
        self.clock_ms += 17 * graphics_moves
        shown = {"iCurrentTime": self.clock_ms} | (graphics or {})
        snapshot = ac.pages(self.physics_id, self.graphics_id, graphics=shown, **pages)
        return self.sessions.take(
            snapshot, ClockReading(self.now_s, WALL_MS + round(self.now_s * 1000))
        )

    def drive(self, looks, **pages):
        return [event for _ in range(looks) for event in self.look(**pages)]


@pytest.fixture
def game():
    return Followed()


def test_a_session_begins_when_something_moves(game):
    """The first look finds pages; whether a game still writes them, the second tells."""
    (began, frame) = game.look()

    assert kinds([began, frame]) == "began frame"
    facts = began.facts
    assert (facts.game, facts.track, facts.car, facts.driver) == (
        "Assetto Corsa",
        "imola",
        "abarth500",
        "Ada Lovelace",
    )
    assert (facts.track_length, facts.sector_count, facts.sample_rate) == (4864, 3, 60)


def test_the_frame(game):
    (frame,) = frames(game.look(physics={"gear": 0}, graphics={"isInPitLane": 1}))

    assert (frame.lap_number, frame.lap_time, frame.last_lap_time, frame.sector) == (
        3,
        game.clock_ms,
        107_123,
        2,
    )
    assert (frame.gear, frame.rpm, frame.speed, frame.steering) == (-1, 7000, 180.0, -0.25)
    assert (frame.heading, frame.pit) == (0.5, PitState.PIT_STATE_PIT_LANE)


def test_in_the_box_is_more_than_in_the_lane(game):
    (frame,) = frames(game.look(graphics={"isInPitLane": 1, "isInPit": 1}))

    assert frame.pit == PitState.PIT_STATE_PIT_BOX


@pytest.mark.parametrize("none_ms", [0, 2**31 - 1])
def test_no_official_time(game, none_ms):
    assert frames(game.look(graphics={"iLastTime": none_ms}))[0].last_lap_time == 0


def test_a_frame_is_made_when_both_pages_have_moved(game):
    """Position and lap clock are in one, speed and pedals in the other."""
    game.drive(2)

    assert game.drive(3, physics_moves=False) == []
    assert kinds(game.look()) == "frame"
    assert game.drive(3, graphics_moves=False) == []
    assert kinds(game.look(physics_moves=False)) == "frame"


@pytest.mark.parametrize("status", [REPLAY, PAUSE])
def test_a_pause_and_a_replay_yield_nothing_and_end_nothing(game, status):
    game.drive(5)

    assert game.drive(100, graphics={"status": status}) == []
    assert kinds(game.look()) == "frame"


def test_the_menu_ends_a_session(game):
    game.drive(5)

    assert kinds(game.look(graphics={"status": OFF})) == "ended"
    assert kinds(game.drive(3)) == "began frame frame frame"


@pytest.mark.parametrize(
    "other",
    [
        {"static": {"carModel": "bmw_m3_e30"}},
        {"static": {"track": "monza"}},
        {"static": {"trackConfiguration": "junior"}},
        {"static": {"playerSurname": "Byron"}},
        {"graphics": {"session": 1}},
        {"graphics": {"completedLaps": 0}},
    ],
    ids=str,
)
def test_another_session(game, other):
    game.drive(5)

    assert kinds(game.drive(3, **other)) == "ended began frame frame frame"


def test_the_same_session_begun_again_in_its_first_lap(game):
    game.drive(5, graphics={"completedLaps": 0})
    game.drive(60, graphics={"completedLaps": 0, "status": PAUSE})
    game.clock_ms = 0

    assert kinds(game.drive(2, graphics={"completedLaps": 0})) == "ended began frame frame"


def test_a_game_started_again_counts_from_zero(game):
    game.drive(5, graphics={"completedLaps": 0})
    game.physics_id = 0

    assert kinds(game.drive(2, graphics={"completedLaps": 0})) == "ended began frame frame"


def test_a_track_length_that_comes_later_is_a_changed_fact(game):
    game.drive(5, static={"trackSplineLength": 0.0})

    assert kinds(game.drive(2)) == "changed frame frame"


def test_pages_of_a_dead_game_are_left_after_a_minute(game):
    game.drive(5)

    assert game.drive(3590, physics_moves=False, graphics_moves=False) == []
    assert kinds(game.drive(20, physics_moves=False, graphics_moves=False)) == "ended"


def test_a_wheel_that_is_not_reported_in_shares_is_made_one(game):
    """Were it degrees after all, which no document rules out, the largest seen is full lock."""
    assert frames(game.look(physics={"steerAngle": 180.0}))[0].steering == 1
    assert frames(game.look(physics={"steerAngle": -90.0}))[0].steering == -0.5


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"physics": {"speedKmh": float("nan")}}, "speed"),
        ({"physics": {"steerAngle": float("inf")}}, "steering"),
        ({"physics": {"rpms": -3092}}, "rpm"),
        ({"graphics": {"carCoordinates": (float("nan"), 0.0, 0.0)}}, "x"),
    ],
)
def test_implausible_value_costs_no_frame(game, fields, name):
    game.drive(2)

    assert [blanked_fields(frame) for frame in frames(game.drive(3, **fields))] == [(name,)] * 3
    assert game.complaints.counts == {}
    assert [blanked_fields(frame) for frame in frames(game.look())] == [()]


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"completedLaps": 2**31 - 1}, "lap_number"),
        ({"completedLaps": -7}, "lap_number"),
        ({"iCurrentTime": -5}, "lap_time"),
        ({"normalizedCarPosition": float("nan")}, "normalized_position"),
    ],
)
def test_unknown_place_costs_no_frame_and_no_session(game, fields, name):
    game.drive(2)

    assert [blanked_fields(frame) for frame in frames(game.drive(3, graphics=fields))] == [
        (name,)
    ] * 3
    assert kinds(game.drive(2)) == "frame frame"
    assert game.complaints.counts == {}


@given(
    st.lists(
        st.tuples(*[st.binary(min_size=size, max_size=size) for size in (592, 296, 688)]),
        max_size=5,
    )
)
def test_any_bytes_are_frames_or_nothing(snapshots):
    game = Followed()
    for snapshot in snapshots:
        game.sessions.take(ac.Pages(*snapshot), ClockReading(game.now_s, WALL_MS))
    assert frames(game.drive(2)), "and what comes after them is told"
