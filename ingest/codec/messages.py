"""Reads the contents of one Kafka value with the official protobuf parser: messages, JSON, single
frames.

Reads one record at a time, without Arrow: for the rare forms in `decode`, and for the bridge. It
uses a record's key and value, but no offset and no clock. The official parser judges validity;
every failure is an InvalidRecord.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import DecodeError

from ingest.codec.blanking import SEQUENCE_END
from ingest.codec.record_format import (
    MAX_VALUE_BYTES,
    InvalidRecord,
    Kind,
    guess_encoding,
    has_controls,
    kind_of,
)
from ingest.codec.timestamps import time_fault
from ingest.telemetry_pb2 import Session, TelemetryFrame, TelemetryMessage

_REASON_CHARACTERS = 160
_FACT_BYTES = (
    256  # an index row, of at most 2,704 bytes, holds several of them and the session's key
)
_MESSAGE_NAMES = frozenset({"telemetry", "frames", "session", "lap", "status", "lapInProgress"})


@dataclass(frozen=True, slots=True)
class Contents:
    """The serialized frames of one record, oldest first, without unknown fields; and its session
    facts.
    """

    frames: list[bytes]
    facts: Session | None


def read_contents(value: bytes, session: str) -> Contents:
    """Return the frames and facts of ``session`` in a TelemetryMessage or a JSON value.

    The frames are valid protobuf; `decode` judges whether they are plausible. Raises InvalidRecord.
    """
    message = read_message(value)
    for named in (message.session_id, message.session.id):
        if named and named != session:
            raise InvalidRecord(f"key: the message names another session, {quoted(named)}")
    single = [message.telemetry] if message.HasField("telemetry") else []
    frames = [*single, *message.frames]
    if not message.HasField("session"):
        if not frames:
            raise InvalidRecord("empty: neither frames nor session facts")
        return Contents(_serialized(frames), None)
    _check_facts(message.session)
    return Contents(_serialized(frames), message.session)


def read_message(value: bytes | None) -> TelemetryMessage:
    """Return a value in any of the three forms as a TelemetryMessage. Raises InvalidRecord."""
    kind = kind_of(value)
    if value is None or kind is Kind.EMPTY:
        raise InvalidRecord("empty: no value")
    if len(value) > MAX_VALUE_BYTES:
        raise InvalidRecord(f"oversize: {len(value)} bytes are more than {MAX_VALUE_BYTES}")
    if kind is Kind.JSON:
        return _from_json(value)
    try:
        if kind is Kind.MESSAGE:
            return TelemetryMessage.FromString(value)
        return TelemetryMessage(telemetry=TelemetryFrame.FromString(value))
    except DecodeError:
        raise InvalidRecord(decode_fault(value)) from None


def decode_fault(value: bytes) -> str:
    """Return why a value that the official parser refuses is a dead letter."""
    guess = guess_encoding(value)
    return f"encoding: looks like {guess}" if guess else "decode: not valid protobuf"


def quoted(text: str) -> str:
    """Return foreign text for a reason: short, and safe for a log and a database."""
    return ascii(text[:_REASON_CHARACTERS])


def _from_json(value: bytes) -> TelemetryMessage:
    try:
        content = json.loads(value.decode("utf-8-sig"), object_pairs_hook=_object)
        if _MESSAGE_NAMES.isdisjoint(content):
            frame = json_format.ParseDict(content, TelemetryFrame(), ignore_unknown_fields=True)
            return TelemetryMessage(telemetry=frame)
        return json_format.ParseDict(content, TelemetryMessage(), ignore_unknown_fields=True)
    except Exception as exc:
        # Foreign JSON (deep nesting, lone surrogates, huge numbers) raises many kinds of exception
        # in the parsers. None of them may stop a partition.
        raise InvalidRecord(f"json: {quoted(str(exc) or type(exc).__name__)[1:-1]}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a name comes twice in one object")
    return content


def _serialized(frames: Iterable[TelemetryFrame]) -> list[bytes]:
    out = []
    for frame in frames:
        frame.DiscardUnknownFields()
        out.append(frame.SerializeToString())
    return out


def _check_facts(facts: Session) -> None:
    _check_texts(facts)
    for name, high in (("track_length", 1e6), ("sample_rate", 1e5), ("sector_count", 100)):
        number = getattr(facts, name)
        if not 0 <= number <= high:
            raise InvalidRecord(f"facts: {name}={number:g} is outside 0..{high:g}")
    if not 0 <= facts.last_sequence < SEQUENCE_END:
        raise InvalidRecord(f"facts: last_sequence={facts.last_sequence} is outside 0..2^53")
    fault = facts.started_at and time_fault(facts.started_at)
    if fault:
        raise InvalidRecord(f"facts: started_at: {fault.removeprefix('time: ')}")


def _check_texts(facts: Session) -> None:
    for name in ("id", "user_id", "game", "track", "car", "driver"):
        text = getattr(facts, name)
        if "\0" in text or has_controls(text):
            raise InvalidRecord(f"facts: {name} holds control characters")
        size = len(text.encode())
        if size > _FACT_BYTES:
            raise InvalidRecord(f"facts: {name} has {size} bytes, more than {_FACT_BYTES}")
