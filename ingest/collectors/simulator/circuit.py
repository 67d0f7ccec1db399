"""Builds circuits: one closed racing line through the world, with the places of its corners,
sectors and pit lane.

An author describes a circuit as straights and corners. A corner eases in and out of its radius, so
that curvature has no steps. Lengths of straights are only wishes: `build` stretches them, by least
squares, until the line meets its own start. The turning must add up to a full circle. The line is
the one that the car drives, not the middle of the road. The module knows no car and no time.

The axes are those of most games: y is up, heading 0 looks along +z and grows to the right. Positive
curvature is a right-hander.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, pairwise
from math import cos, hypot, pi, radians, sin, tau

NODE_SPACING_M = 2.0
_SHORTEST_STRAIGHT_M = 15.0


@dataclass(frozen=True, slots=True)
class Straight:
    """A straight of a wished length; `build` may stretch it."""

    length_m: float


@dataclass(frozen=True, slots=True)
class Turn:
    """A corner: its tightest radius and the heading it takes, right positive.

    ``easing`` is the share of the turning that happens while the radius tightens or opens; 1 leaves
    no constant part.
    """

    radius_m: float
    degrees: float
    easing: float = 0.8

    @property
    def easing_length_m(self) -> float:
        """Return the length of the easing at one end, in m."""
        return self.easing * abs(radians(self.degrees)) * self.radius_m

    @property
    def length_m(self) -> float:
        """Return the length of the corner with its easings, in m."""
        return (1 + self.easing) * abs(radians(self.degrees)) * self.radius_m

    @property
    def curvature_per_m(self) -> float:
        """Return the curvature, in 1/m; positive to the right."""
        return (1 if self.degrees > 0 else -1) / self.radius_m


Piece = Straight | Turn


@dataclass(frozen=True, slots=True)
class CircuitCorner:
    """A turn in nodes: ``[start, end]``, tightest around ``apex``."""

    start: int
    apex: int
    end: int


@dataclass(frozen=True, slots=True)
class PitLane:
    """The way out of the pits, in nodes: box, end of the limit, and junction with the line."""

    box: int
    exit: int
    joined: int
    offset_m: float


@dataclass(frozen=True, slots=True)
class Circuit:
    """A closed line of ``nodes`` equal steps.

    Each list has one entry per node and, for node 0 driven again, one more.
    """

    name: str
    length_m: float
    step_m: float
    curvature_per_m: tuple[float, ...]
    heading_rad: tuple[float, ...]
    x_m: tuple[float, ...]
    y_m: tuple[float, ...]
    z_m: tuple[float, ...]
    corners: tuple[CircuitCorner, ...]
    sector_starts: tuple[int, ...]
    pit: PitLane

    @property
    def nodes(self) -> int:
        """Return the number of steps."""
        return len(self.x_m) - 1

    def sector(self, node: int) -> int:
        """Return the sector, from 1, that the step after ``node`` lies in."""
        return bisect_right(self.sector_starts, node)


def build(
    name: str,
    pieces: Sequence[Piece],
    *,
    sectors: Sequence[float],
    origin_m: tuple[float, float],
    heading_rad: float,
    hills: Sequence[tuple[float, float]],
    altitude_m: float,
) -> Circuit:
    """Close the line and divide it into nodes.

    ``sectors`` are the shares of the lap at which sectors 2, 3 ... begin. ``hills`` are height in
    metres and phase of one, two, three ... waves per lap. Raises ValueError where the turning is
    not a full circle, or a straight would vanish.
    """
    closed = _closed(pieces, heading_rad)
    bends = _Bends(closed, heading_rad)
    count = round(bends.length_m / NODE_SPACING_M)
    step = bends.length_m / count
    x, z = _walk(bends.heading, origin_m, step, count)
    places = [i * step for i in range(count + 1)]
    corners = tuple(_corners(closed, step))
    return Circuit(
        name=name,
        length_m=bends.length_m,
        step_m=step,
        curvature_per_m=tuple(bends.curvature(s) for s in places),
        heading_rad=tuple(bends.heading(s) for s in places),
        x_m=x,
        y_m=tuple(altitude_m + _height(s / bends.length_m, hills) for s in places),
        z_m=z,
        corners=corners,
        sector_starts=(0, *(round(share * count) for share in sectors)),
        pit=_pit_lane(corners[0].start, inside=1 if bends.headings[-1] > heading_rad else -1),
    )


class _Bends:
    """Curvature as straight lines between knots, and heading as its exact integral."""

    def __init__(self, pieces: Sequence[Piece], heading_rad: float) -> None:
        knots = [(0.0, 0.0), *_knots(pieces)]
        self.places = [place for place, _ in knots]
        self.curvatures = [curvature for _, curvature in knots]
        turned = ((s1 - s0) * (k0 + k1) / 2 for (s0, k0), (s1, k1) in pairwise(knots))
        self.headings = list(accumulate(turned, initial=heading_rad))
        self.length_m = self.places[-1]

    def _find(self, place_m: float) -> tuple[int, float, float]:
        i = min(bisect_right(self.places, place_m), len(self.places) - 1) - 1
        run = self.places[i + 1] - self.places[i]
        slope = (self.curvatures[i + 1] - self.curvatures[i]) / run
        return i, place_m - self.places[i], slope

    def curvature(self, place_m: float) -> float:
        i, ahead, slope = self._find(place_m)
        return self.curvatures[i] + slope * ahead

    def heading(self, place_m: float) -> float:
        i, ahead, slope = self._find(place_m)
        return self.headings[i] + ahead * (self.curvatures[i] + slope * ahead / 2)


def _knots(pieces: Sequence[Piece]) -> Iterator[tuple[float, float]]:
    place = 0.0
    for piece in pieces:
        end = place + piece.length_m
        if isinstance(piece, Turn):
            yield place + piece.easing_length_m, piece.curvature_per_m
            if piece.easing < 1:
                yield end - piece.easing_length_m, piece.curvature_per_m
        yield end, 0.0
        place = end


def _walk(
    heading: Callable[[float], float], origin_m: tuple[float, float], step_m: float, count: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return world x and z of ``count`` steps, by a two-point Gauss rule whose error over a lap is
    micrometres.
    """
    low, high = step_m * (0.5 - 0.5 / 3**0.5), step_m * (0.5 + 0.5 / 3**0.5)
    pairs = [(heading(i * step_m + low), heading(i * step_m + high)) for i in range(count)]
    x = accumulate((step_m * (sin(a) + sin(b)) / 2 for a, b in pairs), initial=origin_m[0])
    z = accumulate((step_m * (cos(a) + cos(b)) / 2 for a, b in pairs), initial=origin_m[1])
    return tuple(x), tuple(z)


def _closed(pieces: Sequence[Piece], heading_rad: float) -> list[Piece]:
    """Return the pieces with straights stretched so that the line ends at its start."""
    turning = sum(piece.degrees for piece in pieces if isinstance(piece, Turn))
    if abs(abs(turning) - 360) > 1e-9:
        raise ValueError(f"the turns of a circuit add up to 360 degrees, not {turning:g}")
    missing_x, missing_z = _overshoot(pieces, heading_rad)
    directions = _directions(pieces, heading_rad)
    # Long straights give way more: the weight of each is its own length.
    weighted = [
        (p.length_m, d) for p, d in zip(pieces, directions, strict=True) if isinstance(p, Straight)
    ]
    xx = sum(w * sin(d) ** 2 for w, d in weighted)
    xz = sum(w * sin(d) * cos(d) for w, d in weighted)
    zz = sum(w * cos(d) ** 2 for w, d in weighted)
    determinant = xx * zz - xz * xz
    along_x = (zz * missing_x - xz * missing_z) / determinant
    along_z = (xx * missing_z - xz * missing_x) / determinant
    return [
        (
            _stretched(p, p.length_m * (sin(d) * along_x + cos(d) * along_z))
            if isinstance(p, Straight)
            else p
        )
        for p, d in zip(pieces, directions, strict=True)
    ]


def _overshoot(pieces: Sequence[Piece], heading_rad: float) -> tuple[float, float]:
    """Return the distance in x and z that the straights must still travel for the line to close."""
    bends = _Bends(pieces, heading_rad)
    count = round(bends.length_m / 0.5)
    x, z = _walk(bends.heading, (0.0, 0.0), bends.length_m / count, count)
    return -x[-1], -z[-1]


def _directions(pieces: Sequence[Piece], heading_rad: float) -> list[float]:
    turned = (radians(piece.degrees) if isinstance(piece, Turn) else 0.0 for piece in pieces)
    return list(accumulate(turned, initial=heading_rad))[:-1]


def _stretched(straight: Straight, by_m: float) -> Straight:
    if straight.length_m + by_m < _SHORTEST_STRAIGHT_M:
        raise ValueError(
            f"closing the circuit would change a straight of {straight.length_m:g} m by"
            f" {by_m:.0f} m"
        )
    return Straight(straight.length_m + by_m)


def _corners(pieces: Sequence[Piece], step_m: float) -> Iterator[CircuitCorner]:
    ends = list(accumulate((piece.length_m for piece in pieces), initial=0.0))
    for piece, start, end in zip(pieces, ends, ends[1:], strict=False):
        if isinstance(piece, Turn):
            yield CircuitCorner(
                round(start / step_m), round((start + end) / 2 / step_m), round(end / step_m)
            )


def _pit_lane(first_corner: int, *, inside: int) -> PitLane:
    """Place the pit lane beside the straight after the line, on the inside; it merges before the
    first corner.
    """
    return PitLane(
        box=round(0.2 * first_corner),
        exit=round(0.6 * first_corner),
        joined=round(0.95 * first_corner),
        offset_m=13.0 * inside,
    )


def _height(share: float, hills: Sequence[tuple[float, float]]) -> float:
    return sum(
        height * sin(tau * waves * share + phase)
        for waves, (height, phase) in enumerate(hills, start=1)
    )


def closing_error(circuit: Circuit) -> tuple[float, float]:
    """Return the metres and radians by which the line's end misses its start."""
    turned = abs(circuit.heading_rad[-1] - circuit.heading_rad[0])
    gap = hypot(circuit.x_m[-1] - circuit.x_m[0], circuit.z_m[-1] - circuit.z_m[0])
    return gap, abs(turned - 2 * pi)


@cache
def aldermoor_park() -> Circuit:
    """Build the default circuit: two long straights, a hairpin, a chicane and fast sweepers. It is
    fictional.
    """
    return build(
        "Aldermoor Park",
        [
            Straight(330),
            Turn(42, 95),
            Straight(110),
            Turn(125, -50),
            Straight(180),
            Turn(20, 165),
            Straight(520),
            Turn(80, -70),
            Straight(140),
            Turn(30, 65),
            Straight(30),
            Turn(30, -65),
            Straight(160),
            Turn(170, 90),
            Straight(90),
            Turn(95, -60),
            Straight(120),
            Turn(55, 120),
            Straight(150),
            Turn(150, 70),
            Straight(360),
        ],
        sectors=(0.33, 0.68),
        origin_m=(312.0, -148.0),
        heading_rad=0.62,
        hills=((7.0, 0.4), (3.0, 2.1), (1.2, 4.0)),
        altitude_m=86.0,
    )


@cache
def val_sarine() -> Circuit:
    """Build a short and twisty circuit, driven the other way round: most of its corners are
    left-handers.
    """
    return build(
        "Val Sarine",
        [
            Straight(330),
            Turn(32, -110),
            Straight(200),
            Turn(60, 70),
            Straight(90),
            Turn(75, -60),
            Straight(310),
            Turn(19, -170),
            Straight(240),
            Turn(110, 55),
            Straight(130),
            Turn(45, 80),
            Straight(120),
            Turn(60, -115),
            Straight(200),
            Turn(90, -110),
            Straight(330),
        ],
        sectors=(0.3, 0.65),
        origin_m=(-540.0, 77.0),
        heading_rad=-1.9,
        hills=((14.0, 1.9), (5.0, 0.2)),
        altitude_m=731.0,
    )


#: The circuits by the name that a user types.
CIRCUITS: dict[str, Callable[[], Circuit]] = {"aldermoor": aldermoor_park, "sarine": val_sarine}
