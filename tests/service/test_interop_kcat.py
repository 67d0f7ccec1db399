"""kcat, which is librdkafka's and knows nothing of us: what it sends arrives whole, and it reads
what our collectors sent.
"""

import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from ingest.collectors.delivery.records import facts_value, frame_encoder
from ingest.kafka.topics import create_topics, partition_of
from ingest.settings import KafkaSettings
from ingest.telemetry_pb2 import TelemetryFrame, TelemetryMessage
from tests.contract.topics import settings_of
from tests.interop.session import PARTITIONS, USER, assert_arrived_whole, driven, send, told
from tests.service.test_worker import hosting
from tests.waiting import WITHIN_S

BETWEEN = b"|next|"
JAVAS = ("-X", "partitioner=murmur2_random")

Kcat = Callable[..., bytes]


class Read(NamedTuple):
    """A record as kcat shows it."""

    partition: int
    key: str
    headers: str
    value: bytes


@pytest.fixture
def settings(kafka) -> KafkaSettings:
    """Topics of the test's own, as they should be."""
    fresh = settings_of(kafka.brokers)
    create_topics(fresh)
    return fresh


@pytest.fixture
def kcat(settings) -> Kcat:
    """kcat on the topic of frames."""
    program = shutil.which("kcat")
    if program is None:
        pytest.skip("kcat is not installed")

    def run(*arguments: str, given: bytes = b"") -> bytes:
        command = [
            program,
            "-q",
            "-b",
            settings.brokers,
            "-t",
            settings.topic_telemetry,
            *arguments,
        ]
        done = subprocess.run(command, input=given, capture_output=True, timeout=WITHIN_S)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
def test_session_that_kcat_sends_arrives_whole(kcat, settings, database, encoding):
    key = f"kcat-{encoding}"
    encode = frame_encoder(encoding)
    values = [facts_value(told(key), encoding), *(encode(frame) for frame in driven())]
    assert not [value for value in values if BETWEEN in value]
    headers = [f"sessionId={key}", f"userId={USER}", f"encoding={encoding}"]

    with hosting(settings, database.url, partitions=PARTITIONS):
        send(settings, "ours")
        named = [argument for header in headers for argument in ("-H", header)]
        kcat(
            "-P",
            "-z",
            "lz4",
            *JAVAS,
            "-k",
            key,
            *named,
            "-D",
            BETWEEN.decode(),
            given=BETWEEN.join(values),
        )
        assert_arrived_whole(database.url, key, as_ours="ours")


@pytest.mark.parametrize("protobuf", [True, False])
def test_kcat_reads_what_our_collector_sent(kcat, settings, protobuf):
    sent = send(settings, "ours", 200, protobuf=protobuf)
    encoding = "protobuf" if protobuf else "json"

    facts, *frames = read(kcat)

    assert {(r.key, r.partition) for r in (facts, *frames)} == {
        ("ours", partition_of(b"ours", PARTITIONS))
    }
    assert {r.headers for r in (facts, *frames)} == {
        f"sessionId=ours,userId={USER},encoding={encoding}"
    }
    assert [r.value for r in frames] == [frame_encoder(encoding)(frame) for frame in sent]
    if protobuf:
        assert TelemetryMessage.FromString(facts.value).session.user_id == USER
        assert [TelemetryFrame.FromString(r.value) for r in frames] == sent


def test_kcats_own_partitioner_is_another(kcat):
    """Without ``-X partitioner=murmur2_random`` it sends a session elsewhere than Java, KafkaJS and
    we do.
    """
    key = next(
        k
        for k in (b"a%d" % n for n in range(99))
        if zlib.crc32(k) % PARTITIONS != partition_of(k, PARTITIONS)
    )
    kcat("-P", "-k", key.decode(), given=b"its own")
    kcat("-P", "-k", key.decode(), *JAVAS, given=b"everybody's")

    found = {r.value: r.partition for r in read(kcat)}
    assert found == {
        b"its own": zlib.crc32(key) % PARTITIONS,
        b"everybody's": partition_of(key, PARTITIONS),
    }


def read(kcat: Kcat) -> list[Read]:
    """All records of the topic, each partition in order."""
    return list(_records(kcat("-C", "-o", "beginning", "-e", "-f", r"%p %k %h\n%R%s")))


def _records(output: bytes) -> Iterator[Read]:
    while output:
        line, _, output = output.partition(b"\n")
        partition, key, headers = line.decode().split(" ")
        (size,) = struct.unpack_from(">i", output)
        yield Read(int(partition), key, headers, output[4 : 4 + size])
        output = output[4 + size :]
