"""Reads the fields of ACC's pages that frames and session facts need: shared memory version 1.9,
ACC 1.8 to 1.10.

Numbers are little endian, four bytes wide, on multiples of four; strings are UTF-16. Values are not
checked here: odd bytes in a page result in odd numbers. Nothing raises as long as the page has its
size.
"""

from struct import Struct
from typing import NamedTuple

from ingest.collectors.games.shared_memory import Pages, PageSizes, wide_text

SIZES = PageSizes(physics=800, graphics=1588, static=820)
GAME = "Assetto Corsa Competizione"


def _fields(*fields: tuple[int, str]) -> Struct:
    """Return a struct that reads the fields at these offsets and skips the bytes between them."""
    format_, at = "<", 0
    for offset, code in fields:
        format_ += f"{offset - at}x{code}"
        at = offset + 4
    return Struct(format_)


class AccPhysics(NamedTuple):
    """The state of the car, from the physics page. The game writes it some 400 times a second."""

    packet_id: int
    throttle: float
    brake: float
    gear: int  # 0 reverse, 1 neutral, 2 first
    rpm: int
    steering: float
    speed_kmh: float
    heading_rad: float


_PHYSICS = _fields(
    (0, "i"), (4, "f"), (8, "f"), (16, "i"), (20, "i"), (24, "f"), (28, "f"), (208, "f")
)


class AccGraphics(NamedTuple):
    """The car's place in its session and lap, from the graphics page. The game writes it with each
    picture.
    """

    status: int
    session_type: int
    completed_laps: int
    lap_clock_ms: int
    last_lap_ms: int
    session_left_ms: float  # -1 where the session has no clock
    in_pit_box: int
    sector_index: int  # from 0
    normalized_position: float
    player_car_id: int
    in_pit_lane: int
    session_index: int
    lap_is_valid: int


_GRAPHICS = _fields(
    (4, "i"),
    (8, "i"),
    (132, "i"),
    (140, "i"),
    (144, "i"),
    (152, "f"),
    (160, "i"),
    (164, "i"),
    (248, "f"),
    (1216, "i"),
    (1236, "i"),
    (1320, "i"),
    (1408, "i"),
)
OFF, REPLAY, LIVE, PAUSE = range(4)

_SLOTS = 60
_CAR_IDS = Struct(f"<{_SLOTS}i")
_CAR_IDS_AT = 976
_PLACE = Struct("<3f")
_PLACES_AT = 256


class AccStatic(NamedTuple):
    """The facts that stay the same while a session runs, from the static page."""

    version: str
    car: str
    track: str
    driver: str
    sector_count: int
    configuration: str
    skin: str

    @property
    def is_acc(self) -> bool:
        """Return whether the page is ACC's. Assetto Corsa has its own pages under the same names,
        as version 1.7.

        The version that builds of ACC before 1.9 wrote is not known.
        ACC's placeholders in the fields that only AC uses are known.
        """
        if self.version in {"", "1.7"}:
            return False
        return self.version == "1.9" or self.configuration == "track config" or self.skin == "skin"


_SECTOR_COUNT = _fields((400, "i"))


def read_physics(pages: Pages) -> AccPhysics:
    """Return the fields of the physics page."""
    return AccPhysics._make(_PHYSICS.unpack_from(pages.physics))


def read_graphics(pages: Pages) -> AccGraphics:
    """Return the fields of the graphics page, except the places of the cars."""
    return AccGraphics._make(_GRAPHICS.unpack_from(pages.graphics))


def read_place(pages: Pages, car_id: int) -> tuple[float, float, float] | None:
    """Return world x, y (up) and z of that car in m. Return None where the page does not have the
    car.

    Unused slots are zero and come last: car 0 is found before them.
    """
    car_ids = _CAR_IDS.unpack_from(pages.graphics, _CAR_IDS_AT)
    if car_id not in car_ids:
        return None
    x_m, y_m, z_m = _PLACE.unpack_from(
        pages.graphics, _PLACES_AT + _PLACE.size * car_ids.index(car_id)
    )
    return x_m, y_m, z_m


def read_static(page: bytes) -> AccStatic:
    """Return the fields of the static page."""
    first, last = wide_text(page, 200, 33), wide_text(page, 266, 33)
    return AccStatic(
        version=wide_text(page, 0, 15),
        car=wide_text(page, 68, 33),
        track=wide_text(page, 134, 33),
        driver=f"{first} {last}".strip(),
        sector_count=_SECTOR_COUNT.unpack_from(page)[0],
        configuration=wide_text(page, 524, 33),
        skin=wide_text(page, 604, 33),
    )
