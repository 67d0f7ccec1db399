"""Encodes a record of the spool as bytes, and finds whole records in damaged bytes.

A record is a word, CRC-32, sequence and payload. The word is the length of the payload, with the
number of the format in its highest byte. Pure: knows no file. The CRC covers word, sequence and
payload, so that a record is whole or invalid. The payload is the time of the Kafka record and its
value. The rule to remember: bytes between two found records are damage.

Format 1 has the CRC-32 of zlib, which every Python has. Format 0 had CRC-32C; it is still read.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple
from zlib import crc32

from ingest.collectors.delivery.records import LARGEST_RECORD_BYTES, OutgoingRecord

_HEADER = struct.Struct("<IIQ")
_GUARDED = struct.Struct("<IQ")  # the header without the CRC
_TIME = struct.Struct("<q")
_FORMAT_BIT = 24
_FORMAT_1 = 1 << _FORMAT_BIT
_LENGTH = _FORMAT_1 - 1
_SEQUENCES_END = 2**53  # as ingest takes them

#: The bytes that a record takes beside its value.
OVERHEAD_BYTES = _HEADER.size + _TIME.size
#: The largest record, bytes in all.
LARGEST_BYTES = OVERHEAD_BYTES + LARGEST_RECORD_BYTES


class Found(NamedTuple):
    """A record at ``data[start:end]``."""

    start: int
    end: int
    record: OutgoingRecord


def encode(record: OutgoingRecord) -> bytes:
    """Encode the record as it lies in a file."""
    payload = _TIME.pack(record.timestamp_ms) + record.value
    word = len(payload) | _FORMAT_1
    crc = crc32(payload, crc32(_GUARDED.pack(word, record.sequence)))
    return _HEADER.pack(word, crc, record.sequence) + payload


def scan(data: bytes) -> Iterator[Found]:
    """Yield the records in ``data``, in order; after damage, continue at the next whole record.

    Bytes before the first record, between two and after the last are damaged, or belong to an
    incomplete record.
    """
    start, view, oldest = 0, memoryview(data), 0
    while start + OVERHEAD_BYTES <= len(data):
        found = _record_at(view, start, oldest)
        if found is None:
            start += 1
        else:
            yield found
            # A segment has one format, in byte 3. Trying CRC-32C takes 0.1 µs a byte, wherever
            # damage looks like a record.
            oldest = data[start + 3]
            start = found.end


def _record_at(data: memoryview, start: int, oldest: int) -> Found | None:
    word, crc, sequence = _HEADER.unpack_from(data, start)
    length = word & _LENGTH
    end = start + _HEADER.size + length
    # Every record has a value: a run of zeros is not a record.
    if not _TIME.size < length <= LARGEST_RECORD_BYTES + _TIME.size or end > len(data):
        return None
    if not oldest <= word >> _FORMAT_BIT <= 1 or sequence >= _SEQUENCES_END:
        return None
    payload = bytes(data[start + _HEADER.size : end])
    if _crc(word, sequence, payload) != crc:
        return None
    (timestamp_ms,) = _TIME.unpack_from(payload)
    return Found(start, end, OutgoingRecord(sequence, timestamp_ms, payload[_TIME.size :]))


def _crc(word: int, sequence: int, payload: bytes) -> int:
    checksum = crc32 if word & _FORMAT_1 else crc32c
    return checksum(payload, checksum(_GUARDED.pack(word, sequence)))


def crc32c(data: bytes, crc: int = 0) -> int:
    """Return the CRC-32C of ``data``, which follows data with the checksum ``crc``."""
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc = _CRC32C[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def _crc32c_of(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    return byte


_CRC32C = tuple(map(_crc32c_of, range(256)))
