"""Serializes a TelemetryMessage for viewers: its bytes once, its JSON text at most once.

Depends on the wire format, not on viewers. The rule: a live frame is never rebuilt; its bytes are
wrapped as they came.
"""

import ctypes
import json
import math
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from ingest.telemetry_pb2 import Status, TelemetryMessage

_FLOATS = {FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE}


class OutgoingMessage:
    """A serialized TelemetryMessage of one session. ``frames`` counts its live frames; with 0 it
    must arrive.
    """

    __slots__ = ("_text", "binary", "frames", "session")

    def __init__(self, binary: bytes, *, session: str = "", frames: int = 0) -> None:
        self.binary = binary
        self.session = session
        self.frames = frames
        self._text: str | None = None

    def __repr__(self) -> str:
        return f"Envelope({self.session!r}, {self.frames} frames, {self.size_bytes} bytes)"

    @property
    def size_bytes(self) -> int:
        """Return the size of the message, in bytes."""
        return len(self.binary)

    def payload(self, *, as_text: bool) -> bytes | str:
        """Return the text or bytes that go over the socket."""
        return self.text() if as_text else self.binary

    def text(self) -> str:
        """Return the message as JSON, with the JSON names of the proto."""
        if self._text is None:
            self._text = json_text(TelemetryMessage.FromString(self.binary))
        return self._text


def status(state: str, *, detail: str = "", missed_frames: int = 0) -> OutgoingMessage:
    """Return a status message about the viewer's own stream."""
    words = Status(state=state, detail=detail, missed_frames=missed_frames)
    return OutgoingMessage(TelemetryMessage(status=words).SerializeToString())


def missed(count: int) -> OutgoingMessage:
    """Return a status with the number of live frames that a slow viewer was not sent."""
    return status("live", missed_frames=count)


def json_text(message: TelemetryMessage) -> str:
    """Return a message as one line of JSON.

    Inside a present message every plain field is written, so that a throttle of 0 reads 0 and not
    "absent". Whole numbers are numbers (milliseconds since 1970 fit), and enumerations are their
    numbers. NaN and infinity are null.
    """
    return json.dumps(as_json(message), separators=(",", ":"), ensure_ascii=False)


def as_json(message: Message) -> dict[str, Any]:
    """Return a message as a dict with the JSON names of the proto."""
    envelope = isinstance(message, TelemetryMessage)
    # An envelope leaves out the fields that it does not carry. A message inside it writes every
    # field.
    fields: list[Any] = (
        [f for f, _ in message.ListFields()] if envelope else list(message.DESCRIPTOR.fields)
    )
    return {field.json_name: _value(message, field) for field in fields if _present(message, field)}


def _present(message: Message, field: FieldDescriptor) -> bool:
    return not field.has_presence or message.HasField(field.name)


def _value(message: Message, field: FieldDescriptor) -> Any:
    value = getattr(message, field.name)
    if field.is_repeated:
        return [_plain(one, field) for one in value]
    return _plain(value, field)


def _plain(value: Any, field: FieldDescriptor) -> Any:
    if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
        return as_json(value)
    return _shortest(value) if field.cpp_type in _FLOATS else value


def _shortest(value: float) -> float | None:
    """Return the shortest decimal that reads back as the same 32-bit float: 0.3, not
    0.30000001192092896.
    """
    if not math.isfinite(value):
        return None
    for digits in (6, 7, 8):
        short = float(f"{value:.{digits}g}")
        if ctypes.c_float(short).value == value:
            return short
    return value
