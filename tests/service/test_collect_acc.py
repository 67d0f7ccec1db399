"""A driver's evening with Competizione: what the game gave is what the store has, whatever is
killed on the way.
"""

import time
from itertools import pairwise

import pytest

from ingest.kafka.topics import create_topics
from tests.contract.topics import settings_of
from tests.game_emulators.ledger import Kind
from tests.game_emulators.run import in_process
from tests.service.game_pc import LIVE, GamePc, assert_given, assert_stored
from tests.service.test_worker import hosting

PARTITIONS = 10
RATE_HZ = 60
#: Four times as fast as it was driven: a car leaves its box after four seconds, and one that stands
#: shows little.
DRIVING = ("--load", "1", "--speed", "4")


@pytest.fixture
def pages(tmp_path):
    folder = tmp_path / "pages"
    folder.mkdir()
    return folder


@pytest.fixture
def kafka_settings(kafka):
    settings = settings_of(kafka.brokers)
    create_topics(settings)
    return settings


@pytest.fixture
def pc(kafka_settings, tmp_path, pages):
    pc = GamePc("acc", tmp_path, kafka_settings, ACC_SHARED_MEMORY=pages, ACC_RATE_HZ=RATE_HZ)
    yield pc
    pc.close()


def test_an_evening(pc, pages, kafka_settings, database):
    """Two sessions, a pause, a replay, a collector that is killed, a game that is killed, and one
    that is started anew.
    """
    with hosting(kafka_settings, database.url, partitions=PARTITIONS):
        pc.start()  # before there is a game
        with in_process("acc", pages, *DRIVING) as game:
            pc.await_frames(0, 120)
            assert (
                "another collector follows Assetto Corsa Competizione already" in pc.start_another()
            )
            for interlude in ("pause", "replay"):
                game.apply_command(interlude)
                time.sleep(0.5)
                game.apply_command("live")
                time.sleep(0.5)
            game.apply_command("session")
            pc.await_frames(1, 120)
            pc.kill()
            pc.start()
            pc.await_frames(2, 60)
            game.apply_command("kill")
            first = game.written()
        (pages / "ledger").unlink()
        with in_process("acc", pages, *DRIVING, "--seed", "5") as game:
            pc.await_frames(3, 120)
            statistics = pc.stop()
            second = game.written()

        sessions = pc.sessions()
        assert_stored(database.url, sessions)

    frames = list(sessions.values())
    assert len(frames) == 4
    assert (
        statistics["framesPublished"]
        == statistics["framesCollected"]
        == len(frames[2]) + len(frames[3])
    )
    assert statistics["errors"] == 0
    for played, number, of in (
        (first, 0, frames[0]),
        (first, 1, frames[1]),
        (first, 1, frames[2]),
        (second, 0, frames[3]),
    ):
        driven = [
            w for w in played if w.kind == Kind.PHYSICS and w.status == LIVE and w.session == number
        ]
        assert_given(of, driven)
        assert all(before.timestamp < after.timestamp for before, after in pairwise(of))
        assert max(frame.speed for frame in of) > 1
