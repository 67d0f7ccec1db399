"""Keys, headers and values of the records of a session."""

import json
import re
from datetime import UTC, datetime, timedelta, timezone

import pytest

from ingest.collectors.delivery import records
from ingest.collectors.delivery.statistics import ProducerStatistics, Statistics
from ingest.telemetry_pb2 import Session, TelemetryFrame, TelemetryMessage
from tests.unit.frames import NOON_MS, frame


def test_session_key_names_user_and_start():
    start = datetime(2026, 3, 14, 16, 9, 26, tzinfo=timezone(timedelta(hours=1)))

    assert (
        records.new_session_key("anna", now=start, random=lambda _: "1f0c")
        == "anna-20260314T150926Z-1f0c"
    )


def test_two_sessions_of_one_second_have_two_keys():
    now = datetime(2026, 3, 14, tzinfo=UTC)
    keys = {records.new_session_key("anna", now=now) for _ in range(4)}

    assert len(keys) > 1
    assert all(re.fullmatch(r"anna-20260314T000000Z-[0-9a-f]{16}", key) for key in keys)


def test_keys_of_one_second_have_64_random_bits():
    asked = []
    records.new_session_key(
        "anna", now=datetime(2026, 3, 14, tzinfo=UTC), random=lambda n: asked.append(n) or ""
    )

    assert asked == [8]


def test_headers_of_a_session():
    assert records.headers("anna-1", "anna", "json") == [
        ("sessionId", b"anna-1"),
        ("userId", b"anna"),
        ("encoding", b"json"),
    ]


def test_protobuf_frame_is_the_frame():
    sent = frame(sequence=7)

    assert TelemetryFrame.FromString(records.frame_encoder("protobuf")(sent)) == sent


def test_json_frame_has_the_published_names_and_plain_numbers():
    value = json.loads(records.frame_encoder("json")(frame(sequence=7, x=2.5)))

    assert value == {
        "timestamp": NOON_MS,
        "lapTime": 65_250,
        "throttle": 0.75,
        "brake": 0.0,
        "steering": 0.0,
        "speed": 212.5,
        "gear": 5,
        "rpm": 7350,
        "normalizedPosition": 0.375,
        "lapNumber": 3,
        "sequence": 7,
        "x": 2.5,
    }


def test_json_cannot_state_nan():
    with pytest.raises(ValueError, match="not JSON compliant"):
        records.frame_encoder("json")(frame(speed=float("nan")))


def test_facts_are_an_envelope():
    facts = Session(id="anna-1", user_id="anna", track="Okayama", started_at=NOON_MS)
    sent = TelemetryMessage.FromString(records.facts_value(facts, "protobuf"))

    assert sent.session == facts
    assert sent.session_id == "anna-1"


def test_json_facts_have_the_published_names():
    facts = Session(id="anna-1", user_id="anna", track_length=3702.5, started_at=NOON_MS)

    assert json.loads(records.facts_value(facts, "json")) == {
        "session": {"id": "anna-1", "userId": "anna", "trackLength": 3702.5, "startedAt": NOON_MS},
        "sessionId": "anna-1",
    }


def test_statistics_have_the_published_names():
    seen = Statistics(5, 3, 1, ProducerStatistics(4, 200, 2))

    assert seen.as_json() == {
        "framesCollected": 5,
        "framesPublished": 3,
        "errors": 1,
        "producerStats": {"messagesSent": 4, "bytesSent": 200, "errors": 2},
    }
