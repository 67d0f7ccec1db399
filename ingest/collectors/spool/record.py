"""Encodes a record of the spool as bytes, and finds whole records in damaged bytes.

A record is length of the payload, CRC32C, sequence and payload. Pure: knows no file. The CRC covers
length, sequence and payload, so that a record is whole or invalid. The payload is the time of the
Kafka record and its value. The rule to remember: bytes between two found records are damage.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from crc32c import crc32c

from ingest.collectors.delivery.records import LARGEST_RECORD_BYTES, OutgoingRecord

_HEADER = struct.Struct("<IIQ")
_GUARDED = struct.Struct("<IQ")  # the header without the CRC
_TIME = struct.Struct("<q")

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
    return _HEADER.pack(len(payload), _crc(record.sequence, payload), record.sequence) + payload


def scan(data: bytes) -> Iterator[Found]:
    """Yield the records in ``data``, in order; after damage, continue at the next whole record.

    Bytes before the first record, between two and after the last are damaged, or belong to an
    incomplete record.
    """
    start, view = 0, memoryview(data)
    while start + OVERHEAD_BYTES <= len(data):
        found = _record_at(view, start)
        if found is None:
            start += 1
        else:
            yield found
            start = found.end


def _record_at(data: memoryview, start: int) -> Found | None:
    length, crc, sequence = _HEADER.unpack_from(data, start)
    end = start + _HEADER.size + length
    # Every record has a value: a run of zeros is not a record.
    if not _TIME.size < length <= LARGEST_RECORD_BYTES + _TIME.size or end > len(data):
        return None
    payload = bytes(data[start + _HEADER.size : end])
    if _crc(sequence, payload) != crc:
        return None
    (timestamp_ms,) = _TIME.unpack_from(payload)
    return Found(start, end, OutgoingRecord(sequence, timestamp_ms, payload[_TIME.size :]))


def _crc(sequence: int, payload: bytes) -> int:
    return crc32c(payload, crc32c(_GUARDED.pack(len(payload), sequence)))
