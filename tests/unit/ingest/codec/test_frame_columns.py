"""ptars reads, the official protobuf parser judges: the two agree on every byte."""

import struct

import pyarrow as pa
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from ingest.codec.frame_columns import read_columns, shortest_lengths
from ingest.telemetry_pb2 import TelemetryFrame
from tests.unit.frames import ANY_FRAME, frame, frames

FIELDS = TelemetryFrame.DESCRIPTOR.fields

# What the two parsers are known to see differently, and other bytes that no collector writes.
ODDITIES = st.sampled_from(
    [
        b"\x88\x80\x80\x80\x80\x01\x05",  # a tag of 36 bits
        b"\x88\x80\x80\x80\x10\x05",  # a tag of 33 bits, else that of the timestamp
        b"\x88\x00\x05",  # a tag longer than needed
        b"\x0b\x0c",  # an empty group
        b"\xa3\x06" * 101 + b"\xa4\x06" * 101,  # groups nested too deep
        b"\x0b",  # a group without end
        b"\x0c",  # an end without group
        b"\x0e\x01",  # wire type 6
        b"\x00\x05",  # field 0
        b"\x0a\x02hi",  # a field of another type
        b"\xf8\x07\x01",  # an unknown field
        b"\x08" + b"\xff" * 10 + b"\x01",  # a varint of eleven bytes
        b"\x10\xff\xff\xff\xff\x0f",  # -1 in five bytes
        b"\x18\x00\x00",  # cut short
    ]
)


def officially(value: bytes) -> TelemetryFrame | None:
    try:
        return TelemetryFrame.FromString(value)
    except DecodeError:
        return None


def bits(field: FieldDescriptor, number: float) -> object:
    return struct.pack("<f", number) if field.type == FieldDescriptor.TYPE_FLOAT else number


def check_against_judge(values: list[bytes]) -> None:
    wire = read_columns(pa.array(values, pa.binary()))
    judged = {
        place: f for place, value in enumerate(values) if (f := officially(value)) is not None
    }
    assert wire.places.tolist() == list(judged)
    assert {place for place, _ in wire.refused} == set(range(len(values))) - set(judged)
    for field in FIELDS:
        read = [bits(field, number) for number in wire.columns[field.name].tolist()]
        assert read == [bits(field, getattr(f, field.name)) for f in judged.values()], field.name


@given(st.lists(ANY_FRAME, max_size=5))
def test_every_frame_is_read_as_the_official_parser_reads_it(some):
    """All fields, the extremes of integers, -0.0 and NaN to the bit."""
    check_against_judge([f.SerializeToString() for f in some])


@given(st.lists(st.binary(max_size=80), max_size=5))
def test_any_bytes(values):
    check_against_judge(values)


@given(
    st.lists(
        st.tuples(
            ANY_FRAME, st.lists(st.tuples(st.just(0) | st.integers(0, 200), ODDITIES), max_size=3)
        ),
        max_size=4,
    )
)
def test_frames_with_oddities_inside(mutants):
    values = []
    for some, insertions in mutants:
        value = some.SerializeToString()
        for place, odd in insertions:
            value = value[:place] + odd + value[place:]
        values.append(value)
    check_against_judge(values)


@given(ANY_FRAME)
def test_every_prefix_of_a_frame(some):
    """A torn value is refused, or it is the frame without its last fields."""
    value = some.SerializeToString()
    check_against_judge([value[:end] for end in range(len(value) + 1)])


@given(ANY_FRAME, st.integers(0, 20), st.integers(0, 255))
def test_one_byte_changed(some, place, byte):
    value = bytearray(some.SerializeToString())
    if value:
        value[place % len(value)] = byte
    check_against_judge([bytes(value)])


@given(ANY_FRAME)
def test_no_frame_is_shorter_than_the_shortest(some):
    """What makes the judge's absence safe: only bytes beyond the shortest form can hold what ptars
    overlooks.
    """
    value = some.SerializeToString()
    shortest = shortest_lengths(read_columns(pa.array([value], pa.binary())).columns)[0]
    cut_negatives = sum(
        f.type in (FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_ENUM)
        and getattr(some, f.name) < 0
        for f in FIELDS
    )
    assert shortest == len(value) - 5 * cut_negatives


@pytest.mark.parametrize("poison", [b"\x0c", b"\x0b", b"\x88\x80\x80\x80\x80\x01\x05"])
@pytest.mark.parametrize("every", [1500, 210, 2, 1])
def test_poison_is_found_wherever_it_is(every, poison):
    values = frames(1500)
    spoilt = list(range(every // 2, len(values), every))
    for place in spoilt:
        values[place] = poison + values[place]
    wire = read_columns(pa.array(values, pa.binary()))
    assert sorted(place for place, _ in wire.refused) == spoilt
    whole = sorted(set(range(1500)) - set(spoilt))
    assert wire.columns["sequence"].tolist() == [i + 1 for i in whole]


def test_no_frames():
    wire = read_columns(pa.array([], pa.binary()))
    assert len(wire.places) == 0
    assert set(wire.columns) == {f.name for f in FIELDS}


def test_frames_of_a_later_version_are_read():
    """A field that this version does not know changes nothing."""
    later = frame().SerializeToString() + b"\xfa\x07\x05later" + b"\xfd\x07\x00\x00\x80\x3f"
    wire = read_columns(pa.array([later], pa.binary()))
    assert wire.columns["speed"].tolist() == [212.5]
