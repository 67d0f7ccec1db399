"""What a key and a value are, from their bytes alone."""

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.codec.record_format import (
    InvalidRecord,
    Kind,
    frame_in_envelope,
    guess_encoding,
    kind_of,
    session_of,
)
from ingest.telemetry_pb2 import Session, Status, TelemetryFrame, TelemetryMessage
from tests.unit.frames import ANY_FRAME, frame


@given(ANY_FRAME)
def test_no_frame_looks_like_a_message(some):
    value = some.SerializeToString()
    assert kind_of(value) is (Kind.FRAME if value else Kind.EMPTY)


@pytest.mark.parametrize(
    "message",
    [
        TelemetryMessage(telemetry=frame()),
        TelemetryMessage(telemetry=TelemetryFrame()),
        TelemetryMessage(frames=[frame()]),
        TelemetryMessage(session=Session(id="s")),
        TelemetryMessage(session_id="s"),
        TelemetryMessage(status=Status(state="live")),
    ],
)
def test_no_message_looks_like_a_frame(message):
    assert kind_of(message.SerializeToString()) is Kind.MESSAGE


@pytest.mark.parametrize("before", [b" ", b"\n", b"\r\n\t", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"])
def test_json_may_begin_with_white_space(before):
    assert kind_of(before + b'{ "speed": 1}') is Kind.JSON
    assert kind_of(before + b"speed") is not Kind.JSON


@given(ANY_FRAME, st.integers(0, 90))
def test_no_message_looks_like_json_behind_a_line_feed(some, session_bytes):
    """A line feed and a brace begin a message too: its frame has 123 bytes then."""
    message = TelemetryMessage(telemetry=some)
    padding = 123 - len(some.SerializeToString())
    if padding >= 3:
        # An unknown field of a later version, which makes up the length.
        message.telemetry.MergeFromString(b"\xfa\x01" + bytes([padding - 3]) + b'"' * (padding - 3))
    assert kind_of(message.SerializeToString()) is Kind.MESSAGE


def test_other_kinds():
    assert kind_of(b'{"speed": 1}') is Kind.JSON
    assert kind_of(b"") is Kind.EMPTY
    assert kind_of(None) is Kind.EMPTY


@given(ANY_FRAME, st.text(max_size=20) | st.just("s" * 300))
def test_envelope_is_what_protobuf_would_write(some, session):
    """The bridge wraps a frame without parsing it."""
    made = frame_in_envelope(some.SerializeToString(), session)
    expected = TelemetryMessage(telemetry=some, session_id=session)
    read = TelemetryMessage.FromString(made)
    assert read.SerializeToString() == expected.SerializeToString()
    assert read.HasField("telemetry")


def test_key_is_the_session():
    assert session_of("séance-1".encode()) == "séance-1"
    assert session_of(b"s" * 256) == "s" * 256


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (None, "key: a record needs its session as key"),
        (b"", "key: a record needs its session as key"),
        (b"s" * 257, "key: 257 bytes are more than 256"),
        (b"\xff\xfe", "key: not UTF-8"),
        (b"\xed\xa0\x80", "key: not UTF-8"),
        (b"s\0", "key: holds control characters"),
        (b"s\r\nlevel=error", "key: holds control characters"),
        (b"\x7f", "key: holds control characters"),
        ("s\u202e".encode(), "key: holds control characters"),
        ("s\u2028".encode(), "key: holds control characters"),
    ],
)
def test_key_that_can_be_no_session(key, reason):
    with pytest.raises(InvalidRecord) as refused:
        session_of(key)
    assert str(refused.value) == reason


@pytest.mark.parametrize(
    ("value", "guess"),
    [
        (gzip.compress(b"telemetry", mtime=0), "gzip"),
        (b"\x28\xb5\x2f\xfd\x04", "Zstandard"),
        (b"\x00\x00\x00\x00\x07\x02speed", "Avro with a schema id"),
        (b"speed=212.5;gear=5", "text"),
        (("vitesse élevée " * 40).encode(), "text"),
        (b"[1, 2]\n", "text"),
        (b"\x08\x80", None),
        (b"\x0c", None),
    ],
)
def test_guess_of_what_it_is_instead(value, guess):
    assert guess_encoding(value) == guess


@given(st.binary(max_size=400))
def test_guessing_never_fails(value):
    guess_encoding(value)
