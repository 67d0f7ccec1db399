"""A circuit is a loop: it ends where it began, looking the same way."""

from itertools import pairwise
from math import hypot

import pytest

from ingest.collectors.simulator.circuit import (
    CIRCUITS,
    Circuit,
    Straight,
    Turn,
    aldermoor_park,
    build,
    closing_error,
)


@pytest.fixture(params=sorted(CIRCUITS))
def circuit(request: pytest.FixtureRequest) -> Circuit:
    return CIRCUITS[request.param]()


def square(*turns: Turn) -> Circuit:
    pieces = [piece for turn in turns for piece in (Straight(100), turn)]
    return build(
        "Square",
        pieces,
        sectors=(0.5,),
        origin_m=(0, 0),
        heading_rad=0,
        hills=((1, 0),),
        altitude_m=10,
    )


def test_line_ends_where_it_began(circuit):
    gap_m, turned_rad = closing_error(circuit)

    assert gap_m < 0.001
    assert turned_rad < 1e-9
    assert circuit.y_m[-1] == pytest.approx(circuit.y_m[0])


def test_nodes_are_one_step_apart(circuit):
    """Chords are a little shorter than the arcs that they cut."""
    chords = [
        hypot(x1 - x0, z1 - z0)
        for (x0, x1), (z0, z1) in zip(pairwise(circuit.x_m), pairwise(circuit.z_m), strict=True)
    ]

    assert max(chords) <= circuit.step_m + 1e-9
    assert min(chords) > 0.995 * circuit.step_m
    assert circuit.step_m * circuit.nodes == pytest.approx(circuit.length_m)


def test_heading_is_the_integral_of_curvature(circuit):
    nodes = zip(pairwise(circuit.heading_rad), pairwise(circuit.curvature_per_m), strict=True)
    for (h0, h1), (k0, k1) in nodes:
        assert h1 - h0 == pytest.approx((k0 + k1) / 2 * circuit.step_m, abs=2e-3)


def test_heading_zero_looks_along_z_and_grows_to_the_right():
    right = square(Turn(30, 90), Turn(30, 90), Turn(30, 90), Turn(30, 90))

    assert right.z_m[5] > 9
    assert right.x_m[5] == pytest.approx(0)
    assert max(right.x_m) > 100
    assert min(right.x_m) > -1e-6


def test_curvature_has_no_steps(circuit):
    """A car cannot steer in no time."""
    assert max(abs(b - a) for a, b in pairwise(circuit.curvature_per_m)) < 0.008


def test_line_never_comes_near_itself(circuit):
    places = list(zip(circuit.x_m, circuit.z_m, strict=True))[:-1:5]
    apart = len(places) // 20
    for i, (x, z) in enumerate(places):
        for x2, z2 in places[i + apart : len(places) - apart + i]:
            assert hypot(x2 - x, z2 - z) > 25


def test_three_sectors_tile_the_lap(circuit):
    sectors = [circuit.sector(node) for node in range(circuit.nodes)]

    assert sectors == sorted(sectors)
    assert set(sectors) == {1, 2, 3}
    assert sectors[circuit.sector_starts[1]] == 2
    assert sectors[circuit.sector_starts[1] - 1] == 1


def test_default_circuit_is_about_four_kilometres():
    assert aldermoor_park().length_m == pytest.approx(4100, abs=150)


def test_turns_must_make_a_full_circle():
    with pytest.raises(ValueError, match="add up to 360 degrees, not 270"):
        square(Turn(30, 90), Turn(30, 90), Turn(30, 90))


def test_straight_that_would_vanish_is_refused():
    with pytest.raises(ValueError, match="would change a straight of 100 m by"):
        square(Turn(30, 90), Turn(300, 90), Turn(30, 90), Turn(30, 90))
