"""Lists the limits of plausible values for each field of the wire.

A value outside its limits is unknown and counted; the frame that carries it is kept. The module is
plain Python: collectors on a game PC, the ingest, recordings and the live path all use it. Limits
are wide on purpose: a value that is merely unlikely is kept. Measured in the recorded sessions of
Assetto Corsa, Assetto Corsa Competizione and iRacing that the project uses for tests: speed 0 to
294 km/h, engine speed to 9,086 1/min, gear -1 to 6, steering -1 to 1, pedals 0 to 1, lap 1 to 17,
lap clock to 169,377 ms.
"""

from typing import NamedTuple


class Limits(NamedTuple):
    """The lowest and the highest plausible value, both included, and the source of the two."""

    least: float
    most: float
    source: str


_DAY_MS = 86_400_000
# Fractions are sums of powers of two: float32, float64 and decimal text hold the same number.
_PEDAL = Limits(
    -0.0625,
    1.0625,
    "0 to 1 in all recordings; calibrated pedals pass their ends by rounding and dead zones",
)
_WORLD = Limits(
    -1e6,
    1e6,
    "Assetto Corsa and ACC pages: within 2.1 km of the origin; open worlds are some 100 km wide",
)

LIMITS: dict[str, Limits] = {
    "lap_number": Limits(
        0, 100_000, "1 to 17 in recordings; 0 in a formation lap; games say -1 where there is none"
    ),
    "lap_time": Limits(
        0, _DAY_MS, "recordings: to 169,377 ms; the games' sentinels are -1, 2^31 - 1 and 2^32 - 1"
    ),
    "normalized_position": Limits(
        -0.015625, 1.015625, "0 to 1 in all recordings; a spline is left by rounding only"
    ),
    "speed": Limits(-200, 700, "recordings: to 294 km/h; reversing may be negative"),
    "throttle": _PEDAL,
    "brake": _PEDAL,
    "steering": Limits(
        -1.5, 1.5, "-1 to 1 in all recordings; a lock that the game understates is turned beyond"
    ),
    "rpm": Limits(
        0,
        50_000,
        "recordings: to 9,086; real ACC tells -62 to -3,092 of a stalled engine turned in gear",
    ),
    "x": _WORLD,
    "y": _WORLD,
    "z": _WORLD,
    "heading": Limits(-100, 100, "pages: -pi to pi; some games count turns on"),
    "last_lap_time": Limits(0, _DAY_MS, "as lap_time"),
    "gear": Limits(-1, 20, "-1 to 6 in recordings; lorries have 18"),
    "sector": Limits(0, 100, "1 to 3 in recordings; the Nordschleife has more"),
    "pit": Limits(0, 100, "values of the wire's enumeration, with room for later ones"),
    "validity": Limits(0, 100, "values of the wire's enumeration, with room for later ones"),
}


def is_plausible(field: str, value: float) -> bool:
    """Return whether a car can have sent the value. A NaN is not plausible."""
    least, most, _ = LIMITS[field]
    return least <= value <= most
