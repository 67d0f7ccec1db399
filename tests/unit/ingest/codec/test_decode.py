"""Records of the telemetry topic, and what becomes of each."""

import gzip
import json
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from analytics.model.channels import CHANNELS
from ingest.codec.blanking import blank_implausible
from ingest.codec.decode import DECODED_FRAMES, Decoded, _sort, decode
from ingest.codec.record_format import MAX_VALUE_BYTES, Kind, kind_of
from ingest.codec.timestamps import time_fault
from ingest.telemetry_pb2 import Lap, PitState, Session, TelemetryFrame, TelemetryMessage
from tests.unit.frames import ANY_FRAME, DRIVEN_FRAME, NOON_MS, frame, frames

KEY = b"spa-1"


def decoded(*values: bytes | None) -> Decoded:
    """These values, all of one session; checks what holds for every answer."""
    answer = decode(values, [KEY] * len(values))
    check(answer, len(values))
    return answer


def check(answer: Decoded, count: int) -> None:
    assert answer.frames.schema == DECODED_FRAMES
    answer.frames.validate(full=True)
    stored = answer.frames["record"].to_pylist()
    refused = [r.record for r in answer.rejected]
    assert stored == sorted(stored)
    assert refused == sorted(set(refused))
    assert {*stored, *(f.record for f in answer.facts)}.isdisjoint(refused)
    assert {*stored, *(f.record for f in answer.facts), *refused} == set(range(count))
    assert {*answer.frames["session"].to_pylist(), *(f.session_index for f in answer.facts)} == set(
        range(len(answer.sessions))
    )
    assert all(r.reason.isprintable() and len(r.reason) < 250 for r in answer.rejected)


def reason(value: bytes | None) -> str:
    answer = decoded(value)
    assert answer.frames.num_rows == 0
    assert answer.sessions == []
    return answer.rejected[0].reason


def message(**fields: object) -> bytes:
    return TelemetryMessage(**fields).SerializeToString()


def test_frame_becomes_a_row():
    row = decoded(
        frame(x=1.5, pit=PitState.PIT_STATE_PIT_LANE).SerializeToString()
    ).frames.to_pylist()[0]
    assert row == {
        "record": 0,
        "session": 0,
        "time": datetime(2026, 1, 1, 12, tzinfo=UTC),
        "sequence": 1,
        "lap_number": 3,
        "lap_clock_ms": 65_250,
        "normalized_position": 0.375,
        "speed_kmh": 212.5,
        "throttle": 0.75,
        "brake": 0.0,
        "steering": 0.0,
        "rpm": 7350,
        "x_m": 1.5,
        "y_m": None,
        "z_m": None,
        "heading_rad": None,
        "last_lap_time_ms": None,
        "gear": 5,
        "sector": None,
        "pit": 2,
        "validity": None,
    }


def test_frame_without_sequence_has_none():
    assert decoded(frame(sequence=0).SerializeToString()).frames["sequence"].to_pylist() == [None]


def test_all_forms_bring_the_same_row():
    """Protobuf or JSON, alone or in a message: the same frame."""
    some = frame(validity=1)
    whole = TelemetryMessage(telemetry=some, session_id="spa-1")
    forms = [
        some.SerializeToString(),
        whole.SerializeToString(),
        message(frames=[some]),
        json_format.MessageToJson(some).encode(),
        json_format.MessageToJson(some, preserving_proto_field_name=True).encode(),
        json_format.MessageToJson(whole).encode(),
        b"\r\n " + json_format.MessageToJson(some).encode(),
        b"\t" + json_format.MessageToJson(whole).encode(),
        json_format.MessageToJson(some).encode("utf-8-sig"),
        json.dumps(
            {
                "timestamp": NOON_MS,
                "sessionId": "spa-1",
                "speed": 212.5,
                "lapTime": 65250,
                "throttle": 0.75,
                "gear": 5,
                "rpm": 7350,
                "normalizedPosition": 0.375,
                "lapNumber": 3,
                "sequence": 1,
                "validity": "LAP_VALIDITY_VALID",
                "tyreWear": [1, 2],
            }
        ).encode(),
    ]
    rows = decoded(*forms).frames.drop_columns(["record"]).to_pylist()
    assert rows == [rows[0]] * len(forms)


def test_columns_are_sorted_by_kind_as_single_values_are():
    values = [bytes([first]) for first in range(256)]
    is_frame, is_other = _sort(
        pa.array(values, pa.large_binary()), np.ones(256, dtype=np.bool_), {}
    )
    assert is_frame.tolist() == [kind_of(v) is Kind.FRAME for v in values]
    assert is_other.tolist() == [kind_of(v) in (Kind.MESSAGE, Kind.JSON) for v in values]


def test_frames_of_a_message_keep_their_place():
    """Old frames in a message between single frames: everything stays in the order of the
    records.
    """
    one, two, three, four = frames(4)
    middle = message(frames=[TelemetryFrame.FromString(two), TelemetryFrame.FromString(three)])
    table = decoded(one, middle, four).frames
    assert table["record"].to_pylist() == [0, 1, 1, 2]
    assert table["sequence"].to_pylist() == [1, 2, 3, 4]


def test_facts_of_a_session():
    facts = Session(id="spa-1", track="Spa", car="GT3", track_length=7004, started_at=NOON_MS)
    answer = decoded(message(session=facts, session_id="spa-1"))
    assert [(f.record, answer.sessions[f.session_index], f.message) for f in answer.facts] == [
        (0, "spa-1", facts)
    ]


def test_sessions_are_distinguished_by_key():
    values = frames(4)
    answer = decode(values, [b"monza", b"spa", b"monza", b"imola"])
    assert answer.sessions == ["monza", "spa", "imola"]
    assert answer.frames["session"].to_pylist() == [0, 1, 0, 2]


def test_dead_letter_makes_no_session():
    answer = decode([b"\x0c", *frames(1)], [b"nobody", b"spa"])
    assert answer.sessions == ["spa"]
    assert answer.frames["session"].to_pylist() == [0]


def test_bad_keys_are_dead_letters():
    answer = decode(frames(4), [None, b"", b"spa\0", KEY])
    check(answer, 4)
    assert [r.reason.split(":")[0] for r in answer.rejected] == ["key", "key", "key"]


def test_message_of_another_session_is_refused():
    assert (
        reason(message(telemetry=frame(), session_id="b"))
        == "key: the message names another session, 'b'"
    )
    assert (
        reason(message(session=Session(id="b\n")))
        == r"key: the message names another session, 'b\n'"
    )


def test_no_records():
    assert decoded().frames.num_rows == 0


def test_only_dead_letters():
    assert decoded(None, b"", b"\x0c").frames.num_rows == 0


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (None, "empty: no value"),
        (b"", "empty: no value"),
        (b"\x0b\x0c", "empty: no known field is set"),
        (TelemetryFrame(timestamp=NOON_MS).SerializeToString(), "empty: nothing but a timestamp"),
        (
            TelemetryFrame(timestamp=NOON_MS, brake=-0.0).SerializeToString(),
            "empty: nothing but a timestamp",
        ),
        (message(telemetry=TelemetryFrame()), "empty: no known field is set"),
        (message(lap=Lap(lap_number=1)), "empty: neither frames nor session facts"),
        (b"{}", "empty: no known field is set"),
        (b'{"session_id": "spa-1", "tyres": 4}', "empty: no known field is set"),
        (frame().SerializeToString()[:-1], "decode: not valid protobuf"),
        (b"\x08" + b"\xff" * 10 + b"\x01", "decode: not valid protobuf"),
        (b"\x0a\x05", "decode: not valid protobuf"),
        (gzip.compress(b"x" * 50, mtime=0), "encoding: looks like gzip"),
        (b"\0\0\0\0\x07\x02\x04", "encoding: looks like Avro with a schema id"),
        (b"speed=212.5", "encoding: looks like text"),
        (b"\x08" * (MAX_VALUE_BYTES + 1), "oversize: 65537 bytes are more than 65536"),
        (b"{" + b" " * MAX_VALUE_BYTES, "oversize: 65537 bytes are more than 65536"),
    ],
)
def test_record_that_is_no_telemetry(value, why):
    assert reason(value) == why


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"timestamp": 0}, "time: no timestamp"),
        (
            {"timestamp": NOON_MS // 1000},
            f"time: {NOON_MS // 1000} looks like seconds, not milliseconds",
        ),
        (
            {"timestamp": NOON_MS * 1000},
            f"time: {NOON_MS}000 looks like microseconds, not milliseconds",
        ),
        (
            {"timestamp": NOON_MS * 10**6},
            f"time: {NOON_MS}000000 looks like nanoseconds, not milliseconds",
        ),
        ({"timestamp": 2**63 - 1}, "time: 9223372036854775807 ms is no date"),
        ({"sequence": -1}, "value: sequence=-1 is outside 1..2^53"),
        ({"sequence": 2**53}, "value: sequence=9007199254740992 is outside 1..2^53"),
    ],
)
def test_frame_that_no_car_drives(changes, why):
    assert reason(frame(**changes).SerializeToString()) == why


def test_reverse_gear_and_a_new_enum_value_are_fine():
    row = decoded(frame(gear=-1, pit=9).SerializeToString()).frames.to_pylist()[0]
    assert (row["gear"], row["pit"]) == (-1, 9)


def test_one_absurd_frame_costs_its_whole_message():
    value = message(frames=[frame(), frame(sequence=-2)], session=Session(track="Spa"))
    assert reason(value) == "value: sequence=-2 is outside 1..2^53"


@pytest.mark.parametrize(
    ("field", "value", "column"),
    [
        ("speed", 9999, "speed_kmh"),
        ("speed", 3.4e38, "speed_kmh"),
        ("speed", float("nan"), "speed_kmh"),
        ("x", float("-inf"), "x_m"),
        ("throttle", 1.5, "throttle"),
        ("lap_time", -1, "lap_clock_ms"),
        ("lap_time", 2**31 - 1, "lap_clock_ms"),
        ("lap_number", -1, "lap_number"),
        ("gear", 127, "gear"),
        ("gear", 65536, "gear"),
        ("gear", 2147483647, "gear"),
        ("rpm", -62, "rpm"),
        ("pit", -(2**31), "pit"),
    ],
)
def test_value_that_cannot_be_costs_no_frame(field, value, column):
    """It was a dead letter until 622aa62."""
    answer = decoded(
        frame(**{field: value}).SerializeToString(), frame(sequence=2).SerializeToString()
    )
    whole, blanked = (
        decoded(frame().SerializeToString()).frames.to_pylist()[0],
        answer.frames.to_pylist()[0],
    )

    assert answer.rejected == []
    assert blanked == {**whole, column: None}
    assert answer.blanked == {column: 1}


def test_value_that_the_collector_blanked_is_unknown():
    some = frame(speed=-500.0, gear=0)
    assert blank_implausible(some) == ("speed",)
    answer = decoded(some.SerializeToString(), frame(sequence=2, speed=0.0).SerializeToString())

    assert answer.frames["speed_kmh"].to_pylist() == [None, 0.0]
    assert answer.frames["gear"].to_pylist() == [0, 5]
    assert answer.blanked == {}, "whoever blanked it counted it"


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"track": "Spa\0"}, "facts: track holds control characters"),
        ({"driver": "\u202eanna"}, "facts: driver holds control characters"),
        ({"car": "c" * 257}, "facts: car has 257 bytes, more than 256"),
        ({"track": "\N{SNOWMAN}" * 86}, "facts: track has 258 bytes, more than 256"),
        ({"track_length": float("nan")}, "facts: track_length=nan is outside 0..1e+06"),
        ({"sector_count": -1}, "facts: sector_count=-1 is outside 0..100"),
        (
            {"started_at": NOON_MS // 1000},
            f"facts: started_at: {NOON_MS // 1000} looks like seconds, not milliseconds",
        ),
    ],
)
def test_facts_that_cannot_be(facts, why):
    assert reason(message(session=Session(**facts), telemetry=frame())) == why


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "{}{}",
        "{'speed': 1}",
        '{"speed": NaN, "timestamp": 1767268800000}',
        '{"speed": 1, "speed": 2}',
        '{"speed": 1e999}',
        '{"gear": 99999999999}',
        '{"gear": true}',
        '{"gear": 1.5}',
        '{"timestamp": ' + "9" * 5000 + "}",
        '{"frames": ' + "[" * 30000 + "}",
        '{"a":' * 10000,
        '{"session": {"track": "\\ud800"}}',
        '{"telemetry": 5}',
        '{"frames": {"a": 1}}',
        '{"pit": {}}',
    ],
)
def test_json_that_is_no_telemetry(text):
    assert reason(text.encode()).startswith("json: ")


def test_json_that_is_not_utf8():
    assert reason(b'{"a": "\xff"}').startswith("json: ")
    assert reason('{"speed": 1}'.encode("utf-16-le")).startswith("json: ")


def plausible(some: TelemetryFrame) -> bool:
    """The rule once more, frame by frame."""
    if time_fault(some.timestamp) or not 0 <= some.sequence < 2**53:
        return False
    return some.sequence != 0 or any(getattr(some, c.wire) for c in CHANNELS)


def check_row(row: dict[str, object], some: TelemetryFrame) -> None:
    assert row["time"] == some.timestamp * 1000
    assert row["sequence"] == (some.sequence or None)
    for c in CHANNELS:
        sent = getattr(some, c.wire)
        if not c.low <= sent <= c.high:
            assert row[c.name] is None
            continue
        assert row[c.name] == (None if c.optional and sent == 0 else sent)
        assert sent != 0 or row[c.name] is None or str(row[c.name]) == str(sent), (
            "the sign of zero is kept"
        )


@given(st.lists(st.one_of(DRIVEN_FRAME, ANY_FRAME, st.binary(max_size=60)), max_size=6))
def test_decode_agrees_with_the_official_parser(sent):
    """Every value is either the row that the official parser would make of it, or a dead letter
    with a reason.
    """
    values = [v if isinstance(v, bytes) else v.SerializeToString() for v in sent]
    answer = decoded(*values)
    # In whole µs: a float of seconds is too coarse for the times that a wrong clock shows, and
    # datetime knows no year 10,000.
    times_us = answer.frames.column("time").cast(pa.int64())
    frames = answer.frames.set_column(
        answer.frames.schema.get_field_index("time"), "time", times_us
    )
    rows = {row["record"]: row for row in frames.to_pylist()}
    for record, value in enumerate(values):
        if kind_of(value) is not Kind.FRAME:
            continue
        try:
            some = TelemetryFrame.FromString(value)
        except DecodeError:
            assert record not in rows
            continue
        assert (record in rows) == plausible(some)
        if record in rows:
            check_row(rows[record], some)


@given(st.lists(DRIVEN_FRAME, min_size=1, max_size=4))
def test_driven_frames_are_all_stored(driven):
    assert decoded(*(f.SerializeToString() for f in driven)).rejected == []


@given(
    st.lists(
        st.none() | st.binary(max_size=100) | st.binary(max_size=90).map(lambda b: b"{" + b),
        max_size=4,
    )
)
def test_any_bytes_are_a_frame_or_have_a_reason(values):
    decoded(*values)


@given(st.integers(0, 70_000), st.binary(min_size=1, max_size=64))
def test_long_values_too(length, pattern):
    decoded((pattern * (length // len(pattern) + 1))[:length])


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [f.json_name for f in TelemetryMessage.DESCRIPTOR.fields]
                    + [f.json_name for f in TelemetryFrame.DESCRIPTOR.fields]
                ),
                inner,
                max_size=4,
            )
        ),
    )
)
def test_any_json(content):
    decoded(json.dumps({"telemetry": content}).encode(), json.dumps({"speed": content}).encode())
    if isinstance(content, dict):
        decoded(json.dumps(content).encode())


@given(
    st.lists(
        st.none() | st.binary(max_size=12) | st.sampled_from([b"spa", b"monza", b"k" * 257]),
        max_size=6,
    )
)
def test_any_keys(keys):
    check(decode(frames(len(keys)), keys), len(keys))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_poison_costs_only_itself(share):
    """Half of the records may be poison, and the other half is stored."""
    values = frames(4000)
    spoilt = [i for i in range(4000) if i * 7919 % 4000 < share * 4000]
    for i in spoilt:
        values[i] = [b"\x0c", b"", b"{", b"\x0a\x05", values[i][:-1]][i % 5]
    answer = decoded(*values)
    assert [r.record for r in answer.rejected] == spoilt
    assert answer.frames.num_rows == 4000 - len(spoilt)
