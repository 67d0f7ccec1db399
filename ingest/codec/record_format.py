"""Identifies the form of a Kafka record's bytes before they are parsed.

Pure functions over one key or one value, without Arrow and NumPy, so that the bridge can use them
too. Rule: the first bytes of a value show whether it is a TelemetryFrame, a TelemetryMessage or
JSON. A frame holds only varint and fixed-width fields; a message holds only length-delimited ones.
"""

import re
import unicodedata
from enum import Enum

#: A larger value is a dead letter. A frame has 60 bytes, a message of a second's frames 4 KB.
MAX_VALUE_BYTES = 64 * 1024
MAX_KEY_BYTES = 256

# Control characters, invisible format marks (they reverse text on screen), and line and paragraph
# separators.
_UNPRINTABLE = frozenset({"Cc", "Cf", "Zl", "Zp"})

LENGTH_DELIMITED = 2
JSON_START = ord("{")
#: White space, and the first byte of the byte order mark: a JSON value may begin with them before
#: its brace.
BEFORE_JSON = b" \t\r\n\xef"
# A message that begins with a frame of 123 bytes also begins with a line feed and a brace. But no
# frame continues with a quote.
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
    """A record that must not be stored: a stable code, a colon, and a text."""


def kind_of(value: bytes | None) -> Kind:
    """Return the form of a value by its first byte, or by the first byte after white space.

    Does not check whether the rest is valid.
    """
    if not value:
        return Kind.EMPTY
    if value[0] == JSON_START or (value[0] in BEFORE_JSON and _JSON_AFTER_SPACE.match(value)):
        return Kind.JSON
    return Kind.MESSAGE if value[0] & 7 == LENGTH_DELIMITED else Kind.FRAME


def session_of(key: bytes | None) -> str:
    """Return the session that a record's key names. Raises InvalidRecord where the key cannot be
    one.
    """
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
    """Return whether text holds invisible characters.

    PostgreSQL refuses some of them, and the others can forge log lines.
    """
    return not text.isprintable() and any(unicodedata.category(c) in _UNPRINTABLE for c in text)


def guess_encoding(value: bytes) -> str | None:
    """Return a guess at the encoding of a value that is not telemetry, as text for a dead letter.

    Returns None where nothing fits.
    """
    if value.startswith(tuple(_MAGIC)):
        return next(name for magic, name in _MAGIC.items() if value.startswith(magic))
    # Schema registries put a zero byte and a four-byte schema id before Avro; protobuf has no field
    # 0.
    if len(value) >= 5 and value[0] == 0:
        return "Avro with a schema id"
    return "text" if _is_text(value[:256]) else None


def frame_in_envelope(frame: bytes, session_id: str) -> bytes:
    """Return the serialized TelemetryMessage with this serialized TelemetryFrame and session id.

    Copies the frame's bytes unchanged: a viewer receives the bytes that the collector sent.
    """
    session = session_id.encode()
    return b"".join(
        (
            _TELEMETRY_TAG,
            _varint(len(frame)),
            frame,
            _SESSION_ID_TAG,
            _varint(len(session)),
            session,
        )
    )


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
