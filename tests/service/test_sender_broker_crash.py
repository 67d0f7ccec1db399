"""The broker dies in the middle of a session, and comes back."""

import time

import pytest

from ingest.collectors.delivery.sender import Sender
from ingest.embedded.kafka.server import Kafka
from ingest.embedded.process import ServiceUnavailable
from ingest.kafka.topics import create_topics
from ingest.telemetry_pb2 import Session
from tests.service.test_sender import ANNA, read, send, sequences, settings_for
from tests.waiting import WITHIN_S


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
