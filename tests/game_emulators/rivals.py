"""The other cars on the track. They drive round a circle as steadily as clocks: enough to be told
apart from the player.
"""

from math import cos, pi, sin, tau
from typing import NamedTuple

from tests.game_emulators.drive import SECTORS


class Rival(NamedTuple):
    car: int
    name: str
    laps: int
    clock_ms: int
    lap_ms: int  # of every lap
    position: float
    kmh: int
    x_m: float
    z_m: float
    yaw_rad: float

    @property
    def splits_ms(self) -> tuple[int, ...]:
        first = self.lap_ms // SECTORS
        return (first,) * (SECTORS - 1) + (self.lap_ms - first * (SECTORS - 1),)


def rivals(cars: int, *, player: int, track_length_m: float, driven_s: float) -> list[Rival]:
    """All cars but the player's, ``driven_s`` after the session began."""
    return [_rival(car, track_length_m, driven_s) for car in range(cars) if car != player]


def _rival(car: int, track_length_m: float, driven_s: float) -> Rival:
    lap_ms = 95_000 + 700 * car
    laps, clock_ms = divmod(int(driven_s * 1000), lap_ms)
    position = clock_ms / lap_ms
    radius_m, angle = track_length_m / tau, tau * position
    return Rival(
        car,
        f"Rival {car}",
        laps,
        clock_ms,
        lap_ms,
        position,
        round(track_length_m / lap_ms * 3600),
        radius_m * cos(angle),
        radius_m * sin(angle),
        (angle + pi) % tau - pi,
    )
