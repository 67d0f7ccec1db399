"""AccGame beside a game that is played byte for byte: real files that are torn, and a real socket
that loses datagrams.
"""

import socket
import time
from itertools import pairwise
from random import Random

import pytest

from ingest.collectors.games.acc import registration
from ingest.collectors.games.acc.game import AccGame
from ingest.collectors.games.interface import SessionBegan, SessionEnded
from ingest.collectors.games.shared_memory import SETTLE_S
from ingest.settings import AccSettings
from ingest.telemetry_pb2 import TelemetryFrame
from tests.fuzz.acc import Acc
from tests.game_emulators.ledger import Kind, Written
from tests.game_emulators.run import in_process
from tests.unit.acc import frames, kinds
from tests.waiting import WITHIN_S


@pytest.fixture
def follow(tmp_path, monkeypatch):
    """Starts to follow the game; ``until`` gets what it says."""
    monkeypatch.setattr(registration, "RETRY_S", 0.2)
    opened = []

    def start(port, *, password="asd", broadcast_only=False):
        settings = AccSettings.read(
            _env_file=None,
            shared_memory=str(tmp_path),
            broadcast_port=port,
            password=password,
            broadcasting_json=str(tmp_path / "none.json"),
        )
        opened.append(AccGame(settings, broadcast_only=broadcast_only))
        return opened[-1]

    yield start
    for game in opened:
        game.close()


def until(game, enough):
    """What the game says until ``enough`` of it is there."""
    said, ends = [], time.monotonic() + WITHIN_S
    while not enough(said):
        assert time.monotonic() < ends, f"only {kinds(said)} and {game.counts}"
        said += game.poll(0.1)
    return said


def of_step(w: Written) -> tuple[float, ...]:
    return (w.rpm, w.gear, w.speed_kmh, w.throttle, w.brake, w.heading_rad)


def of_picture(w: Written) -> tuple[float, ...]:
    return (w.lap_clock_ms, w.position, w.x_m, w.z_m)


def was_on_a_page(seen: tuple[float, ...], writes: list[tuple[tuple[float, ...], Written]]) -> bool:
    """As one write, or for longer than a reader waits as pieces of two that follow each other."""
    return any(seen == values for values, _ in writes) or any(
        write.pause_s > SETTLE_S
        and all(
            one in pair for one, pair in zip(seen, zip(before, after, strict=True), strict=True)
        )
        for (before, _), (after, write) in pairwise(writes)
    )


def test_of_a_game_that_tears_its_pages_each_frame_is_one_that_it_wrote(tmp_path, follow):
    """Every other write is in three pieces, half a millisecond apart.

    Where the kernel takes the game's CPU away between two of them, half a page can stand still for
    longer than the collector waits. No reader can tell such a page; the game knows how many there
    were.
    """
    with in_process("acc", tmp_path, "--load", "0.2", "--torn", "0.5", "--speed", "20") as played:
        said = until(follow(played.port("broadcasting")), lambda said: len(frames(said)) >= 60)
        written = played.written()

    for frame in frames(said):
        step = (frame.rpm, frame.gear, frame.speed, frame.throttle, frame.brake, frame.heading)
        picture = (frame.lap_time, frame.normalized_position, frame.x, frame.z)
        assert was_on_a_page(step, [(of_step(w), w) for w in written if w.kind == Kind.PHYSICS])
        assert was_on_a_page(
            picture, [(of_picture(w), w) for w in written if w.kind == Kind.GRAPHICS]
        )
    assert sum(w.torn for w in written) > 0.3 * len(written)


def test_what_was_seen_last_is_reported_at_the_end(tmp_path, follow):
    """Looks are understood three at a time; who stops in between has the last ones all the same."""
    with in_process("acc", tmp_path, "--load", "0.2") as played:
        game = follow(played.port("broadcasting"))
        until(game, lambda said: len(frames(said)) >= 3)
        while game.poll(0.02):  # told this time: the next look waits
            pass
        untold = frames(game.close())

    assert 1 <= len(untold) <= 3


def test_broadcasts_beside_the_pages_report_the_length_of_the_track(tmp_path, follow):
    with in_process("acc", tmp_path, "--load", "0.2", "--cars", "5") as played:
        game = follow(played.port("broadcasting"))
        said = until(
            game,
            lambda said: any(
                getattr(one, "facts", None) and one.facts.track_length for one in said
            ),
        )

    assert game.counts == {}
    assert [one.facts.track for one in said if isinstance(one, SessionBegan)] == ["aldermoor_park"]


def test_broadcasts_alone_through_bad_weather(tmp_path, follow, monkeypatch):
    """A fifth is lost, some comes twice or late, some is spoilt; the game forgets its client, is
    started anew, falls silent.
    """
    weather = ("--loss", "0.2", "--doubling", "0.1", "--reordering", "0.1", "--garbage", "0.2")
    with in_process("acc", tmp_path, "--load", "0.2", "--cars", "3", *weather) as played:
        game = follow(played.port("broadcasting"), broadcast_only=True)
        said = until(game, lambda said: len(frames(said)) >= 20)
        assert kinds(said).startswith("began")
        assert game.running

        played.apply_command("drop")
        until(game, lambda said: len(frames(said)) >= 20)

        monkeypatch.setattr("ingest.collectors.games.acc.broadcast_client.SILENT_S", 0.5)
        monkeypatch.setattr(registration, "SILENT_S", 0.5)
        played.apply_command("restart 0.8")
        said = until(game, lambda said: len(frames(said)) >= 20)
        assert "ended began" in kinds(said).replace("frame ", "")

        played.apply_command("silence")
        said = until(game, lambda said: any(isinstance(one, SessionEnded) for one in said))
        assert not game.running
    times = [one.timestamp for one in said if isinstance(one, TelemetryFrame)]
    assert times == sorted(set(times))


def test_a_wrong_password_is_reported(tmp_path, follow):
    with in_process("acc", tmp_path, "--load", "0.2") as played:
        game = follow(played.port("broadcasting"), password="wrong", broadcast_only=True)
        until(game, lambda _: game.counts.get("ACC refused the registration") == 1)


def test_nobody_there(follow, tmp_path):
    """A closed port answers, in its way; that is no error."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    game = follow(port, broadcast_only=True)

    assert game.poll(0.2) == []
    assert not game.running
    assert game.counts == {}


def test_a_second_of_fuzzing(tmp_path):
    """``python -m tests.fuzz acc`` does it for longer."""
    fuzzed = Acc(tmp_path, Random(4))
    ends = time.monotonic() + 1.0
    try:
        while time.monotonic() < ends:
            fuzzed.step()
    finally:
        fuzzed.close()
    assert fuzzed.inputs > 100
