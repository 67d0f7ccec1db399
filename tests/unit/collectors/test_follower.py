"""The loop that follows a game: sessions to senders, and nothing that keeps the game waiting."""

import threading
import time

import pytest
import structlog

import ingest.collectors.follower
from ingest.collectors.delivery.statistics import Statistics
from ingest.collectors.follower import Follower, RateLimiter, follow, in_background
from ingest.collectors.games.interface import FactsChanged, SessionBegan, SessionEnded
from ingest.telemetry_pb2 import Session, TelemetryFrame
from tests.waiting import WITHIN_S


class Script:
    """A game that says what is written for each poll."""

    name = "Scripted"

    def __init__(self, *polls):
        self.polls = list(polls)
        self.running = False
        self.counts = {}
        self.untold = []
        self.closed = False

    def poll(self, timeout_s):
        self.running = bool(self.polls)
        return self.polls.pop(0) if self.polls else []

    def close(self):
        self.closed = True
        untold, self.untold = self.untold, []
        return untold


class Way:
    """A sender that remembers; its broker answers from when ``answers`` is set."""

    def __init__(self, facts, answers):
        self.key = f"session-{facts.track}"
        self.facts, self.answers = [facts], answers
        self.sent, self.acknowledged = [], 0
        self.closed = False

    @property
    def statistics(self):
        return Statistics(len(self.sent), self.acknowledged)

    def keep(self, frame):
        assert not self.closed
        self.sent.append(frame.timestamp)

    def describe(self, facts):
        self.facts.append(facts)

    def poll(self, timeout_s):
        assert timeout_s == 0, "the game would wait for the broker"

    def close(self, *, timeout_s):
        self.closed = True
        if not self.answers.wait(timeout_s):
            return f"{len(self.sent)} frames"
        self.acknowledged = len(self.sent)
        return None


@pytest.fixture
def answers():
    """Set: the broker is there."""
    there = threading.Event()
    there.set()
    return there


@pytest.fixture
def ways():
    return []


@pytest.fixture
def following(answers, ways, monkeypatch):
    """A follower of a scripted game; its senders are in ``ways``."""
    monkeypatch.setattr(ingest.collectors.follower, "ACKNOWLEDGED_WITHIN_S", 5)
    started = []

    def start(*polls):
        def open_sender(facts):
            ways.append(Way(facts, answers))
            return ways[-1]

        follower = Follower(Script(*polls), open_sender)
        follower.game = follower._game
        started.append(follower)
        return follower

    yield start
    answers.set()
    for follower in started:
        follower.close()


def began(track):
    return SessionBegan(Session(game="Scripted", track=track, sample_rate=60))


def frames(*timestamps):
    return [TelemetryFrame(timestamp=t) for t in timestamps]


def play(follower):
    while follower.game.polls:
        follower.step(0.1)
    follower.step(0.1)


def test_what_the_game_had_not_reported_yet_is_sent_before_the_session_ends(following, ways):
    follower = following([began("Monza"), *frames(1)], [])
    play(follower)
    follower.game.untold = frames(2, 3)
    follower.close()

    assert [(way.sent, way.closed) for way in ways] == [([1, 2, 3], True)]


def test_each_session_has_a_sender_and_its_frames(following, ways):
    follower = following(
        [began("Monza"), *frames(1, 2)],
        frames(3),
        [SessionEnded("over"), began("Spa")],
        frames(4),
        [],
    )
    play(follower)
    assert follower.session == "session-Spa"
    follower.close()

    assert [(way.key, way.sent, way.closed) for way in ways] == [
        ("session-Monza", [1, 2, 3], True),
        ("session-Spa", [4], True),
    ]
    assert follower.session is None
    assert follower.game.closed
    assert follower.statistics == Statistics(4, 4)


def test_a_session_that_begins_ends_the_one_before(following, ways):
    follower = following([began("Monza"), *frames(1)], [began("Spa"), *frames(2)])
    play(follower)

    assert follower.session == "session-Spa"
    follower.close()
    assert [(way.sent, way.acknowledged) for way in ways] == [([1], 1), ([2], 1)]


def test_a_session_that_waits_for_the_broker_keeps_no_other_waiting(following, ways, answers):
    answers.clear()
    follower = following(
        [began("Monza"), *frames(1, 2)], [SessionEnded("over"), began("Spa")], frames(3), frames(4)
    )
    began_s = time.monotonic()
    play(follower)

    assert time.monotonic() - began_s < 1
    assert follower.statistics == Statistics(4, 0)
    assert [way.sent for way in ways] == [[1, 2], [3, 4]]
    answers.set()
    follower.close()
    assert follower.statistics == Statistics(4, 4)


def test_what_is_not_acknowledged_in_time_is_reported(following, ways, answers, monkeypatch):
    answers.clear()
    monkeypatch.setattr(ingest.collectors.follower, "ACKNOWLEDGED_WITHIN_S", 0.01)
    follower = following([began("Monza"), *frames(1, 2), SessionEnded("over")])
    with structlog.testing.capture_logs() as said:
        play(follower)
        follower.close()

    assert [
        (line["session"], line["left"]) for line in said if line["event"] == "to be sent later"
    ] == [("session-Monza", "2 frames")]


def test_a_session_that_cannot_be_closed_ends_no_other(following, ways, monkeypatch):
    def fail(*_, **__):
        raise OSError("the disk is gone")

    follower = following(
        [began("Monza"), *frames(1)], [SessionEnded("over"), began("Spa")], frames(2), frames(3)
    )
    follower.step(0.1)
    monkeypatch.setattr(ways[0], "close", fail)
    with structlog.testing.capture_logs() as said:
        play(follower)
        follower.close()

    assert [way.sent for way in ways] == [[1], [2, 3]]
    assert [line["session"] for line in said if line["log_level"] == "error"] == ["session-Monza"]


def test_facts_go_to_the_session_that_runs(following, ways):
    facts = Session(track="Monza", car="488")
    play(
        following(
            [FactsChanged(facts), began("Monza")], [FactsChanged(facts)], [SessionEnded("over")]
        )
    )

    assert [told.car for told in ways[0].facts] == ["", "488"]


def test_a_frame_outside_of_a_session_is_counted(following, ways):
    follower = following(frames(1), [began("Monza"), SessionEnded("over"), *frames(2, 3)])
    with structlog.testing.capture_logs() as said:
        play(follower)

    assert ways[0].sent == []
    assert follower.unused == {"frame outside of a session": 3}
    assert [line["kind"] for line in said if line["log_level"] == "warning"] == [
        "frame outside of a session"
    ]


def test_while_paused_frames_are_left_out_and_sessions_begin(following, ways):
    follower = following(
        [began("Monza"), *frames(1)], [*frames(2), began("Spa"), *frames(3)], frames(4)
    )
    follower.step(0.1)
    follower.pause()
    follower.step(0.1)
    follower.resume()
    follower.step(0.1)

    assert [way.sent for way in ways] == [[1], [4]]


def test_a_lower_rate_is_reported_and_kept_to(following, ways):
    follower = following([began("Monza")], frames(*range(0, 2000, 17)))
    follower.step(0.1)
    follower.limit_rate(20)
    follower.step(0.1)

    assert ways[0].facts[-1].sample_rate == 20
    assert len(ways[0].sent) == pytest.approx(40, abs=1)


def test_a_clock_that_was_set_back_between_two_sessions_costs_no_frame(following, ways):
    an_hour = 3_600_000
    driven = range(0, 2000, 17)
    follower = following(
        [began("Monza"), *frames(*(an_hour + t for t in driven))], [began("Spa"), *frames(*driven)]
    )
    follower.limit_rate(20)
    play(follower)

    assert [len(way.sent) for way in ways] == pytest.approx([40, 40], abs=1)


@pytest.mark.parametrize("rate_hz", [7, 20, 30, 50, 59])
def test_thinning_keeps_the_rate_though_the_game_trembles(rate_hz):
    driven = [1_000_000 + round(n * 1000 / 60) + (n * 7 % 5 - 2) for n in range(600)]
    thinning = RateLimiter(rate_hz)
    kept = [t for t in driven if thinning.lets_through(t)]

    assert len(kept) == pytest.approx(10 * rate_hz, abs=2)


def test_thinning_after_a_pause_makes_up_for_nothing():
    thinning = RateLimiter(10)
    kept = [t for t in (0, 100, 60_000, 60_016, 60_033, 60_100) if thinning.lets_through(t)]

    assert kept == [0, 100, 60_000, 60_100]


def test_without_a_limit_all_frames_pass():
    assert all(RateLimiter().lets_through(t) for t in (5, 5, 4))


def test_the_game_comes_and_goes_and_is_reported_once_each(following):
    follower = following([], [began("Monza")], frames(1))
    with structlog.testing.capture_logs() as said:
        play(follower)
        follower.step(0.1)

    assert [line["event"] for line in said if line["event"].startswith("game")] == [
        "game found",
        "game gone, looking for it",
    ]


def test_statistics_are_reported_where_they_have_changed(following):
    follower = following([began("Monza"), *frames(1)], frames(2), [], [], [], [], frames(3), [], [])
    now, seen = iter(range(0, 1000, 5)), []
    follow(
        follower,
        stop=lambda: not follower.game.polls,
        report=lambda statistics: seen.append(statistics.frames_collected),
        report_every_s=10,
        clock=lambda: next(now),
    )

    assert seen == [2, 3]


def test_work_beside_the_game_goes_on_after_a_failure(monkeypatch):
    monkeypatch.setattr(ingest.collectors.follower, "_AFTER_A_FAILURE_S", 0.0)
    done, seen = threading.Event(), []

    def work():
        seen.append(threading.current_thread().name)
        if len(seen) == 1:
            raise OSError("the disk is gone")
        done.set()
        return False

    with structlog.testing.capture_logs() as said, in_background(work, name="backlog"):
        assert done.wait(WITHIN_S)

    assert set(seen) == {"backlog"}
    assert [line["event"] for line in said] == ["failed, trying again later"]
