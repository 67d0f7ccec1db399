"""A Node program that knows us by the published telemetry.proto alone: KafkaJS and protobufjs
(`tests/interop/telemetry.mjs`).
"""

import json
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToJson, ParseDict
from hypothesis import given
from hypothesis import settings as effort

from ingest.collectors.delivery.records import LAST_PUBLISHED_FIELD
from ingest.kafka.topics import create_topics, partition_of
from ingest.settings import KafkaSettings
from ingest.telemetry_pb2 import TelemetryFrame, TelemetryMessage
from tests.contract.topics import settings_of
from tests.interop.session import PARTITIONS, USER, assert_arrived_whole, driven, send, told
from tests.npm import installed
from tests.paths import ROOT
from tests.service.test_worker import hosting
from tests.unit.frames import ANY_FRAME
from tests.waiting import WITHIN_S

FOREIGN = ROOT / "tests" / "interop"
PROTO = ROOT / "proto" / "telemetry.proto"
OLD_PROTO = FOREIGN / "old.proto"

ThereAndBack = Callable[[TelemetryFrame], TelemetryFrame]


@pytest.fixture(scope="session")
def program() -> Path:
    return installed(FOREIGN) / "telemetry.mjs"


@pytest.fixture(scope="module")
def protobufjs(program) -> Iterator[ThereAndBack]:
    with there_and_back(program, PROTO) as run:
        yield run


@pytest.fixture(scope="module")
def old_protobufjs(program) -> Iterator[ThereAndBack]:
    with there_and_back(program, OLD_PROTO) as run:
        yield run


@contextmanager
def there_and_back(program: Path, proto: Path) -> Iterator[ThereAndBack]:
    """What is left of a frame after protobufjs has decoded and encoded it."""
    command = ["node", program.with_name("there_and_back.mjs"), proto]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as node:

        def run(frame: TelemetryFrame) -> TelemetryFrame:
            print(frame.SerializeToString().hex(), file=node.stdin, flush=True)
            return TelemetryFrame.FromString(bytes.fromhex(node.stdout.readline()))

        yield run
        node.stdin.close()
        assert node.wait(WITHIN_S) == 0


@pytest.fixture
def settings(kafka) -> KafkaSettings:
    """Topics of the test's own, as they should be."""
    fresh = settings_of(kafka.brokers)
    create_topics(fresh)
    return fresh


def test_session_that_kafkajs_sends_arrives_whole(program, settings, database):
    with hosting(settings, database.url, partitions=PARTITIONS):
        send(settings, "ours")
        lines = [TelemetryMessage(session=told("theirs"))]
        lines += [TelemetryMessage(telemetry=frame) for frame in driven()]
        command = [
            "node",
            program,
            "send",
            PROTO,
            settings.brokers,
            settings.topic_telemetry,
            "theirs",
            USER,
        ]
        done = subprocess.run(
            command, input=as_json(lines), capture_output=True, text=True, timeout=WITHIN_S
        )
        assert done.returncode == 0, done.stderr
        assert_arrived_whole(database.url, "theirs", as_ours="ours")


@pytest.mark.parametrize("protobuf", [True, False])
def test_kafkajs_reads_what_our_collector_sent(program, settings, protobuf):
    sent = send(settings, "ours", 200, protobuf=protobuf)

    facts, *records = read(program, settings, PROTO, 201)

    headers = {"sessionId": "ours", "userId": USER, "encoding": "protobuf" if protobuf else "json"}
    everywhere = {"key": "ours", "partition": partition_of(b"ours", PARTITIONS), "headers": headers}
    assert all(everywhere.items() <= r.items() for r in (facts, *records))
    assert facts["session"]["track"] == told("ours").track
    assert frames_of(records) == [as_json_has_it(frame) for frame in sent]


def test_reader_of_the_published_fields_alone_can_do_without_the_others(program, settings):
    """Extensions are for those who know them: to the rest they are not there, and facts are a
    message that says nothing.
    """
    sent = send(settings, "ours", 200)

    facts, *records = read(program, settings, OLD_PROTO, 201)

    assert facts.keys() == {"key", "partition", "headers"}
    assert frames_of(records) == [as_json_has_it(published(frame)) for frame in sent]


@given(ANY_FRAME)
@effort(max_examples=200, deadline=None)
def test_protobufjs_changes_no_frame(protobufjs, frame):
    """Times and sequences beyond 2^53, zeros below zero, NaN and every extension included."""
    assert str(protobufjs(frame)) == str(frame)


@given(ANY_FRAME)
@effort(max_examples=200, deadline=None)
def test_protobufjs_with_the_published_fields_alone_changes_none_of_them(old_protobufjs, frame):
    assert str(published(old_protobufjs(frame))) == str(published(frame))


def as_json(messages: Iterable[TelemetryMessage]) -> str:
    return "".join(f"{MessageToJson(message, indent=None)}\n" for message in messages)


def read(
    program: Path, settings: KafkaSettings, proto: Path, count: int
) -> Iterator[dict[str, Any]]:
    """The first ``count`` records that the program reads; it reads on for ever, so it is then told
    to stop.
    """
    command = ["node", program, "read", proto, settings.brokers, settings.topic_telemetry]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
        try:
            assert reader.stdout is not None
            for _ in range(count):
                yield json.loads(reader.stdout.readline())
        finally:
            reader.terminate()
            assert reader.wait(WITHIN_S) == 0


def frames_of(records: Iterable[dict[str, Any]]) -> list[TelemetryFrame]:
    return [ParseDict(record["telemetry"], TelemetryFrame()) for record in records]


def published(frame: TelemetryFrame) -> TelemetryFrame:
    """The frame without its extensions."""
    fields = {
        field.name: value
        for field, value in frame.ListFields()
        if field.number <= LAST_PUBLISHED_FIELD
    }
    return TelemetryFrame(**fields)


def as_json_has_it(frame: TelemetryFrame) -> TelemetryFrame:
    """JavaScript writes a zero below zero as 0; protobufjs itself keeps it, which another test
    shows.
    """
    return TelemetryFrame(**{field.name: value or 0 for field, value in frame.ListFields()})
