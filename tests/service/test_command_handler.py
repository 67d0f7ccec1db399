"""A collector's command handler on a real broker: it applies commands, logs each kind of invalid
one once, and outlives its broker.
"""

import json
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
import structlog
from click.testing import CliRunner
from confluent_kafka import Consumer, Producer, TopicPartition

from ingest.collectors.control.command_handler import CommandHandler
from ingest.collectors.delivery.sender import Sender
from ingest.collectors.delivery.statistics import ProducerStatistics, Statistics
from ingest.collectors.simulator.circuit import val_sarine
from ingest.collectors.spool.folder import SpoolFolder
from ingest.control.collector_client import CollectorClient
from ingest.errors import PurpleSectorError
from ingest.kafka.topics import create_topics, partition_of
from ingest.settings import CollectorSettings, KafkaSettings
from ingest.simulated_recordings import record
from ingest.telemetry_pb2 import (
    Command,
    CommandMessage,
    GetStatus,
    Pause,
    ReportSessions,
    Resend,
    Resume,
    SampleRate,
    SequenceRange,
    Session,
    TelemetryFrame,
    TelemetryMessage,
)
from serve.cli.collectors import collectors
from tests.contract.topics import settings_of
from tests.meanwhile import meanwhile
from tests.waiting import WITHIN_S, wait_until

ANNA = CollectorSettings(_env_file=None, user_id="anna")
COMMANDS_PARTITIONS = 3


class Driven:
    """Who follows the game, and remembers what it was told."""

    def __init__(self) -> None:
        self.session: str | None = "s"
        self.statistics = Statistics(9, 7, 1, ProducerStatistics(8, 300, 2))
        self.applied: list[object] = []
        self.sending = True

    def pause(self) -> None:
        self.applied.append("pause")
        self.sending = False

    def resume(self) -> None:
        self.applied.append("resume")
        self.sending = True

    def limit_rate(self, rate_hz: float) -> None:
        self.applied.append(rate_hz)


@pytest.fixture
def settings(kafka) -> KafkaSettings:
    settings = settings_of(kafka.brokers)
    create_topics(settings, timeout_s=WITHIN_S)
    return settings


@pytest.fixture
def spool(tmp_path) -> SpoolFolder:
    return SpoolFolder(tmp_path / "spool", max_bytes=100_000_000, keep_s=7200)


@pytest.fixture
def handler(settings, spool) -> Iterator[CommandHandler]:
    handler = CommandHandler(settings, ANNA, spool)
    handler.start()
    wait_until(lambda: handler.listening)
    yield handler
    handler.close()


def say(settings: KafkaSettings, *values: bytes, user: str = "anna") -> None:
    producer = Producer({"bootstrap.servers": settings.brokers})
    for value in values:
        place = partition_of(user.encode(), COMMANDS_PARTITIONS)
        producer.produce(settings.topic_commands, value, user.encode(), place)
    assert producer.flush(WITHIN_S) == 0


def told(user: str = "anna", **command) -> bytes:
    return CommandMessage(
        command=Command(id=uuid.uuid4().hex, user_id=user, **command)
    ).SerializeToString()


def records(settings: KafkaSettings, topic: str, partition: int, *, at_least: int) -> list:
    """What lies in the partition, once there is so much."""
    consumer = Consumer(
        {"bootstrap.servers": settings.brokers, "group.id": "reader", "enable.auto.commit": False}
    )
    consumer.assign([TopicPartition(topic, partition, 0)])
    found: list = []

    def come() -> bool:
        found.extend(m for m in consumer.consume(10_000, 0.2) if m.error() is None)
        return len(found) >= at_least

    try:
        wait_until(come)
        return found
    finally:
        consumer.close()


def test_what_concerns_the_game_is_passed_on_in_order(settings, handler):
    driven = Driven()
    say(
        settings,
        told(pause=Pause()),
        told("ben", pause=Pause()),
        told(resume=Resume()),
        told(session_id="another", pause=Pause()),
        told(session_id="s", sample_rate=SampleRate(rate=20)),
    )

    def arrived() -> bool:
        handler.pass_on(driven)
        return 20 in driven.applied

    wait_until(arrived)
    assert driven.applied == ["pause", "resume", 20]


def test_status_is_answered_on_a_topic_of_its_own(settings, handler):
    driven = Driven()
    say(settings, told(pause=Pause()), told(get_status=GetStatus()))
    place = partition_of(b"anna", COMMANDS_PARTITIONS)

    def answered() -> bool:
        handler.pass_on(driven)
        return handler._producer is not None

    wait_until(answered)
    *_, asked = records(settings, settings.topic_commands, place, at_least=2)
    (answer,) = records(settings, settings.topic_status_reports, place, at_least=1)
    said = CommandMessage.FromString(answer.value()).status_report
    assert answer.key() == b"anna"
    assert said.command_id == CommandMessage.FromString(asked.value()).command.id
    assert (said.user_id, said.session_id, said.state) == ("anna", "s", "paused")
    assert (said.frames_collected, said.frames_published, said.errors) == (9, 7, 1)
    assert (said.messages_sent, said.bytes_sent, said.producer_errors) == (8, 300, 2)


def test_an_answer_that_is_not_taken_ends_nothing(settings, spool):
    """Who follows the game answers: it must not hear of a producer that is full, or whose topic has
    gone.
    """
    handler, driven = CommandHandler(settings, ANNA, spool), Driven()
    handler._producer = Producer(
        {"bootstrap.servers": "127.0.0.1:9", "queue.buffering.max.messages": 1, "log_level": 2}
    )
    with structlog.testing.capture_logs() as said:
        for order in ({"get_status": GetStatus()}, {"get_status": GetStatus()}, {"pause": Pause()}):
            handler._orders.put(Command(user_id="anna", **order))
        handler.pass_on(driven)

    assert driven.applied == ["pause"]
    assert [line["event"] for line in said if line["log_level"] == "warning"] == [
        "an answer was not sent"
    ]
    handler._listener.close()


def test_an_answer_for_which_there_is_no_producer_ends_nothing(settings, spool, tmp_path):
    """A certificate may go while somebody drives."""
    handler, driven = CommandHandler(settings, ANNA, spool), Driven()
    handler._kafka = KafkaSettings(
        _env_file=None, security_protocol="SSL", ca_file=str(tmp_path / "away.pem")
    )
    with structlog.testing.capture_logs() as said:
        for order in ({"get_status": GetStatus()}, {"pause": Pause()}):
            handler._orders.put(Command(user_id="anna", **order))
        handler.pass_on(driven)

    assert driven.applied == ["pause"]
    assert "ssl.ca.location" in said[0]["reason"]
    handler._listener.close()


def test_what_cannot_be_parsed_is_reported_once_for_each_kind(settings, handler):
    driven = Driven()
    with structlog.testing.capture_logs() as said:
        say(
            settings,
            b"\xff",
            b"\xff\xff",
            b"{}",
            told(),
            told(sample_rate=SampleRate(rate=-1)),
            told(resume=Resume()),
        )

        def arrived() -> bool:
            handler.pass_on(driven)
            return bool(driven.applied)

        wait_until(arrived)

    assert handler.ignored == {
        "no command": 3,
        "an order that is not known": 1,
        "a sample rate that no game has": 1,
    }
    assert [line["kind"] for line in said if line["event"] == "command ignored"] == list(
        handler.ignored
    )


def test_frames_are_sent_again_on_their_partition_marked_as_such(settings, spool, handler):
    """The statement first, then each frame once, in order, however it was named.

    Frames that were never sent are left out; a session that this PC does not have is no news to it.
    """
    sender = drive(settings, spool, frames=50)
    assert sender.close(timeout_s=WITHIN_S) is None
    named = [(49, 70), (8, 9), (9, 10), (8, 10), (60, 2**53 - 1)]
    ranges = [SequenceRange(from_sequence=first, to_sequence=last) for first, last in named]
    say(settings, told(session_id="not-here", resend=Resend(ranges=ranges)))
    say(settings, told(session_id=sender.key, resend=Resend(ranges=ranges)))

    wait_until(lambda: handler.frames_resent == 5)
    live, again = split(
        records(settings, settings.topic_telemetry, sender.partition, at_least=51 + 6)
    )

    assert len(live) == 51
    facts, frames = TelemetryMessage.FromString(again[-6].value()).session, again[-5:]
    assert (facts.id, facts.user_id, facts.track, facts.last_sequence) == (
        sender.key,
        "anna",
        "Spa",
        50,
    )
    assert [TelemetryFrame.FromString(m.value()).sequence for m in frames] == [8, 9, 10, 49, 50]
    assert [m.value() for m in frames] == [
        m.value() for m in live if m.value() in {f.value() for f in frames}
    ]
    assert {m.key() for m in again} == {sender.key.encode()}


def test_command_handler_goes_on_after_a_failure(settings, tmp_path, monkeypatch):
    class Failing(SpoolFolder):
        """Of a disk that fails once."""

        failed = False

        def kept(self):
            if not self.failed:
                self.failed = True
                raise OSError("the disk is gone")
            return super().kept()

    monkeypatch.setattr("ingest.collectors.control.command_handler._AFTER_A_FAILURE_S", 0.0)
    spool = Failing(tmp_path, max_bytes=10**9, keep_s=7200)
    handler = CommandHandler(settings, ANNA, spool)
    with structlog.testing.capture_logs() as said:
        handler.start()
        wait_until(lambda: handler.listening)
        handler.close()

    assert spool.failed
    assert [line["event"] for line in said if line["log_level"] == "error"] == [
        "handling commands failed, going on later"
    ]


def test_frames_that_were_sent_again_before_a_failure_count(settings, spool):
    sender = drive(settings, spool, frames=3_000)
    assert sender.close(timeout_s=WITHIN_S) is None
    handler = CommandHandler(settings, ANNA, spool)
    handler._queue(sender.key, ((1, 3_000),))

    def begun() -> int:
        handler._turn()
        return handler.frames_resent

    before = wait_until(begun)
    assert handler._resending is not None
    handler._stop_resend()

    assert handler.frames_resent >= before
    handler._listener.close()


def test_roll_call_states_of_each_session_how_far_it_was_sent(settings, spool, handler):
    over, driving = drive(settings, spool, frames=30), drive(settings, spool, frames=40)
    assert over.close(timeout_s=WITHIN_S) is None
    wait_until(lambda: acknowledged(driving) == 40)

    def called() -> bool:
        """The spool writes down once a second what was acknowledged: the first call may be too
        early for all of it.
        """
        say(
            settings,
            CommandMessage(
                command=Command(id="1", report_sessions=ReportSessions())
            ).SerializeToString(),
        )
        return 40 in stated(settings, driving)

    wait_until(called)
    wait_until(lambda: stated(settings, over) == {30})
    driving.close(timeout_s=WITHIN_S)


def test_frames_that_are_requested_with_a_roll_call_are_sent(settings, spool, handler):
    """A statement that waits, or is under way, is no reason to forget what was asked for."""
    senders = [drive(settings, spool, frames=30) for _ in range(3)]
    assert [sender.close(timeout_s=WITHIN_S) for sender in senders] == [None] * 3
    ranges = [SequenceRange(from_sequence=8, to_sequence=10)]
    roll_call = CommandMessage(
        command=Command(id="1", report_sessions=ReportSessions())
    ).SerializeToString()
    say(
        settings,
        roll_call,
        *(told(session_id=sender.key, resend=Resend(ranges=ranges)) for sender in senders),
    )

    wait_until(lambda: handler.frames_resent == 9)


def test_statements_come_before_frames_and_each_in_its_turn(settings, spool):
    handler = CommandHandler(settings, ANNA, spool)
    handler._queue("frames", ((1, 5),))
    for session in ("newest", "older", "newest"):
        handler._queue(session, ())

    assert [session for session, _ in handler._waiting] == ["newest", "older", "frames"]
    handler._listener.close()


def test_session_that_ends_is_stated_unasked(settings, spool):
    """Whose collector then goes: no later frame would tell of one that was lost."""
    handler = CommandHandler(settings, ANNA, spool)
    handler.start()
    wait_until(lambda: handler.listening)
    sender = drive(settings, spool, frames=30)
    assert sender.close(timeout_s=WITHIN_S) is None
    handler.close()

    assert stated(settings, sender) == {30}


def drive(settings: KafkaSettings, spool: SpoolFolder, *, frames: int) -> Sender:
    sender = Sender(settings, ANNA, Session(game="test", track="Spa"), open_spool=spool.begin)
    now_ms = time.time_ns() // 1_000_000
    for number in range(frames):
        sender.send(TelemetryFrame(timestamp=now_ms - 60_000 + 16 * number, rpm=1, lap_number=1))
    return sender


def acknowledged(sender: Sender) -> int:
    sender.poll(0.05)
    return sender.statistics.frames_published


def split(messages: list) -> tuple[list, list]:
    """Live ones, and those that were sent again."""
    live = [m for m in messages if ("resent", b"1") not in m.headers()]
    return live, [m for m in messages if m not in live]


def stated(settings: KafkaSettings, sender: Sender) -> set[int]:
    """How far the statements of a session say that it was sent."""
    messages = records(settings, settings.topic_telemetry, sender.partition, at_least=1)
    _, again = split([m for m in messages if m.key() == sender.key.encode()])
    return {TelemetryMessage.FromString(m.value()).session.last_sequence for m in again}


def test_a_person_reports_and_requests(settings, handler, monkeypatch):
    """`purple-sector collectors`, against a collector whose game is followed by a thread as it
    would be.
    """
    monkeypatch.setenv("KAFKA_BROKERS", settings.brokers)
    monkeypatch.setenv("KAFKA_TOPIC_COMMANDS", settings.topic_commands)
    monkeypatch.setenv("KAFKA_TOPIC_STATUS_REPORTS", settings.topic_status_reports)
    driven = Driven()
    with followed(handler, driven):
        assert run("rate", "anna", "20") == (0, "sent to the collectors of anna")
        assert run("pause", "anna") == (0, "sent to the collectors of anna")
        wait_until(lambda: driven.applied == [20, "pause"])
        code, said = run("status", "anna", "--wait", "3")

    assert code == 0
    answer = json.loads(said)
    assert (answer["user"], answer["session"], answer["state"]) == ("anna", "s", "paused")
    assert (answer["framesCollected"], answer["producerStats"]["messagesSent"]) == (9, 8)


@pytest.mark.parametrize("what", ["simulate", "replay"])
def test_replays_and_simulated_cars_apply_and_answer(settings, tmp_path, monkeypatch, what):
    """Whoever tries the system without a game can be asked how he is."""
    monkeypatch.setenv("KAFKA_BROKERS", settings.brokers)
    monkeypatch.setenv("KAFKA_TOPIC_COMMANDS", settings.topic_commands)
    monkeypatch.setenv("KAFKA_TOPIC_STATUS_REPORTS", settings.topic_status_reports)
    monkeypatch.setenv("KAFKA_TOPIC_TELEMETRY", settings.topic_telemetry)
    stint, cars = tmp_path / "stint.parquet", 1 if what == "replay" else 2
    record(
        stint, val_sarine(), seed=1, laps=4, started_at=datetime(2026, 5, 1, tzinfo=UTC), rate_hz=20
    )
    which = ["replay", str(stint)] if what == "replay" else ["simulate", "--cars", "2"]
    command = [
        sys.executable,
        "-c",
        "from serve.cli.main import main; main()",
        "collect",
        *which,
        "--user",
        "anna",
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: _states(settings) == ["sending"] * cars)
            assert run("pause", "anna") == (0, "sent to the collectors of anna")
            wait_until(lambda: _states(settings) == ["paused"] * cars)
        finally:
            process.terminate()


def _states(settings: KafkaSettings) -> list[str]:
    return [answer.state for answer in CollectorClient(settings, "anna").get_status(within_s=2)]


def test_who_is_not_there_does_not_answer(settings, monkeypatch):
    monkeypatch.setenv("KAFKA_BROKERS", settings.brokers)
    monkeypatch.setenv("KAFKA_TOPIC_COMMANDS", settings.topic_commands)
    monkeypatch.setenv("KAFKA_TOPIC_STATUS_REPORTS", settings.topic_status_reports)
    with pytest.raises(PurpleSectorError, match=r"no collector of zoe answered within 0\.5 s"):
        collectors.main(["status", "zoe", "--wait", "0.5"], standalone_mode=False)


@contextmanager
def followed(handler: CommandHandler, driven: Driven) -> Iterator[None]:

    def follow(stop: threading.Event) -> None:
        while not stop.wait(0.05):
            handler.pass_on(driven)

    with meanwhile(follow):
        yield


def run(*arguments: str) -> tuple[int, str]:
    """The exit code and the last line; the handler's thread logs meanwhile."""
    outcome = CliRunner().invoke(collectors, arguments)
    return outcome.exit_code, outcome.output.splitlines()[-1]
