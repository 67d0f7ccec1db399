"""Builds the records that a collector writes to Kafka: the session's key, the headers, and frames
and facts as bytes.

Pure: knows no Kafka client. The rule to remember: every record of a session has the same key and
the same user.
"""

import json
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from ingest.telemetry_pb2 import Session, TelemetryFrame, TelemetryMessage

Encoding = Literal["protobuf", "json"]
Headers = list[tuple[str, str | bytes | None]]

#: The collector refuses larger records. A broker refuses them too, and the session would wait
#: behind one for ever.
LARGEST_RECORD_BYTES = 64 * 1024
_KEY_BYTES = 8
#: The last field that the published contract names. JSON always has these fields, also where they
#: are zero.
LAST_PUBLISHED_FIELD = 10
#: The header with this PC's clock, in ms since the Unix epoch, when a record was passed to the
#: client. From it, ingest moves the times of a session whose clock is far behind the broker's. A
#: replay has no such header: its frames keep the times of another day.
SENT_AT = "sentAt"
#: The header of a resend that ingest requested: the record is not live, and not for viewers.
RESENT = ("resent", b"1")


class OutgoingRecord(NamedTuple):
    """A value to produce; ``sequence`` is 0 for the session's facts, which are not a frame."""

    sequence: int
    timestamp_ms: int
    value: bytes


def new_session_key(
    user_id: str, *, now: datetime, random: Callable[[int], str] = secrets.token_hex
) -> str:
    """Make a unique key: ``driver-20260314T150926Z-1f0c5a7e93b0d264``. ``random(n)`` returns n
    bytes as hex.

    Cars that start in the same second differ by 64 random bits; with 16, two of 40 shared one in
    1.2 % of starts.
    """
    return f"{user_id}-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{random(_KEY_BYTES)}"


def headers(session_key: str, user_id: str, encoding: Encoding) -> Headers:
    """Return the headers of every record of a session."""
    return [
        ("sessionId", session_key.encode()),
        ("userId", user_id.encode()),
        ("encoding", encoding.encode()),
    ]


def frame_encoder(encoding: Encoding) -> Callable[[TelemetryFrame], bytes]:
    """Return the function that encodes a frame as a record's value.

    That function raises ValueError for a value that JSON cannot express (NaN).
    """
    return TelemetryFrame.SerializeToString if encoding == "protobuf" else _json_frame


def facts_value(facts: Session, encoding: Encoding) -> bytes:
    """Encode a session's facts as a record's value."""
    message = TelemetryMessage(session=facts, session_id=facts.id)
    return message.SerializeToString() if encoding == "protobuf" else _json_bytes(_as_json(message))


def _json_frame(frame: TelemetryFrame) -> bytes:
    return _json_bytes(
        {name: getattr(frame, field) for name, field in _PUBLISHED} | _as_json(frame)
    )


_PUBLISHED = [
    (f.json_name, f.name)
    for f in TelemetryFrame.DESCRIPTOR.fields
    if f.number <= LAST_PUBLISHED_FIELD
]


def _as_json(message: Message) -> dict[str, Any]:
    """Return the set fields by their JSON names. Numbers stay numbers; protobuf's own JSON quotes
    64-bit ones.
    """
    return {field.json_name: _json_value(field, value) for field, value in message.ListFields()}


def _json_value(field: FieldDescriptor, value: Any) -> Any:
    return _as_json(value) if field.message_type is not None else value


def _json_bytes(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
