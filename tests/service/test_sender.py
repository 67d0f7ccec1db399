"""What a Sender publishes arrives once, in order, with the right key, headers and partition."""

import ctypes
import json
import socket
import threading
import time
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import confluent_kafka
import pytest
import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from ingest.collectors.delivery.sender import Sender
from ingest.collectors.replay import replay
from ingest.collectors.replay_loop import collect
from ingest.collectors.spool.folder import SpoolFolder
from ingest.collectors.spool.memory import CAPACITY_RECORDS, MemorySpool
from ingest.kafka.topics import cluster_of, create_topics, open_admin, partition_of
from ingest.settings import CollectorSettings, KafkaSettings
from ingest.telemetry_pb2 import Session, TelemetryFrame, TelemetryMessage
from serve.game_pc.follow import _open_sender
from tests.paths import SHARED
from tests.waiting import WITHIN_S, wait_until

NOON_MS = 1_767_268_800_000
ANNA = CollectorSettings(_env_file=None, user_id="anna")
RECORDING = SHARED / "data" / "acc_laguna_seca_mit.parquet"


def settings_for(brokers, **more):
    mine = uuid4().hex[:8]
    names = {f"topic_{name}": f"{name}{mine}" for name in ("telemetry", "commands", "laps")}
    return KafkaSettings(_env_file=None, brokers=brokers, **names, **more)


@pytest.fixture
def settings(kafka):
    """A topic of frames that no other test has."""
    fresh = settings_for(kafka.brokers)
    create_topics(fresh)
    return fresh


def frame(i=0, **more):
    return TelemetryFrame(
        timestamp=NOON_MS + i * 16, lap_number=1, speed=200.0, rpm=7000, gear=4, **more
    )


def read(settings, count, topic=None):
    """The first ``count`` records of a topic, by key, in the order of their partition."""
    topic = topic or settings.topic_telemetry
    partitions = (
        cluster_of(open_admin(settings), settings, timeout_s=WITHIN_S).topics[topic].partitions
    )
    consumer = Consumer(settings.client({"group.id": "test", "fetch.wait.max.ms": 50}))
    consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in partitions])
    records = []
    deadline = time.monotonic() + WITHIN_S
    while len(records) < count and time.monotonic() < deadline:
        records += consumer.consume(10_000, 0.2)
    records += consumer.consume(10_000, 0.5)  # whatever came twice
    consumer.close()
    by_key = defaultdict(list)
    for record in records:
        assert record.error() is None
        by_key[record.key().decode()].append(record)
    return by_key


def sequences(records):
    """Of the frames; the facts are not one."""
    values = [r.value() for r in records]
    return [TelemetryFrame.FromString(v).sequence for v in values if v[0] & 7 != 2]


def send(sender, count, first=0):
    for i in range(first, first + count):
        sender.send(frame(i))


def test_three_sessions_at_once(settings):
    """Each arrives once and in order, on the partition of its key, whatever the others do."""
    senders = [Sender(settings, ANNA, Session(id=f"session-{n}", track="Monza")) for n in range(3)]
    threads = [threading.Thread(target=send, args=(sender, 5_000)) for sender in senders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [sender.close(timeout_s=WITHIN_S) for sender in senders] == [None] * 3

    by_key = read(settings, 3 * 5_001)
    assert sorted(by_key) == ["session-0", "session-1", "session-2"]
    for key, records in by_key.items():
        facts = TelemetryMessage.FromString(records[0].value())
        assert facts.session == Session(id=key, user_id="anna", track="Monza", started_at=NOON_MS)
        assert sequences(records) == list(range(1, 5_001))
        assert {r.partition() for r in records} == {partition_of(key.encode(), 10)}
        assert {tuple(r.headers()) for r in records} == {
            (("sessionId", key.encode()), ("userId", b"anna"), ("encoding", b"protobuf"))
        }


def test_a_games_first_records_show_this_pcs_clock(settings):
    before_ms = time.time_ns() // 1_000_000
    sender = Sender(settings, ANNA, Session(id="s"), shows_clock=True)
    send(sender, 3)
    wait_until(lambda: sender.poll(0.05) or sender.statistics.frames_published == 3, "three frames")
    send(sender, 2, first=3)
    assert sender.close(timeout_s=WITHIN_S) is None

    shown = [dict(record.headers()).get("sentAt") for record in read(settings, 6)["s"]]
    assert before_ms <= int(shown[0]) <= time.time_ns() // 1_000_000
    assert shown[-2:] == [None, None]


def test_statistics_count_what_the_broker_has(settings):
    sender = Sender(settings, ANNA, Session())
    send(sender, 100)
    sender.close(timeout_s=WITHIN_S)

    assert sender.key.startswith("anna-")
    seen = sender.statistics
    assert (seen.frames_collected, seen.frames_published, seen.errors) == (100, 100, 0)
    assert (seen.producer.messages_sent, seen.producer.errors) == (101, 0)
    (records,) = read(settings, 101).values()
    assert seen.producer.bytes_sent == sum(len(r.value()) for r in records)


def test_json_where_it_is_wanted(settings):
    sender = Sender(
        settings,
        CollectorSettings(_env_file=None, user_id="anna", protobuf_enabled=False),
        Session(id="s"),
    )
    sender.send(frame())
    sender.close(timeout_s=WITHIN_S)

    facts, first = read(settings, 2)["s"]
    assert json.loads(facts.value())["session"]["startedAt"] == NOON_MS
    assert json.loads(first.value())["timestamp"] == NOON_MS
    assert dict(first.headers())["encoding"] == b"json"


def test_facts_are_sent_again_when_they_change(settings):
    sender = Sender(settings, ANNA, Session(id="s"))
    sender.send(frame(0))
    sender.describe(Session(track="Monza"))
    sender.describe(Session(track="Monza"))
    sender.send(frame(1))
    sender.close(timeout_s=WITHIN_S)

    values = [r.value() for r in read(settings, 4)["s"]]
    assert len(values) == 4
    changed = TelemetryMessage.FromString(values[2]).session
    assert changed == Session(id="s", user_id="anna", track="Monza", started_at=NOON_MS)


def test_a_users_topic_is_created_when_it_is_needed(kafka):
    mine = settings_for(kafka.brokers, topic_per_user=True)
    sender = Sender(mine, ANNA, Session(id="s"))
    send(sender, 10)
    assert sender.close(timeout_s=WITHIN_S) is None

    assert sequences(read(mine, 11, f"{mine.topic_telemetry}-user-anna")["s"]) == list(range(1, 11))
    assert sender.partition == 0


def test_without_room_it_waits_and_drops_nothing(settings):
    sender = Sender(
        settings,
        ANNA,
        Session(id="s"),
        open_spool=lambda session: MemorySpool(session, 50),
        linger_ms=20,
    )
    send(sender, 2_000)
    sender.close(timeout_s=WITHIN_S)

    assert sequences(read(settings, 2_001)["s"]) == list(range(1, 2_001))


def test_an_oversize_record_is_refused_and_leaves_a_gap(settings):
    oversize = frame(1)
    oversize.MergeFromString(b"\xfa\x7f\xf0\xa2\x04" + b"x" * 70_000)  # a field that nobody knows
    sender = Sender(settings, ANNA, Session(id="s"))
    for each in (frame(0), oversize, frame(2)):
        sender.send(each)
    sender.close(timeout_s=WITHIN_S)

    assert sender.statistics.errors == 1
    assert sequences(read(settings, 3)["s"]) == [1, 3]


def test_a_growing_topic_moves_no_running_session(settings):
    sender = Sender(settings, ANNA, Session(id="s"))
    send(sender, 10)
    while sender.partition is None:  # it runs from when the topic has been found
        sender.poll(0.1)
    grown = confluent_kafka.admin.NewPartitions(settings.topic_telemetry, 13)
    admin = open_admin(settings)  # an answer comes only while its client lives
    try:
        admin.create_partitions([grown])[settings.topic_telemetry].result(WITHIN_S)
    except confluent_kafka.KafkaException as refused:
        pytest.skip(f"this broker adds no partitions: {refused}")
    send(sender, 10, first=10)
    sender.close(timeout_s=WITHIN_S)

    records = read(settings, 21)["s"]
    assert sequences(records) == list(range(1, 21))
    assert {r.partition() for r in records} == {partition_of(b"s", 10)}


@contextmanager
def forwarder(port, brokers):
    """Connections to ``port`` lead to the broker."""
    host, _, target = brokers.rpartition(":")
    listening = socket.create_server(("127.0.0.1", port))

    def pump(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass  # the other direction ended first
        finally:
            sink.close()

    def accept():
        while True:
            try:
                near, _ = listening.accept()
            except OSError:
                return
            far = socket.create_connection((host, int(target)))
            for ends in ((near, far), (far, near)):
                threading.Thread(target=pump, args=ends, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()


def test_while_the_broker_owes_an_answer_frames_wait_here(settings):
    """In librdkafka they would keep its thread spinning until the answer comes."""
    sender = Sender(settings, ANNA, Session(id="s"), linger_ms=600_000)  # so none comes
    wait_until(lambda: sender.poll(0.01) or sender.partition is not None)
    send(sender, 20)

    assert sender._delivery._spool.in_flight == 5
    assert sender.close(timeout_s=0).frames == 20


def closed_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_frames_wait_for_a_broker_that_comes_late(kafka, settings):
    port = closed_port()
    early = settings.model_copy(update={"brokers": f"127.0.0.1:{port}"})
    sender = Sender(early, ANNA, Session(id="s"))
    send(sender, 10)
    assert sender.statistics.frames_published == 0

    with forwarder(port, kafka.brokers):
        send(sender, 10, first=10)
        assert sender.close(timeout_s=WITHIN_S) is None
    assert sequences(read(settings, 21)["s"]) == list(range(1, 21))


def test_without_a_broker_it_states_what_stays_behind():
    alone = settings_for(f"127.0.0.1:{closed_port()}")
    sender = Sender(alone, ANNA, Session(id="s"))
    send(sender, 10)

    assert str(sender.close(timeout_s=0.2)) == "10 frames not acknowledged, sequences 1 to 10"
    with pytest.raises(ValueError, match="session s is closed"):
        sender.send(frame())


def break_producer(sender):
    """What librdkafka has for just this: the error after which a producer is of no use."""
    libraries = list(
        Path(confluent_kafka.__file__).parent.parent.glob("confluent_kafka.libs/librdkafka-*.so*")
    )
    if not libraries:
        pytest.skip("librdkafka is not to be found beside confluent_kafka")
    out_of_order_sequence = 45
    producer = sender._delivery._uplink._producer
    handle = ctypes.c_void_p.from_address(id(producer) + object.__basicsize__)
    ctypes.CDLL(str(libraries[0])).rd_kafka_test_fatal_error(
        handle, out_of_order_sequence, b"a test"
    )


def test_a_certificate_that_is_gone_keeps_frames_waiting(tmp_path):
    """It was on a stick; who drives goes on driving."""
    away = settings_for("127.0.0.1:9", security_protocol="SSL", ca_file=str(tmp_path / "away.pem"))
    sender = Sender(away, ANNA, Session(id="s"))
    with structlog.testing.capture_logs() as said:
        send(sender, 10)
        assert str(sender.close(timeout_s=2.0)) == "10 frames not acknowledged, sequences 1 to 10"

    (line,) = (line for line in said if line["event"] == "no broker, frames wait")
    assert "ssl.ca.location" in line["reason"]


def test_a_game_without_a_disk_and_a_broker_is_not_kept_waiting(tmp_path):
    """Its frames are in memory only; when that is full, the first ones and the last one are
    kept.
    """
    (tmp_path / "file").write_text("")
    folder = SpoolFolder(tmp_path / "file", max_bytes=10**9, keep_s=7200)
    sender = _open_sender(settings_for("127.0.0.1:9"), ANNA, folder, Session())
    stop = threading.Event()

    def drive():
        for i in range(CAPACITY_RECORDS + 100):
            if stop.is_set():
                return
            sender.keep(frame(i))

    driver = threading.Thread(target=drive, daemon=True)
    driver.start()
    driver.join(WITHIN_S)
    waits = driver.is_alive()
    stop.set()
    assert not waits

    assert sender.statistics.frames_collected == CAPACITY_RECORDS + 100
    assert sender.statistics.errors == 101  # beside the frames there are the facts
    sender.close(timeout_s=0)


def test_a_broken_producer_is_replaced_and_nothing_is_lost(settings):
    """The broker may have what was on its way, so that frames can come twice; the store drops the
    second.
    """
    sender = Sender(settings, ANNA, Session(id="s"), linger_ms=100)
    send(sender, 100)
    for first in (100, 200, 300):
        confirmed = sender.statistics.frames_published
        while sender.statistics.frames_published == confirmed:
            sender.poll(0.1)
        send(sender, 100, first=first)
        break_producer(sender)
    assert sender.close(timeout_s=WITHIN_S) is None

    assert sender.statistics.producer.errors == 3
    assert sender.statistics.frames_published == 400
    seen = list(dict.fromkeys(sequences(read(settings, 401)["s"])))
    assert seen == list(range(1, 401))


@pytest.mark.skipif(not RECORDING.is_file(), reason="no recordings beside the checkout")
def test_a_recording_at_full_speed(settings):
    table = pytest.importorskip("pyarrow.parquet").read_table(RECORDING)
    sender = Sender(settings, ANNA, Session(id="s"), linger_ms=20)
    frames = replay([table.to_pydict()], first_timestamp_ms=NOON_MS)
    collect(frames, sender, speed=0, stop=lambda: False)
    assert sender.close(timeout_s=WITHIN_S) is None

    assert sequences(read(settings, len(table) + 1)["s"]) == list(range(1, len(table) + 1))


def test_publishing_at_full_speed_loses_nothing(settings):
    """The rate is logged and not judged: it is the machine's as much as ours."""
    sender = Sender(settings, ANNA, Session(id="s"), linger_ms=20)
    while sender.partition is None:
        sender.poll(0.01)
    started = time.perf_counter()
    send(sender, 50_000)
    assert sender.close(timeout_s=WITHIN_S) is None
    rate = 50_000 / (time.perf_counter() - started)
    structlog.get_logger().info("published", frames_per_s=round(rate))

    assert sender.statistics.frames_published == 50_000
