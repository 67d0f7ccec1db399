"""Encodes and parses the messages of ACC's broadcasting protocol, version 4. Pure.

A datagram holds one message, and its first byte is the kind. Fields are packed, little endian. A
string is its length in bytes, followed by UTF-8. A message that ends too early is refused as a
whole. The bytes after its end are not parsed: a later version may send more.
"""

from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct
from typing import Any

from ingest.collectors.games.acc.broadcast_messages import (
    BroadcastDriver,
    CarUpdate,
    EntryList,
    EntryListCar,
    Event,
    LapTimes,
    Message,
    RegistrationResult,
    SessionUpdate,
    TrackData,
)

PROTOCOL_VERSION = 4
_REGISTER, _UNREGISTER, _REQUEST_ENTRY_LIST, _REQUEST_TRACK_DATA = 1, 9, 10, 11
_U16, _I32 = Struct("<H"), Struct("<i")
_SESSION = Struct("<HHBBffi")
# Some clients read integers here. They have the same width, and no code uses them.
_REPLAY_TIMES = Struct("<ff")
_WEATHER = Struct("<f5B")
_CAR = Struct("<HHBBfffBHHHHfHi")
_LAP, _LAP_FLAGS = Struct("<iHHB"), Struct("<4B")
_RESULT = Struct("<iBB")
_CAR_ENTRY, _CAR_CREW = Struct("<HB"), Struct("<iBBHB")
_DRIVER = Struct("<BH")
_TWO_NUMBERS = Struct("<ii")


class InvalidBroadcast(ValueError):
    """Error for a datagram that is not a message of this protocol.

    Its text has no numbers, so that it can be counted.
    """


def register(display_name: str, password: str, interval_ms: int) -> bytes:
    """Return the registration for updates every ``interval_ms``. It has no command password:
    nothing is commanded.

    Raises ValueError for a text that is too long: a malformed registration has crashed the game.
    """
    head = bytes([_REGISTER, PROTOCOL_VERSION])
    return head + _text(display_name) + _text(password) + _I32.pack(interval_ms) + _text("")


def unregister(connection_id: int) -> bytes:
    """Return the message that ends a registration."""
    return bytes([_UNREGISTER]) + _I32.pack(connection_id)


def request_entry_list(connection_id: int) -> bytes:
    """Return the request for the list of cars."""
    return bytes([_REQUEST_ENTRY_LIST]) + _I32.pack(connection_id)


def request_track_data(connection_id: int) -> bytes:
    """Return the request for the track data."""
    return bytes([_REQUEST_TRACK_DATA]) + _I32.pack(connection_id)


def parse(datagram: bytes) -> tuple[Message, bytes]:
    """Return the message, and the bytes after its end. Raises InvalidBroadcast."""
    if not datagram:
        raise InvalidBroadcast("empty datagram")
    parts = _PARSERS.get(datagram[0])
    if parts is None:
        raise InvalidBroadcast("message of an unknown kind")
    kind, read = parts
    unread = _Unread(datagram, 1, kind)
    message = read(unread)
    return message, datagram[unread.at :]


def _text(text: str) -> bytes:
    raw = text.encode()
    if len(raw) > 0xFFFF:
        raise ValueError(f"text must have at most 65535 bytes, not {len(raw)}")
    return _U16.pack(len(raw)) + raw


@dataclass(slots=True)
class _Unread:
    """The unread rest of a datagram."""

    datagram: bytes
    at: int
    kind: str

    def take(self, fields: Struct) -> tuple[Any, ...]:
        start = self._past(fields.size)
        return fields.unpack_from(self.datagram, start)

    def u8(self) -> int:
        return self.datagram[self._past(1)]

    def u16(self) -> int:
        return int.from_bytes(self.datagram[self._past(2) : self.at], "little")

    def text(self) -> str:
        length = self.u16()
        start = self._past(length)
        # The game cuts names in the middle of a character.
        return self.datagram[start : self.at].decode(errors="replace")

    def _past(self, size: int) -> int:
        start = self.at
        if start + size > len(self.datagram):
            raise InvalidBroadcast(f"{self.kind} truncated")
        self.at += size
        return start


def _result(unread: _Unread) -> RegistrationResult:
    connection_id, success, rights = unread.take(_RESULT)
    # Libraries call the last byte "read only", which inverts its meaning.
    # The value 0 came with the words "readonly access granted".
    return RegistrationResult(connection_id, success > 0, rights > 0, unread.text())


def _session(unread: _Unread) -> SessionUpdate:
    event, session, kind, phase, session_ms, remaining_ms, focused = unread.take(_SESSION)
    for _ in ("camera set", "camera", "HUD page"):
        unread.text()
    replay_plays = unread.u8() > 0
    if replay_plays:
        unread.take(_REPLAY_TIMES)
    unread.take(_WEATHER)
    best_lap = _lap(unread)
    return SessionUpdate(
        event, session, kind, phase, session_ms, remaining_ms, focused, replay_plays, best_lap
    )


def _car(unread: _Unread) -> CarUpdate:
    car, driver, drivers, gear, x_m, z_m, yaw, location, kmh, *_, spline, laps, _delta = (
        unread.take(_CAR)
    )
    return CarUpdate(
        car,
        driver,
        drivers,
        gear,
        x_m,
        z_m,
        yaw,
        location,
        kmh,
        spline,
        laps,
        best_lap=_lap(unread),
        last_lap=_lap(unread),
        current_lap=_lap(unread),
    )


def _lap(unread: _Unread) -> LapTimes:
    lap_time_ms, car, driver, splits = unread.take(_LAP)
    splits_ms = tuple(unread.take(_I32)[0] for _ in range(splits))
    invalid, for_best, out_lap, in_lap = unread.take(_LAP_FLAGS)
    return LapTimes(
        lap_time_ms, car, driver, splits_ms, invalid > 0, for_best > 0, out_lap > 0, in_lap > 0
    )


def _entry_list(unread: _Unread) -> EntryList:
    (connection_id,) = unread.take(_I32)
    return EntryList(connection_id, tuple(unread.u16() for _ in range(unread.u16())))


def _entry_list_car(unread: _Unread) -> EntryListCar:
    car, model = unread.take(_CAR_ENTRY)
    team = unread.text()
    race_number, _cup, driver, _nationality, drivers = unread.take(_CAR_CREW)
    return EntryListCar(
        car, model, team, race_number, driver, tuple(_driver(unread) for _ in range(drivers))
    )


def _driver(unread: _Unread) -> BroadcastDriver:
    driver = BroadcastDriver(unread.text(), unread.text(), unread.text())
    unread.take(_DRIVER)
    return driver


def _track(unread: _Unread) -> TrackData:
    (connection_id,) = unread.take(_I32)
    name = unread.text()
    track_id, length_m = unread.take(_TWO_NUMBERS)
    for _ in range(unread.u8()):  # camera sets
        unread.text()
        for _ in range(unread.u8()):
            unread.text()
    for _ in range(unread.u8()):  # HUD pages
        unread.text()
    return TrackData(connection_id, name, track_id, length_m)


def _event(unread: _Unread) -> Event:
    kind, text = unread.u8(), unread.text()
    session_ms, car = unread.take(_TWO_NUMBERS)
    return Event(kind, text, session_ms, car)


_PARSERS: dict[int, tuple[str, Callable[[_Unread], Message]]] = {
    1: ("registration result", _result),
    2: ("session update", _session),
    3: ("car update", _car),
    4: ("entry list", _entry_list),
    5: ("track data", _track),
    6: ("entry list car", _entry_list_car),
    7: ("event", _event),
}
