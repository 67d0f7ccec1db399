"""The messages of Competizione's broadcasting protocol, version 4: what the game sends, and what it
understands.

One message a datagram, packed without gaps; a text is its length in bytes and then UTF-8, or what
the game takes for it.
"""

import struct
from collections.abc import Sequence
from typing import NamedTuple

PROTOCOL_VERSION = 4
NONE_MS = 2**31 - 1

REGISTER, UNREGISTER, REQUEST_ENTRY_LIST, REQUEST_TRACK_DATA = 1, 9, 10, 11
GREEN_FLAG, SESSION_OVER, LAP_COMPLETED, BEST_SESSION_LAP, BEST_PERSONAL_LAP = 1, 2, 5, 6, 7


class Lap(NamedTuple):
    """As other messages hold it."""

    time_ms: int
    car: int
    driver: int = 0
    splits_ms: Sequence[int] = ()
    invalid: int = 0
    valid_for_best: int = 1
    outlap: int = 0
    inlap: int = 0

    def encode(self) -> bytes:
        count = len(self.splits_ms)
        head = struct.pack(
            f"<iHHB{count}i", self.time_ms, self.car, self.driver, count, *self.splits_ms
        )
        return head + bytes([self.invalid, self.valid_for_best, self.outlap, self.inlap])


class Replay(NamedTuple):
    """Only there while one is shown."""

    session_time_ms: float
    remaining_ms: float


class Update(NamedTuple):
    """The session's state."""

    event: int
    session: int
    session_type: int
    phase: int
    session_time_ms: float
    remaining_ms: float
    focused_car: int
    camera_set: str
    camera: str
    hud_page: str
    replay: Replay | None
    time_of_day_s: float
    ambient_celsius: int
    track_celsius: int
    clouds: int
    rain: int
    wetness: int
    best_lap: Lap

    def encode(self) -> bytes:
        replay = b"\0" if self.replay is None else b"\1" + struct.pack("<2f", *self.replay)
        texts = b"".join(map(text, (self.camera_set, self.camera, self.hud_page)))
        return b"".join(
            (
                struct.pack("<BHHBBffi", 2, *self[:7]),
                texts,
                replay,
                struct.pack("<f5B", *self[11:17]),
                self.best_lap.encode(),
            )
        )


class CarUpdate(NamedTuple):
    """One car."""

    car: int
    driver: int
    driver_count: int
    gear: int  # 0 reverse, 1 neutral, 2 first
    x_m: float
    z_m: float
    yaw_rad: float
    location: int  # 1 track, 2 pit lane, 3 pit entry, 4 pit exit
    kmh: int
    position: int
    cup_position: int
    track_position: int
    spline_position: float
    laps: int
    delta_ms: int
    best_lap: Lap
    last_lap: Lap
    current_lap: Lap

    def encode(self) -> bytes:
        head = struct.pack("<BHHBBfffBHHHHfHi", 3, *self[:15])
        return head + self.best_lap.encode() + self.last_lap.encode() + self.current_lap.encode()


class Driver(NamedTuple):
    first: str | bytes
    last: str | bytes
    short: str | bytes
    category: int = 0
    nationality: int = 0


class EntryListCar(NamedTuple):
    """Who drives one car."""

    car: int
    model: int
    team: str
    race_number: int
    cup: int
    current_driver: int
    nationality: int
    drivers: Sequence[Driver]

    def encode(self) -> bytes:
        head = struct.pack("<BHB", 6, self.car, self.model) + text(self.team)
        who = struct.pack(
            "<iBBHB",
            self.race_number,
            self.cup,
            self.current_driver,
            self.nationality,
            len(self.drivers),
        )
        return head + who + b"".join(map(_driver, self.drivers))


class TrackData(NamedTuple):
    """``camera_sets`` are names, and the cameras of each."""

    connection: int
    name: str
    track: int
    length_m: int
    camera_sets: Sequence[tuple[str, Sequence[str]]]
    hud_pages: Sequence[str]

    def encode(self) -> bytes:
        head = (
            struct.pack("<Bi", 5, self.connection)
            + text(self.name)
            + struct.pack("<ii", self.track, self.length_m)
        )
        sets = b"".join(text(name) + _texts(cameras) for name, cameras in self.camera_sets)
        return head + bytes([len(self.camera_sets)]) + sets + _texts(self.hud_pages)


def registration_result(connection: int, *, success: bool, commands: bool, error: str) -> bytes:
    return struct.pack("<BiBB", 1, connection, success, commands) + text(error)


def entry_list(connection: int, cars: Sequence[int]) -> bytes:
    return struct.pack(f"<BiH{len(cars)}H", 4, connection, len(cars), *cars)


def event(kind: int, message: str, *, time_ms: int, car: int) -> bytes:
    return struct.pack("<BB", 7, kind) + text(message) + struct.pack("<ii", time_ms, car)


class Registration(NamedTuple):
    """What a client says of itself."""

    version: int
    name: str
    password: str
    interval_ms: int
    command_password: str


class Malformed(ValueError):
    """A datagram that the game would not survive, or not understand."""


def read_registration(datagram: bytes) -> Registration:
    """Raises Malformed."""
    name, at = _read_text(datagram, 2)
    password, at = _read_text(datagram, at)
    if len(datagram) < at + 4:
        raise Malformed(f"a registration ends after {len(datagram)} bytes")
    (interval_ms,) = struct.unpack_from("<i", datagram, at)
    command_password, at = _read_text(datagram, at + 4)
    if at != len(datagram):
        raise Malformed(f"a registration of {at} bytes has {len(datagram)}")
    return Registration(datagram[1], name, password, interval_ms, command_password)


def read_connection(datagram: bytes) -> int | None:
    """The connection that a request of five bytes names."""
    return int.from_bytes(datagram[1:], "little", signed=True) if len(datagram) == 5 else None


def text(value: str | bytes) -> bytes:
    data = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<H", len(data)) + data


def _texts(values: Sequence[str]) -> bytes:
    return bytes([len(values)]) + b"".join(map(text, values))


def _driver(one: Driver) -> bytes:
    return b"".join(map(text, one[:3])) + struct.pack("<BH", one.category, one.nationality)


def _read_text(datagram: bytes, at: int) -> tuple[str, int]:
    if len(datagram) < at + 2:
        raise Malformed(f"a text should begin at byte {at} of {len(datagram)}")
    (length,) = struct.unpack_from("<H", datagram, at)
    end = at + 2 + length
    if end > len(datagram):
        raise Malformed(f"a text of {length} bytes at byte {at} of {len(datagram)}")
    return datagram[at + 2 : end].decode(errors="replace"), end
