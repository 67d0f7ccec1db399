"""Axes per game, held against what the games themselves told: numbers read from captured pages of
real sessions.
"""

from math import cos, hypot, pi, sin

import numpy as np
import pytest

from analytics.comparison.trace import Axis, Trace
from analytics.comparison.track_map import track_map
from analytics.model.axes import AXES, UNKNOWN, axes_of
from ingest.collectors.simulator.circuit import CIRCUITS
from ingest.collectors.simulator.frames import GAME

# Of each game's physics page: heading in rad; where the car looks, in x and z; and the way from the
# front left to the front right tyre's contact point, in m. ACC: Spa at 165.9 km/h, forward is its
# velocity. Assetto Corsa: Imola, standing, forward is the way from the rear left to the front left
# tyre.
PAGES = {
    "Assetto Corsa Competizione": (2.580050, (-24.474802, -38.985149), (1.485229, -0.935242)),
    "Assetto Corsa": (0.369289, (-0.825623, 2.138529), (-1.307678, -0.505611)),
}


@pytest.mark.parametrize("game", PAGES)
def test_a_car_looks_where_the_table_states(game: str) -> None:
    heading, (x, z), _ = PAGES[game]
    axes = AXES[game]

    assert (axes.sin * sin(heading), axes.cos * cos(heading)) == pytest.approx(
        (x / hypot(x, z), z / hypot(x, z)), abs=0.02
    )


@pytest.mark.parametrize("game", PAGES)
def test_right_of_the_car_is_right_on_the_map(game: str) -> None:
    """With z upwards, as every game was drawn until 622aa62, the right front tyre would be on the
    left of the car.
    """
    _, (x, z), (right_x, right_z) = PAGES[game]
    up = AXES[game].z

    assert x * up * right_z - up * z * right_x < 0


@pytest.mark.parametrize("game", AXES)
def test_heading_grows_as_the_table_implies(game: str) -> None:
    axes = AXES[game]
    before, after = ((axes.sin * sin(h), axes.z * axes.cos * cos(h)) for h in (0.3, 0.4))

    assert (before[0] * after[1] - before[1] * after[0] < 0) == axes.heading_grows_right


@pytest.mark.parametrize("name", CIRCUITS)
def test_simulator_is_as_it_declares(name: str) -> None:
    axes, circuit = AXES[GAME], CIRCUITS[name]()
    for i in range(0, len(circuit.x_m) - 1, 50):
        dx, dz = circuit.x_m[i + 1] - circuit.x_m[i], circuit.z_m[i + 1] - circuit.z_m[i]
        heading = (circuit.heading_rad[i] + circuit.heading_rad[i + 1]) / 2
        assert (axes.sin * sin(heading), axes.cos * cos(heading)) == pytest.approx(
            (dx / hypot(dx, dz), dz / hypot(dx, dz)), abs=1e-3
        )


def right_hander(z: int, *, steering: float = 0.3) -> Trace:
    """A quarter of a circle to the right on a map."""
    axis = Axis(100.0)
    angle = axis.share * pi / 2
    bend = np.sin(axis.share * pi) * steering
    x_m, north_m = np.cumsum(np.sin(angle**2)), np.cumsum(np.cos(angle**2))
    channels = {"x_m": x_m, "z_m": z * north_m, "steering": bend}
    return Trace(axis, axis.share * 10, channels, 0.0, 1.0)


@pytest.mark.parametrize("z", [1, -1])
def test_unknown_game_is_mapped_by_its_steering(z: int) -> None:
    seen = track_map([right_hander(z)])

    assert seen.y_m[-1] > seen.y_m[0], "north, as it was driven"
    assert seen.x_m[-1] > seen.x_m[0]


def test_unknown_game_that_does_not_steer_is_drawn_as_it_comes() -> None:
    lap = right_hander(-1, steering=0.0)

    assert track_map([lap]).y_m.tolist() == lap["z_m"].tolist()
    assert axes_of("rFactor 9") is UNKNOWN
