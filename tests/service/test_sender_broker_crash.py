"""The broker dies or is stopped in the middle of a session, and comes back."""

import time

import pytest

from ingest.collectors.delivery.sender import Sender
from ingest.collectors.spool.folder import SpoolFolder
from ingest.embedded.kafka.server import Kafka
from ingest.embedded.process import ServiceUnavailable
from ingest.kafka.topics import create_topics
from ingest.telemetry_pb2 import Session
from tests.service.test_sender import ANNA, read, send, sequences, settings_for
from tests.waiting import WITHIN_S, wait_until


@pytest.fixture
def own_kafka(tmp_path):
    """A broker that may be killed without harm to other tests."""
    try:
        with Kafka.start(tmp_path / "kafka") as broker:
            yield broker
    except ServiceUnavailable as missing:
        pytest.skip(f"no broker: {missing}")


def test_a_session_outlives_its_broker(own_kafka):
    """Idempotence bridges the crash: what was sent again is stored once."""
    settings = settings_for(own_kafka.brokers)
    create_topics(settings, timeout_s=WITHIN_S)
    sender = Sender(settings, ANNA, Session(id="s"))
    send(sender, 500)
    while not sender.statistics.frames_published:
        sender.poll(0.1)
    own_kafka.kill()
    send(sender, 500, first=500)
    until = time.monotonic() + 1
    while time.monotonic() < until:
        sender.poll(0.1)
    assert sender.statistics.frames_published < 1_000
    own_kafka.restart()
    send(sender, 500, first=1_000)
    assert sender.close(timeout_s=WITHIN_S) is None

    assert sequences(read(settings, 1_501)["s"]) == list(range(1, 1_501))


def test_a_collector_that_ran_drains_its_spool_into_the_broker_of_the_next_start(tmp_path):
    """As `up` is stopped and started again: a broker of its own, on the folder of before. What was
    driven meanwhile waits on the disk.
    """
    spool = SpoolFolder(tmp_path / "spool", max_bytes=100_000_000, keep_s=7200)
    try:
        first = Kafka.start(tmp_path / "kafka")
    except ServiceUnavailable as missing:
        pytest.skip(f"no broker: {missing}")
    with first:
        settings = settings_for(first.brokers)
        create_topics(settings, timeout_s=WITHIN_S)
        sender = Sender(settings, ANNA, Session(id="s"), open_spool=spool.begin)
        send(sender, 500)
        wait_until(lambda: published(sender) == 500, "the first frames")
    send(sender, 2_000, first=500)
    assert published(sender) == 500

    with Kafka.start(tmp_path / "kafka") as second:
        assert second.brokers == first.brokers
        wait_until(lambda: published(sender) == 2_500, "what was kept")
        assert sender.close(timeout_s=WITHIN_S) is None
        assert sequences(read(settings, 2_501)["s"]) == list(range(1, 2_501))


def published(sender: Sender) -> int:
    sender.poll(0.02)
    return sender.statistics.frames_published
