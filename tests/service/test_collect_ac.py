"""A driver's evening with the first Assetto Corsa, heard over UDP; and what one may tell a
collector while it drives.
"""

import uuid
from itertools import pairwise
from statistics import median

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from ingest.kafka.topics import create_topics
from ingest.telemetry_pb2 import Command, CommandMessage, GetStatus, Pause, Resume, SampleRate
from tests.contract.topics import settings_of
from tests.game_emulators.ledger import Kind
from tests.game_emulators.run import in_process
from tests.service.game_pc import LIVE, GamePc, assert_given, assert_stored
from tests.service.test_worker import hosting
from tests.waiting import WITHIN_S, wait_until

PARTITIONS = 10
#: Datagrams at a session's start, before the game is known to drive, and at its end.
EDGE = 12
MUMBLED = b"\xff\xff"


@pytest.fixture
def kafka_settings(kafka):
    settings = settings_of(kafka.brokers)
    create_topics(settings)
    return settings


@pytest.fixture
def game(tmp_path):
    """Its pages are where the collector does not look."""
    folder = tmp_path / "game"
    folder.mkdir()
    with in_process("ac", folder, "--load", "0.8") as game:
        yield game


@pytest.fixture
def pc(kafka_settings, tmp_path, game):
    nothing = tmp_path / "no pages"
    nothing.mkdir()
    pc = GamePc(
        "ac",
        tmp_path,
        kafka_settings,
        AC_UDP_PORT=game.port("remote telemetry"),
        AC_SHARED_MEMORY=nothing,
    )
    yield pc
    pc.close()


class Pits:
    """Somebody who gives orders to anna's collector, and hears what it answers."""

    def __init__(self, kafka):
        self._topic, reports = kafka.topic_commands, kafka.topic_status_reports
        self._producer = Producer(kafka.client({"partitioner": "murmur2_random"}))
        self._consumer = Consumer(kafka.client({"group.id": "pits"}))
        self._consumer.assign([TopicPartition(reports, p, 0) for p in range(3)])

    def order(self, **order):
        command = Command(id=uuid.uuid4().hex, user_id="anna", **order)
        self._say(CommandMessage(command=command).SerializeToString())
        return command.id

    def _say(self, value):
        self._producer.produce(self._topic, value, b"anna")
        assert self._producer.flush(WITHIN_S) == 0

    def mumble(self):
        self._say(MUMBLED)

    def ask(self):
        """The collector's status. It hears what is said from when it listens: whoever gets no
        answer asks again.
        """
        asked = set()

        def answer():
            asked.add(self.order(get_status=GetStatus()))
            for record in self._consumer.consume(100, 1.0):
                said = CommandMessage.FromString(record.value())
                if said.status_report.command_id in asked:
                    return said.status_report
            return None

        return wait_until(answer)

    def close(self):
        self._consumer.close()


@pytest.fixture
def pits(kafka_settings):
    pits = Pits(kafka_settings)
    yield pits
    pits.close()


def test_an_evening(pc, game, kafka_settings, database):
    """The game is started again, goes on to another session, and the collector is killed: each
    datagram is one frame.
    """
    with hosting(kafka_settings, database.url, partitions=PARTITIONS):
        pc.start()
        pc.await_frames(0, 330)  # a car leaves its box after four seconds
        game.apply_command("restart 0.5")
        pc.await_frames(1, 60)
        game.apply_command("session")
        pc.await_frames(2, 60)
        pc.kill()
        pc.start()
        pc.await_frames(3, 60)
        statistics = pc.stop()
        sessions = pc.sessions()
        assert_stored(database.url, sessions)

    frames = list(sessions.values())
    assert len(frames) == 4
    assert max(frame.speed for frame in frames[0]) > 1
    assert statistics["framesPublished"] == statistics["framesCollected"] == len(frames[3])
    for number, of in enumerate((frames[0], frames[1], [*frames[2], *frames[3]])):
        sent = [
            w
            for w in game.written()
            if w.kind == Kind.CAR_INFO and w.status == LIVE and w.session == number
        ]
        assert_given(of, sent)
        if number < 2:
            # A game that was kept waiting tells some moments twice.
            moments = {(w.lap_count, w.lap_clock_ms) for w in sent}
            assert len(moments) - EDGE <= len(of) <= len(moments)
    for of in frames:
        assert all(before.timestamp < after.timestamp for before, after in pairwise(of))


def test_orders_while_it_drives(pc, pits, game):
    pc.start()
    pc.await_frames(0, 30)
    answer = pits.ask()
    assert (answer.state, answer.user_id, answer.session_id) == (
        "sending",
        "anna",
        next(iter(pc.sessions())),
    )
    assert answer.frames_collected >= 30

    pits.mumble()
    pits.order(pause=Pause())
    assert pits.ask().state == "paused"
    stopped_at = pits.ask().frames_collected
    assert pits.ask().frames_collected == stopped_at

    pits.order(sample_rate=SampleRate(rate=10))
    pits.order(resume=Resume())
    pc.await_frames(0, stopped_at + 15)
    pc.stop()
    (frames,) = pc.sessions().values()
    assert [f.sequence for f in frames] == list(range(1, len(frames) + 1))
    slow = frames[stopped_at + 1 :]
    # The middle one: where the machine stands still for a moment, the mean is that of the moment.
    gap_ms = median(after.timestamp - before.timestamp for before, after in pairwise(slow))
    assert 1000 / gap_ms == pytest.approx(10, abs=1)
    assert "command ignored" in pc.log
