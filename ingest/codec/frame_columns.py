"""Parses serialized TelemetryFrames into the columns of the wire, many at a time.

`ptars` parses, and the official protobuf parser judges. ptars accepts some bytes that the official
parser refuses: tags of more than 32 bits, and groups nested too deep. Such bytes add nothing to the
values. So a frame that is as short as its values allow is certainly valid.

Only longer frames go to the official parser. Our collectors write none of those. They come from
another version with fields that are unknown here, or they write zeros out. No value has ever
differed where both parsers accept.

Rule: a list goes in; one column per field and the places of the refused frames come out.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError
from ptars import HandlerPool

from ingest.codec.messages import decode_fault
from ingest.telemetry_pb2 import DESCRIPTOR, TelemetryFrame

Places = npt.NDArray[np.int64]

_FRAME = TelemetryFrame.DESCRIPTOR
_PARSER = HandlerPool([DESCRIPTOR]).get_for_message(_FRAME)
_FLOATS = {f.name for f in _FRAME.fields if f.type == FieldDescriptor.TYPE_FLOAT}
_TAG_BYTES = {f.name: 1 if f.number < 16 else 2 for f in _FRAME.fields}

# Below this many frames, parsing each officially costs less than further halving (measured with 1
# to 50 % poison records).
_ONE_BY_ONE = 2048


@dataclass(frozen=True, slots=True, eq=False)
class WireColumns:
    """One array per field of TelemetryFrame, under its wire name.

    ``places`` is the index of the payload for each row.
    """

    columns: dict[str, npt.NDArray[Any]]
    places: Places
    refused: list[tuple[int, str]]  # place and reason


def read_columns(payloads: pa.BinaryArray) -> WireColumns:
    """Return the fields of serialized frames, in the order of the frames.

    Never raises for the contents of the payloads. No payload may be null.
    """
    read, places, refused = [], [], []
    for start, piece, batch in _pieces(payloads, 0):
        kept, faults = _judged(piece, batch) if batch is not None else _read_one_by_one(piece)
        refused += [(start + place, fault) for place, fault in faults]
        read.append(kept[1])
        places.append(kept[0] + start)
    table = pa.Table.from_batches(read, schema=_PARSER.schema()).combine_chunks()
    columns = {name: table[name].to_numpy() for name in table.column_names}
    return WireColumns(columns, np.concatenate(places), refused)


def shortest_lengths(columns: dict[str, npt.NDArray[Any]]) -> npt.NDArray[np.int64]:
    """Return the least number of bytes in which a frame with these values can be written."""
    total = np.zeros(len(columns["timestamp"]), dtype=np.int64)
    for name, values in columns.items():
        if name in _FLOATS:
            # Compared by bits: -0.0 is written, 0.0 is not.
            total += (values.view(np.uint32) != 0) * (_TAG_BYTES[name] + 4)
        elif values.any():
            # A negative int32 may be written in ten bytes or, cut, in five: unsigned counts five.
            total += _varint_lengths(values.view(f"u{values.itemsize}"), _TAG_BYTES[name])
    return total


def _varint_lengths(values: npt.NDArray[Any], tag_bytes: int) -> npt.NDArray[np.uint8]:
    lengths: npt.NDArray[np.uint8] = (values != 0).astype(np.uint8) * np.uint8(tag_bytes + 1)
    highest = int(values.max())
    for bits in range(7, highest.bit_length(), 7):
        lengths += values >= values.dtype.type(1 << bits)
    return lengths


_Kept = tuple[Places, pa.RecordBatch]
_Faults = list[tuple[int, str]]


def _pieces(
    payloads: pa.BinaryArray, start: int
) -> Iterator[tuple[int, pa.BinaryArray, pa.RecordBatch | None]]:
    """Yield slices that ptars reads as a whole, found by halving.

    Yields None as the batch of a short slice that ptars does not read.
    """
    try:
        yield start, payloads, _PARSER.array_to_record_batch(payloads)
        return
    except ValueError:
        if len(payloads) <= _ONE_BY_ONE:
            yield start, payloads, None
            return
    half = len(payloads) // 2
    yield from _pieces(payloads.slice(0, half), start)
    yield from _pieces(payloads.slice(half), start + half)


def _judged(payloads: pa.BinaryArray, batch: pa.RecordBatch) -> tuple[_Kept, _Faults]:
    """Return a batch without the doubtful frames that the official parser refuses, and their
    faults.
    """
    columns = {name: batch[name].to_numpy() for name in batch.schema.names}
    doubtful = np.flatnonzero(lengths_of(payloads) != shortest_lengths(columns))
    faults = _faults(doubtful.tolist(), payloads.take(pa.array(doubtful)).to_pylist())
    places = np.arange(len(payloads))
    if faults:
        places = np.delete(places, [place for place, _ in faults])
        batch = batch.take(pa.array(places))
    return (places, batch), faults


def _read_one_by_one(payloads: pa.BinaryArray) -> tuple[_Kept, _Faults]:
    faults = _faults(range(len(payloads)), payloads.to_pylist())
    places = np.delete(np.arange(len(payloads)), [place for place, _ in faults])
    valid = payloads.take(pa.array(places))
    try:
        batch = _PARSER.array_to_record_batch(valid)
    except ValueError:
        # The official parser accepts a frame that ptars refuses: ptars gets the official parser's
        # serialization of it.
        batch = _PARSER.array_to_record_batch(pa.array(map(_plain, valid.to_pylist()), pa.binary()))
    return (places, batch), faults


def _faults(places: Iterable[int], payloads: Iterable[bytes]) -> _Faults:
    faults = []
    for place, payload in zip(places, payloads, strict=True):
        try:
            TelemetryFrame.FromString(payload)
        except DecodeError:
            faults.append((place, decode_fault(payload)))
    return faults


def _plain(payload: bytes) -> bytes:
    frame = TelemetryFrame.FromString(payload)
    frame.DiscardUnknownFields()
    return frame.SerializeToString()


def lengths_of(values: pa.Array) -> npt.NDArray[np.int64]:
    """Return the length in bytes of each value of a (large) binary array; 0 for null."""
    wide = np.int64 if pa.types.is_large_binary(values.type) else np.int32
    offsets = np.frombuffer(values.buffers()[1], dtype=wide)[
        values.offset : values.offset + len(values) + 1
    ]
    return np.diff(offsets).astype(np.int64)
