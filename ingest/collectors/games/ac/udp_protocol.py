"""Defines the requests of Assetto Corsa's remote telemetry, and parses its datagrams.

Pure and strict. The game's datagrams carry no type: the size identifies them, and other fixed
values are checked. Only the fields that a frame or a session needs are read. The rule to remember:
bytes that are not wholly valid raise `InvalidDatagram`.
"""

import struct
from typing import NamedTuple

#: identifier (not used by the game), version, operation.
_REQUEST = struct.Struct("<3i")
HANDSHAKE = _REQUEST.pack(1, 1, 0)
SUBSCRIBE_UPDATE = _REQUEST.pack(1, 1, 1)
SUBSCRIBE_SPOT = _REQUEST.pack(1, 1, 2)
UNSUBSCRIBE = _REQUEST.pack(1, 1, 3)

_ANSWER_IDENTIFIER, _VERSION = 4242, 1
_CAR_IDENTIFIER = b"a"
_ENDS = (ord("%"), 0)


class InvalidDatagram(ValueError):
    """Error for bytes that are not a datagram of this protocol.

    The text is a kind, without numbers, so that it can be counted.
    """

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(kind)
        self.kind, self.detail = kind, detail


class Answer(NamedTuple):
    """The game's answer to a handshake: the car, the driver and the track."""

    car: str
    driver: str
    track: str
    layout: str


class CarInfo(NamedTuple):
    """The player's car at one moment, in the game's own numbers."""

    speed_kmh: float
    in_pit: bool
    lap_time_ms: int
    last_lap_ms: int  # 0: none
    lap_count: int
    gas: float
    brake: float
    rpm: float
    steer_deg: float
    gear: int  # 0 reverse, 1 neutral, 2 first
    position: float
    x_m: float
    y_m: float
    z_m: float


class LapDone(NamedTuple):
    """A lap of any car in the session; ``lap`` counts from 0."""

    lap: int
    driver: str
    car: str
    time_ms: int


Message = Answer | CarInfo | LapDone

_CAR_SIZE = struct.Struct("<4xi")
_CAR = struct.Struct("<8xf12x?15x2i4xi2f4x2fi228xf4x3f")
_LAP = struct.Struct("<4xi200xi")
_TEXT = struct.Struct("<50H")
_ANSWER = struct.Struct("<200x2i200x")
_ANSWER_TEXTS = {"car": 0, "driver": 100, "track": 208, "layout": 308}  # and where each begins


def parse(datagram: bytes) -> Message:
    """Return the message in a datagram of the game. Raises InvalidDatagram."""
    match len(datagram):
        case _CAR.size:
            return _car(datagram)
        case _LAP.size:
            return _lap(datagram)
        case _ANSWER.size:
            return _answer(datagram)
        case size:
            raise InvalidDatagram("datagram of unknown size", f"{size} bytes")


def _car(datagram: bytes) -> CarInfo:
    # The bytes right after the identifier are padding, with no meaning.
    if datagram[:1] != _CAR_IDENTIFIER:
        raise InvalidDatagram("car without its identifier", datagram[:4].hex())
    if (size := _CAR_SIZE.unpack_from(datagram)[0]) != _CAR.size:
        raise InvalidDatagram("car of another size than it states", f"states {size}")
    return CarInfo(*_CAR.unpack(datagram))


def _lap(datagram: bytes) -> LapDone:
    lap, time_ms = _LAP.unpack(datagram)
    return LapDone(lap, _text(datagram, 8, "driver"), _text(datagram, 108, "car"), time_ms)


def _answer(datagram: bytes) -> Answer:
    identifier, version = _ANSWER.unpack(datagram)
    if identifier != _ANSWER_IDENTIFIER:
        raise InvalidDatagram(
            "answer without its identifier", f"{identifier}, not {_ANSWER_IDENTIFIER}"
        )
    if version != _VERSION:
        raise InvalidDatagram("protocol version not known", f"{version}, not {_VERSION}")
    answer = Answer(**{name: _text(datagram, at, name) for name, at in _ANSWER_TEXTS.items()})
    if not answer.car or not answer.track:
        raise InvalidDatagram("answer without a car or a track")
    return answer


def _text(datagram: bytes, offset: int, name: str) -> str:
    """Return the text in a field of 50 UTF-16 code units, up to its % or NUL.

    Stale content of the game's memory follows the end.
    """
    units = _TEXT.unpack_from(datagram, offset)
    end = next((i for i, unit in enumerate(units) if unit in _ENDS), None)
    if end is None:
        raise InvalidDatagram(f"{name} without end")
    return datagram[offset : offset + 2 * end].decode("utf-16-le", "replace")
