"""Decodes Kafka records to columns: frames, session facts, and records that must not be stored.

Pure. Three forms of value are read: a TelemetryFrame, a TelemetryMessage, and a JSON object of
either. Nearly every record is a TelemetryFrame, and it never becomes a Python object. The official
protobuf parser alone judges validity (`ingest.codec.frame_columns` explains how ptars is held to
it).

Rule: a record is stored as a whole or rejected as a whole, once, with one reason. A single absurd
frame costs its message all frames and facts. An implausible value is NULL and counted; its frame is
kept.

A reason is a stable code, a colon and a text. The codes are key, empty, oversize, decode, encoding,
json, time, value and facts; `ingest.codec.session_owner` adds owner.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from analytics.model.channels import CHANNELS, SEQUENCE, TIME
from ingest.codec.frame_columns import WireColumns, lengths_of, read_columns
from ingest.codec.messages import read_contents
from ingest.codec.record_format import (
    BEFORE_JSON,
    JSON_START,
    LENGTH_DELIMITED,
    MAX_VALUE_BYTES,
    InvalidRecord,
    Kind,
    kind_of,
    session_of,
)
from ingest.codec.validation import absurdities, unknown_values
from ingest.telemetry_pb2 import Session

#: The frames of a Decoded: the record, its session, then the columns of
#: `analytics.model.channels.FRAMES`.
DECODED_FRAMES = pa.schema(
    [
        pa.field("record", pa.int32(), nullable=False),
        pa.field("session", pa.int32(), nullable=False),
        TIME,
        SEQUENCE,
        *(pa.field(c.name, c.arrow) for c in CHANNELS),
    ]
)

_Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts about its session that a record carries."""

    record: int
    session_index: int
    message: Session


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that must not be stored, with the reason."""

    record: int
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """The decoded records of one call.

    ``frames`` has the schema DECODED_FRAMES and keeps the order of the records. ``record`` counts
    from 0 in the call's lists. ``session`` and ``session_index`` are indices in ``sessions``, which
    holds the keys that have a frame or facts here. ``blanked`` counts implausible values by
    channel; they are NULL.
    """

    frames: pa.Table = field(repr=False)
    sessions: list[str]
    facts: list[Facts]
    rejected: list[Rejected]
    blanked: dict[str, int] = field(default_factory=dict)


def decode(values: Sequence[bytes | None], keys: Sequence[bytes | None]) -> Decoded:
    """Decode records; ``values`` and ``keys`` have the same length.

    Never raises for the contents of the records.
    """
    faults: dict[int, str] = {}
    session_of_record, sessions = _read_keys(keys, faults)
    payloads, record_of_payload, facts = _open(values, session_of_record, sessions, faults)
    wire = read_columns(payloads)
    for place, reason in wire.refused:
        faults.setdefault(int(record_of_payload[place]), reason)
    records = record_of_payload[wire.places]
    for row, reason in absurdities(wire.columns):
        faults.setdefault(int(records[row]), reason)
    frames, blanked = _to_frames(wire, records, session_of_record[records])
    return without(Decoded(frames, sessions, facts, [], blanked), faults)


def reject_all(decoded: Decoded, records: int, reason: str) -> Decoded:
    """Reject all ``records`` records for one reason."""
    return without(decoded, dict.fromkeys(range(records), reason))


def _read_keys(keys: Sequence[bytes | None], faults: dict[int, str]) -> tuple[_Ints, list[str]]:
    """Return the session of each record (-1: rejected), and the sessions in order of appearance."""
    coded = pa.array(keys, pa.large_binary()).dictionary_encode(null_encoding="encode")
    index_of_key, sessions, reasons = _named(coded.dictionary.to_pylist())
    places = coded.indices.to_numpy()
    for place, reason in reasons.items():
        faults.update(dict.fromkeys(np.flatnonzero(places == place).tolist(), reason))
    return np.array(index_of_key, dtype=np.int64)[places], sessions


def _named(keys: Sequence[bytes | None]) -> tuple[list[int], list[str], dict[int, str]]:
    """Return the session of each different key (-1: none), the sessions, and the faults of keys."""
    sessions: list[str] = []
    index_of_key: list[int] = []
    reasons: dict[int, str] = {}
    for place, key in enumerate(keys):
        try:
            sessions.append(session_of(key))
            index_of_key.append(len(sessions) - 1)
        except InvalidRecord as bad:
            index_of_key.append(-1)
            reasons[place] = str(bad)
    return index_of_key, sessions, reasons


def _open(
    values: Sequence[bytes | None],
    session_of_record: _Ints,
    sessions: list[str],
    faults: dict[int, str],
) -> tuple[pa.BinaryArray, _Ints, list[Facts]]:
    """Return the serialized frames of all records, the record of each frame, and the facts."""
    column = pa.array(values, pa.large_binary())
    is_frame, is_other = _sort(column, session_of_record >= 0, faults)
    if is_frame.all():
        return column.cast(pa.binary()), np.arange(len(values)), []
    payloads: list[bytes] = []
    record_of_payload: list[int] = []
    facts: list[Facts] = []
    for record in np.flatnonzero(is_other).tolist():
        session = int(session_of_record[record])
        try:
            contents = read_contents(values[record] or b"", sessions[session])
        except InvalidRecord as bad:
            faults[record] = str(bad)
            continue
        payloads += contents.frames
        record_of_payload += [record] * len(contents.frames)
        if contents.facts is not None:
            facts.append(Facts(record, session, contents.facts))
    frames = column.filter(pa.array(is_frame)).cast(pa.binary())
    records = np.concatenate(
        (np.flatnonzero(is_frame), np.array(record_of_payload, dtype=np.int64))
    )
    if not payloads:
        return frames, records, facts
    order = np.argsort(records, kind="stable")
    return (
        pa.concat_arrays([frames, pa.array(payloads, pa.binary())]).take(pa.array(order)),
        records[order],
        facts,
    )


def _sort(
    column: pa.LargeBinaryArray, wanted: npt.NDArray[np.bool_], faults: dict[int, str]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return two masks: the values that are frames, and those that are messages or JSON.

    The first byte decides, as in `kind_of`.
    """
    wanted = _of_valid_size(lengths_of(column), wanted, faults)
    if not wanted.any():
        return wanted, wanted
    _, offsets, data = column.buffers()
    starts = np.frombuffer(offsets, dtype=np.int64)[: len(column)]
    first = np.frombuffer(data, dtype=np.uint8)[np.where(wanted, starts, 0)]
    other = ((first & 7) == LENGTH_DELIMITED) | (first == JSON_START)
    for record in np.flatnonzero(wanted & ~other & np.isin(first, list(BEFORE_JSON))).tolist():
        other[record] = kind_of(column[record].as_py()) is Kind.JSON
    return wanted & ~other, wanted & other


def _of_valid_size(
    lengths: _Ints, wanted: npt.NDArray[np.bool_], faults: dict[int, str]
) -> npt.NDArray[np.bool_]:
    for record in np.flatnonzero(wanted & (lengths == 0)).tolist():
        faults[record] = "empty: no value"
    for record in np.flatnonzero(wanted & (lengths > MAX_VALUE_BYTES)).tolist():
        faults[record] = f"oversize: {lengths[record]} bytes are more than {MAX_VALUE_BYTES}"
    return wanted & (lengths > 0) & (lengths <= MAX_VALUE_BYTES)


def _to_frames(
    wire: WireColumns, records: _Ints, sessions: _Ints
) -> tuple[pa.Table, dict[str, int]]:
    columns = wire.columns
    # Absurd times overflow here and are filtered out afterwards.
    arrays = [
        pa.array(records.astype(np.int32)),
        pa.array(sessions.astype(np.int32)),
        pa.array(columns["timestamp"] * 1000).view(TIME.type),
        _known(columns["sequence"]),
    ]
    blanked: dict[str, int] = {}
    for channel in CHANNELS:
        unknown, implausible = unknown_values(channel, columns)
        if implausible:
            blanked[channel.name] = implausible
        with np.errstate(invalid="ignore"):  # numbers that are too large are among the unknown
            values = columns[channel.wire].astype(channel.arrow.to_pandas_dtype(), copy=False)
        arrays.append(pa.array(values, mask=unknown))
    return pa.Table.from_arrays(arrays, schema=DECODED_FRAMES), blanked


def _known(values: npt.NDArray[Any]) -> pa.Array:
    """Return a column in which zeros are unknown."""
    unknown = values == 0
    return pa.array(values, mask=unknown) if unknown.any() else pa.array(values)


def without(decoded: Decoded, faults: Mapping[int, str]) -> Decoded:
    """Return the decoded records without those in ``faults``.

    Their frames and facts are dropped, and so are sessions that no other record mentions.
    """
    frames, facts = decoded.frames, decoded.facts
    if faults:
        records = frames["record"].to_numpy()
        frames = frames.filter(pa.array(~np.isin(records, list(faults))))
        facts = [f for f in facts if f.record not in faults]
    rejected = sorted(
        [*decoded.rejected, *(Rejected(*fault) for fault in faults.items())], key=lambda r: r.record
    )
    return _of_live_sessions(Decoded(frames, decoded.sessions, facts, rejected, decoded.blanked))


def _of_live_sessions(decoded: Decoded) -> Decoded:
    """Drop the sessions that neither a frame nor facts name: a dead letter makes no session."""
    of_frames = decoded.frames["session"].to_numpy()
    named = np.zeros(len(decoded.sessions), dtype=np.bool_)
    named[of_frames] = True
    named[[f.session_index for f in decoded.facts]] = True
    if named.all():
        return decoded
    place = np.cumsum(named, dtype=np.int32) - 1
    session = pa.array(place[of_frames])
    frames = decoded.frames.set_column(1, DECODED_FRAMES.field("session"), session)
    keys = [key for key, kept in zip(decoded.sessions, named.tolist(), strict=True) if kept]
    facts = [replace(f, session_index=int(place[f.session_index])) for f in decoded.facts]
    return Decoded(frames, keys, facts, decoded.rejected, decoded.blanked)
