"""Sessions and frames from ACC's broadcasts alone."""

from math import nan

import pytest

from ingest.codec.blanking import blanked_fields
from ingest.collectors.games.acc import broadcast_protocol
from ingest.collectors.games.acc.broadcast_sessions import LACKING, BroadcastSessions
from ingest.collectors.games.acc.broadcast_state import BroadcastState
from ingest.collectors.games.anomalies import AnomalyCounts
from ingest.telemetry_pb2 import LapValidity, PitState
from tests.game_emulators import acc_messages as game
from tests.unit.acc import NONE_MS, car_update, frames, kinds, lap, update


class Watched:
    """Messages, one twentieth of a second after the other."""

    def __init__(self):
        self.complaints = AnomalyCounts("test")
        self.watching = BroadcastSessions(rate_hz=20, complaints=self.complaints)
        self.broadcast = BroadcastState()
        self.now_s = 100.0

    def take(self, *messages):
        return [event for message in messages for event in self._take(message)]

    def _take(self, sent):
        self.now_s += 0.05
        message, _ = broadcast_protocol.parse(sent.encode())
        self.broadcast.take(message, now_s=self.now_s)
        return self.watching.take(
            message, now_s=self.now_s, wall_ms=round(self.now_s * 1000), broadcast=self.broadcast
        )


@pytest.fixture
def watched():
    return Watched()


def test_the_car_that_the_camera_follows_is_the_players(watched):
    events = watched.take(
        update(1000.0), car_update(500), car_update(500, car=7), update(1050.0), car_update(550)
    )

    assert kinds(events) == "began frame frame"
    assert events[0].facts.sample_rate == 20
    assert events[0].facts.sector_count == 3


def test_what_a_frame_states(watched):
    (frame,) = frames(
        watched.take(update(1000.0), car_update(500, current_lap=lap(500, invalid=1)))
    )

    assert (frame.lap_number, frame.lap_time, frame.last_lap_time, frame.gear) == (
        3,
        500,
        107_123,
        3,
    )
    assert (frame.speed, frame.normalized_position, frame.heading) == (180, 0.5, 1.5)
    assert (frame.x, frame.y, frame.z) == (100, 0, -200)
    assert (frame.pit, frame.validity) == (
        PitState.PIT_STATE_ON_TRACK,
        LapValidity.LAP_VALIDITY_INVALID,
    )
    assert [getattr(frame, name) for name in LACKING] == [0] * 6


@pytest.mark.parametrize(("location", "pit"), [(0, 0), (1, 1), (2, 2), (3, 2), (4, 2), (9, 0)])
def test_pits(watched, location, pit):
    assert frames(watched.take(update(1000.0), car_update(500, location=location)))[0].pit == pit


def test_facts_come_when_they_are_reported(watched):
    watched.take(update(1000.0), car_update(500))
    crew = [game.Driver("Ada", "Lovelace", "LOV"), game.Driver("Grace", "Hopper", "HOP")]
    watched.take(game.TrackData(1, "Monza Circuit", 12, 5793, [], []))
    watched.take(game.EntryListCar(3, 32, "", 1, 0, 0, 0, crew))
    changed, _ = watched.take(car_update(550, driver=1, driver_count=2))

    facts = changed.facts
    assert (facts.track, facts.track_length, facts.car) == ("monza", 5793, "ferrari_296_gt3")
    assert facts.driver == "Grace Hopper"


@pytest.mark.parametrize(
    "state",
    [
        {"phase": 4},
        {"phase": 8},
        {"session_type": 14},
        {"replay": game.Replay(1.0, 2.0)},
        {"focused_car": -1},
    ],
    ids=["before the start", "results", "replay session", "replay", "no car"],
)
def test_what_is_no_driving_yields_nothing(watched, state):
    assert (
        watched.take(
            update(1000.0, **state), car_update(500), update(1050.0, **state), car_update(550)
        )
        == []
    )


def test_a_pause_yields_nothing(watched):
    watched.take(update(1000.0), car_update(500))

    assert watched.take(update(1000.0), car_update(500), update(1000.0), car_update(500)) == []
    assert kinds(watched.take(update(1050.0), car_update(550))) == "frame"


def test_a_datagram_that_comes_twice_counts_once(watched):
    assert kinds(watched.take(update(1000.0), car_update(500), car_update(500))) == "began frame"


def test_a_camera_that_looks_elsewhere_changes_no_car(watched):
    watched.take(update(1000.0), car_update(500))
    events = watched.take(update(1050.0, focused_car=7), car_update(9, car=7), car_update(550))

    assert [frame.lap_time for frame in frames(events)] == [550]


@pytest.mark.parametrize(
    "then", [{"session": 1}, {"event": 1}, {"session_type": 4}, {"session_time_ms": 0.0}]
)
def test_another_session(watched, then):
    watched.take(update(90_000.0), car_update(500))
    state = update(90_050.0)._replace(**then)
    events = watched.take(state, car_update(550))

    assert kinds(events) == "ended began frame"


def test_laps_that_are_counted_again_are_another_session(watched):
    watched.take(update(1000.0), car_update(500))

    assert kinds(watched.take(update(1050.0), car_update(10, laps=0))) == "ended began frame"


def test_silence_is_an_end(watched):
    watched.take(update(1000.0), car_update(500))

    assert kinds(watched.watching.gone("the game is silent")) == "ended"
    assert watched.watching.gone("the game is silent") == []


def test_a_place_that_is_none_costs_no_frame(watched):
    (frame,) = watched.take(update(1000.0), car_update(500, x_m=nan))[-1:]
    assert blanked_fields(frame) == ("x",)


def test_a_lap_has_its_official_splits(watched):
    official = lap(94_272, splits_ms=(23_647, 41_300, 29_325))
    watched.take(update(1000.0), car_update(500, laps=12, last_lap=official))

    laps, last = watched.broadcast.last_lap(3)
    assert (laps, last.lap_time_ms, last.splits_ms) == (12, 94_272, (23_647, 41_300, 29_325))


def test_no_lap_yet(watched):
    watched.take(update(1000.0), car_update(500, laps=0, last_lap=lap(NONE_MS)))

    assert watched.broadcast.last_lap(3) is None
