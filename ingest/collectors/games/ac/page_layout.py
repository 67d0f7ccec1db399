"""Parses the fields of Assetto Corsa's shared memory that frames and session facts need.

The pages begin like those of ACC and end differently.
An AC page read as ACC's is wrong from the middle of the graphics on.
Pure: the code that copies the pages makes sure that they are long enough and not torn.
A dump has proven the fields that are read.
"""

import struct
from typing import NamedTuple

from ingest.collectors.games.shared_memory import PageSizes, wide_text

#: Only this much of the physics page is certain; the two others are whole.
SIZES = PageSizes(physics=592, graphics=296, static=688)

#: Layout version in the static page; ACC's is "1.9". The game's own version, beside it, does not
#: distinguish the two.
AC_VERSION, ACC_VERSION = "1.7", "1.9"

OFF, REPLAY, LIVE, PAUSE = range(4)

_PHYSICS = struct.Struct("<i2f4x2i2f176xf")
_GRAPHICS = struct.Struct("<3i120xi4x2i12x2i80xf3f12xi16x")
_STATIC = struct.Struct("<400xi116xf164x")


class AcPhysics(NamedTuple):
    """Fields of the physics page, which the game writes 333 times a second."""

    packet: int
    gas: float
    brake: float
    gear: int  # 0 reverse, 1 neutral, 2 first
    rpm: int
    steer: float
    speed_kmh: float
    heading_rad: float


class AcGraphics(NamedTuple):
    """Fields of the graphics page, which the game writes with every picture."""

    packet: int
    status: int
    session: (
        int  # -1 unknown, 0 practice, 1 qualify, 2 race, 3 hotlap, 4 time attack, 5 drift, 6 drag
    )
    lap_count: int
    lap_time_ms: int
    last_lap_ms: int  # 0: none
    in_box: int  # 0: no
    sector: int  # from 0
    position: float
    x_m: float
    y_m: float
    z_m: float
    in_pit_lane: int


class AcStatic(NamedTuple):
    """Fields of the static page, which the game writes when it loads a session."""

    car: str
    track: str
    layout: str
    driver: str
    sector_count: int
    track_length_m: float


def parse_physics(page: bytes) -> AcPhysics:
    """Parse the bytes of the physics page."""
    return AcPhysics(*_PHYSICS.unpack_from(page))


def parse_graphics(page: bytes) -> AcGraphics:
    """Parse the bytes of the graphics page."""
    return AcGraphics(*_GRAPHICS.unpack_from(page))


def parse_static(page: bytes) -> AcStatic:
    """Parse the bytes of the static page."""
    sector_count, track_length_m = _STATIC.unpack_from(page)
    names = [wide_text(page, offset, 33) for offset in (200, 266)]
    return AcStatic(
        car=wide_text(page, 68, 33),
        track=wide_text(page, 134, 33),
        layout=wide_text(page, 524, 33),
        # First and last name; a driver without a name has "Player" twice.
        driver=" ".join(dict.fromkeys(name for name in names if name)),
        sector_count=sector_count,
        track_length_m=track_length_m,
    )
