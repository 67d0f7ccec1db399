"""What the bytes of a Kafka record are, before anybody parses them.

Pure functions over one key or one value, without Arrow and NumPy, so that the bridge can use them too. The rule to
remember: a value tells by its first bytes whether it is a TelemetryFrame, a TelemetryMessage or JSON, because a frame
holds only varint and fixed-width fields and a message only length-delimited ones.
"""

import re
import unicodedata
from enum import Enum

#: A larger value is a dead letter: a frame has 60 bytes, a message of a second's frames 4 KB.
MAX_VALUE_BYTES = 64 * 1024
MAX_KEY_BYTES = 256

# Control characters, invisible format marks (they turn text around on screen), and line and paragraph separators.
_UNPRINTABLE = frozenset({"Cc", "Cf", "Zl", "Zp"})

LENGTH_DELIMITED = 2
JSON_START = ord("{")
#: White space, and the byte order mark's first byte: what a JSON value may begin with before its brace.
BEFORE_JSON = b" \t\r\n\xef"
# A message that begins with a frame of 123 bytes begins with a line feed and a brace too, but no frame goes on with a quote.
_JSON_AFTER_SPACE = re.compile(rb'(?:\xef\xbb\xbf)?[ \t\r\n]*\{[ \t\r\n]*"')
_TELEMETRY_TAG = b"\x0a"  # TelemetryMessage.telemetry = 1
_SESSION_ID_TAG = b"\x32"  # TelemetryMessage.session_id = 6

_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"\x04\x22\x4d\x18": "LZ4",
    b"PK\x03\x04": "ZIP",
    b"Obj\x01": "an Avro file",
}


class Kind(Enum):
    """The forms that a value can have."""

    FRAME = "frame"
    MESSAGE = "message"
    JSON = "json"
    EMPTY = "empty"


class InvalidRecord(ValueError):
    """A record that must not be stored: a stable code, a colon, and words."""


def kind_of(value: bytes | None) -> Kind:
    """The form of a value by its first byte, or the first behind white space. It says nothing about whether the rest is valid."""
    if not value:
        return Kind.EMPTY
    if value[0] == JSON_START or (value[0] in BEFORE_JSON and _JSON_AFTER_SPACE.match(value)):
        return Kind.JSON
    return Kind.MESSAGE if value[0] & 7 == LENGTH_DELIMITED else Kind.FRAME


def session_of(key: bytes | None) -> str:
    """The session that a record's key names. Raises BadRecord if it can be none."""
    if not key:
        raise InvalidRecord("key: a record needs its session as key")
    if len(key) > MAX_KEY_BYTES:
        raise InvalidRecord(f"key: {len(key)} bytes are more than {MAX_KEY_BYTES}")
    try:
        session = key.decode()
    except UnicodeDecodeError:
        raise InvalidRecord("key: not UTF-8") from None
    if has_controls(session):
        raise InvalidRecord("key: holds control characters")
    return session


def has_controls(text: str) -> bool:
    """Whether text holds what nobody can see: PostgreSQL refuses some of it, and logs are forged with the rest."""
    return not text.isprintable() and any(unicodedata.category(c) in _UNPRINTABLE for c in text)


def guess_encoding(value: bytes) -> str | None:
    """What a value that is no telemetry may be instead, in words for a dead letter; None if nothing fits."""
    if value.startswith(tuple(_MAGIC)):
        return next(name for magic, name in _MAGIC.items() if value.startswith(magic))
    # Schema registries put a zero byte and a four-byte schema id before Avro; field 0 is no protobuf.
    if len(value) >= 5 and value[0] == 0:
        return "Avro with a schema id"
    return "text" if _is_text(value[:256]) else None


def frame_in_envelope(frame: bytes, session_id: str) -> bytes:
    """The serialized TelemetryMessage with this serialized TelemetryFrame and session id.

    The frame's bytes are copied as they are: what a viewer receives is what the collector sent.
    """
    session = session_id.encode()
    return b"".join((_TELEMETRY_TAG, _varint(len(frame)), frame, _SESSION_ID_TAG, _varint(len(session)), session))


def _is_text(start: bytes) -> bool:
    try:
        text = start.decode()
    except UnicodeDecodeError as exc:
        # A long text may be cut in the middle of a character.
        text = start[: exc.start].decode()
        if len(start) - exc.start > 3 or not text:
            return False
    return len(text) > 1 and all(c.isprintable() or c in "\t\r\n\ufeff" for c in text)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
