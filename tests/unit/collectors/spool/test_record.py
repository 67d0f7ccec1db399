"""What was written whole is read, whatever happened to its neighbours."""

import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.collectors.delivery.records import LARGEST_RECORD_BYTES, OutgoingRecord
from ingest.collectors.spool.record import LARGEST_BYTES, crc32c, encode, scan
from ingest.collectors.spool.segments import first_of, read_ranges, segment_path

RECORDS = [OutgoingRecord(i, 1_700_000_000_000 + i, bytes([i]) * (10 + i)) for i in range(6)]
ENCODED = [encode(record) for record in RECORDS]
DATA = b"".join(ENCODED)
FORMER = OutgoingRecord(7, 1_000, b"frame")
FORMAT_0 = bytes.fromhex("0d000000f17be71f0700000000000000e8030000000000006672616d65")


def found(data):
    return [each.record for each in scan(data)]


def owner_of(byte):
    """Which record the byte belongs to."""
    for index, encoded in enumerate(ENCODED):
        if byte < len(encoded):
            return index
        byte -= len(encoded)
    raise AssertionError(byte)


def test_the_layout_is_word_crc_sequence_payload():
    """By hand; the highest byte of the word is the format, and the sum is zlib's."""
    payload = struct.pack("<q", 1_000) + b"frame"
    guarded = struct.pack("<IQ", 1 << 24 | len(payload), 7) + payload

    assert (
        encode(OutgoingRecord(7, 1_000, b"frame"))
        == struct.pack("<IIQ", 1 << 24 | 13, zlib.crc32(guarded), 7) + payload
    )


def test_a_spool_of_the_format_before_is_read():
    """Format 0 has CRC-32C; the bytes were written by the version before."""
    assert crc32c(b"123456789") == 0xE3069283

    assert found(FORMAT_0 + b"torn" + FORMAT_0) == [FORMER, FORMER]
    assert found(FORMAT_0[:-1] + b"x") == []


def test_a_segment_has_one_format():
    """Or damage takes minutes: CRC-32C would be tried wherever it holds a small number."""
    assert found(ENCODED[0] + FORMAT_0 + ENCODED[1]) == RECORDS[:2]


def test_a_format_that_is_not_known_is_damage():
    payload = struct.pack("<q", 1_000) + b"frame"
    guarded = struct.pack("<IQ", 2 << 24 | 13, 7) + payload

    for crc in (zlib.crc32(guarded), crc32c(guarded)):
        later = struct.pack("<IIQ", 2 << 24 | 13, crc, 7) + payload
        assert found(ENCODED[0] + later + ENCODED[1]) == RECORDS[:2]


@given(st.integers(0, 2**53 - 1), st.integers(0, 2**62), st.binary(min_size=1, max_size=300))
def test_a_record_is_read_as_it_was_written(sequence, timestamp_ms, value):
    record = OutgoingRecord(sequence, timestamp_ms, value)
    data = encode(record)

    assert [(0, len(data), record)] == list(scan(data))


def test_the_largest_record_fits():
    record = OutgoingRecord(1, 0, b"x" * LARGEST_RECORD_BYTES)

    assert len(encode(record)) == LARGEST_BYTES
    assert found(encode(record)) == [record]
    assert found(encode(OutgoingRecord(1, 0, b"x" * (LARGEST_RECORD_BYTES + 1)))) == []


def test_cut_anywhere_the_whole_records_before_are_found():
    for cut in range(len(DATA)):
        assert found(DATA[:cut]) == RECORDS[: owner_of(cut)], cut
    assert found(DATA) == RECORDS


def test_one_wrong_byte_costs_one_record():
    for byte in range(len(DATA)):
        damaged = bytearray(DATA)
        damaged[byte] ^= 0xFF
        hit = owner_of(byte)

        assert found(bytes(damaged)) == [*RECORDS[:hit], *RECORDS[hit + 1 :]], byte


@given(st.lists(st.one_of(st.integers(0, len(RECORDS) - 1), st.binary(max_size=40)), max_size=20))
def test_records_are_found_between_rubbish(pieces):
    data = b"".join(ENCODED[p] if isinstance(p, int) else p for p in pieces)

    assert found(data) == [RECORDS[p] for p in pieces if isinstance(p, int)]


def test_zeros_are_no_record():
    """What a file system leaves where a write did not reach the disk."""
    assert found(ENCODED[0] + bytes(5_000) + ENCODED[1]) == RECORDS[:2]


def write_segments(folder, *firsts, frames):
    for first, after in zip(firsts, [*firsts[1:], frames + 1], strict=True):
        numbers = [0, *range(first, after)]
        segment_path(folder, first).write_bytes(
            b"".join(encode(OutgoingRecord(n, n, b"frame")) for n in numbers)
        )


@pytest.mark.parametrize(
    ("first", "last"), [(1, 30), (5, 5), (9, 12), (10, 10), (20, 99), (31, 40), (12, 3)]
)
def test_a_range_is_read_from_the_segments_that_hold_it(tmp_path, first, last):
    write_segments(tmp_path, 1, 10, 20, frames=30)

    sequences = [record.sequence for record in read_ranges(tmp_path, [(first, last)])]
    assert sequences == [n for n in range(1, 31) if first <= n <= last]


def test_of_many_ranges_each_segment_is_read_once(tmp_path, monkeypatch):
    """A bad network leaves hundreds of holes; to look through a megabyte for each would take a
    processor for half a minute.
    """
    write_segments(tmp_path, 1, 10, 20, frames=30)
    read, read_bytes = [], Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read.append(path.name) or read_bytes(path))
    odd = [(n, n) for n in range(1, 18, 2)]

    assert [record.sequence for record in read_ranges(tmp_path, odd)] == list(range(1, 18, 2))
    assert read == [segment_path(tmp_path, first).name for first in (1, 10)]


def test_a_segment_that_is_freed_meanwhile_holds_nothing(tmp_path):
    write_segments(tmp_path, 1, 10, 20, frames=30)
    reading = read_ranges(tmp_path, [(1, 30)])
    next(reading)
    segment_path(tmp_path, 10).unlink()

    assert [record.sequence for record in reading] == [*range(2, 10), *range(20, 31)]
    assert first_of(segment_path(tmp_path, 20)) == 20
