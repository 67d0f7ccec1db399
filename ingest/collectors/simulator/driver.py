"""Models a driver: the distance to the car's limits, the spread, and the mistakes of each lap.

Everything is drawn from the seed and the lap's number alone. So the same seed always drives the
same session. A lap can also be planned before the lap in front of it is driven. The module knows no
speeds: it only gives each lap's demand on the car.
"""

from dataclasses import dataclass
from itertools import pairwise
from math import cos, exp, pi, tau
from random import Random

from ingest.collectors.simulator.circuit import Circuit
from ingest.collectors.simulator.speed_profile import MARGIN, Demand, smooth

_FREE_MPS = 95.0
_PIT_LIMIT_MPS = 50 / 3.6
_GIVEN_NAMES = (
    "Ada",
    "Bruno",
    "Chiara",
    "Dev",
    "Elin",
    "Farid",
    "Greta",
    "Hugo",
    "Ines",
    "Jonas",
    "Kaya",
    "Luca",
    "Mira",
)
_FAMILY_NAMES = (
    "Okafor",
    "Lindqvist",
    "Moretti",
    "Sato",
    "Brandt",
    "Ferreira",
    "Novak",
    "Dubois",
    "Haddad",
    "Kowal",
)


@dataclass(frozen=True, slots=True)
class SimulatedDriver:
    """A driver's shares of the car's limits, and the spread around them from corner to corner."""

    name: str
    grip: float
    braking: float
    spread: float
    release_mps3: float
    pickup_mps3: float
    moments_per_lap: float
    lifts_per_lap: float


@dataclass(frozen=True, slots=True)
class WideMoment:
    """A moment of running wide out of a corner, in nodes. Beyond the white line the lap does not
    count.
    """

    start: int
    end: int
    offset_m: float

    @property
    def leaves_track(self) -> bool:
        """Return whether the car is beyond the white line, so that the lap does not count."""
        return abs(self.offset_m) > 3.2


@dataclass(frozen=True, slots=True)
class Intent:
    """The demand of one lap on the car, and its path.

    Lists have an entry per step of the circuit.
    """

    demand: Demand
    offset_m: list[float]  # from the line, right positive
    tremor: list[float]  # of hands and feet, about -1..1
    moment: WideMoment | None

    @property
    def cut_at(self) -> int | None:
        """Return the node from which the lap no longer counts; None for a lap that counts."""
        if self.moment is None or not self.moment.leaves_track:
            return None
        return (self.moment.start + self.moment.end) // 2


def driver(seed: int) -> SimulatedDriver:
    """Draw the driver that a seed stands for."""
    draw = Random(f"driver {seed}")
    skill = draw.random()
    return SimulatedDriver(
        name=f"{draw.choice(_GIVEN_NAMES)} {draw.choice(_FAMILY_NAMES)}",
        grip=0.9 + 0.04 * skill,
        braking=0.84 + 0.1 * skill,
        spread=0.019 - 0.009 * skill,
        release_mps3=draw.uniform(13, 22),
        pickup_mps3=draw.uniform(7, 11),
        moments_per_lap=0.12 - 0.07 * skill,
        lifts_per_lap=0.15 - 0.1 * skill,
    )


def intend(circuit: Circuit, seed: int, lap_number: int) -> Intent:
    """Draw the intent of the driver of ``seed`` for a lap, counted from 1; the first leaves the
    pits on cold tyres.
    """
    person = driver(seed)
    draw = Random(f"driver {seed} lap {lap_number}")
    grip, braking = _commitment(circuit, person, draw)
    throttle = [1.0] * circuit.nodes
    limit = [_FREE_MPS] * circuit.nodes
    offset = _wander(circuit, draw)
    moment = None
    if lap_number == 1:
        _leave_pits(circuit, grip, braking, limit, offset)
    elif draw.random() < person.moments_per_lap:
        moment = _run_wide(circuit, draw, grip, throttle, offset)
    if draw.random() < person.lifts_per_lap:
        _lift(circuit, draw, throttle)
    demand = Demand(grip, braking, throttle, limit, person.release_mps3, person.pickup_mps3)
    return Intent(demand, offset, _noise(circuit, draw), moment)


def _commitment(
    circuit: Circuit, person: SimulatedDriver, draw: Random
) -> tuple[list[float], list[float]]:
    """Draw the shares of grip and braking, corner by corner, around the form of this lap as a
    whole.
    """
    form = draw.gauss(0, person.spread / 2.5)
    grip, braking = [], []
    for nodes in _segments(circuit):
        grip += [min(0.95, person.grip + form + draw.gauss(0, person.spread))] * nodes
        braking += [min(0.97, person.braking + draw.gauss(0, 3 * person.spread))] * nodes
    return grip, braking


def _segments(circuit: Circuit) -> list[int]:
    """Count the steps that belong to each corner: from halfway to the one before until halfway to
    the next.
    """
    corners = circuit.corners
    cuts = [0, *((a.end + b.start) // 2 for a, b in pairwise(corners)), circuit.nodes]
    return [b - a for a, b in pairwise(cuts)]


def _leave_pits(
    circuit: Circuit,
    grip: list[float],
    braking: list[float],
    limit: list[float],
    offset: list[float],
) -> None:
    pit = circuit.pit
    # Smoothing the profile lets the car anticipate by MARGIN nodes; a pit limiter does not.
    limit[: pit.exit + MARGIN] = [_PIT_LIMIT_MPS] * (pit.exit + MARGIN)
    for i in range(pit.joined):
        offset[i] += pit.offset_m * _fade((i - pit.exit) / (pit.joined - pit.exit))
    for i in range(circuit.nodes):
        cold = exp(-i * circuit.step_m / 2500)
        grip[i] *= 1 - 0.13 * cold
        braking[i] *= 1 - 0.2 * cold


def _run_wide(
    circuit: Circuit, draw: Random, grip: list[float], throttle: list[float], offset: list[float]
) -> WideMoment:
    corner = draw.choice(circuit.corners[:-1])
    outwards = -1 if circuit.curvature_per_m[corner.apex] > 0 else 1
    severity = draw.random()
    start, end = corner.apex, corner.end + round((40 + 60 * severity) / circuit.step_m)
    moment = WideMoment(start, end, offset_m=outwards * (1.8 + 2.4 * severity))
    for i in range(start, end):
        hump = (1 - cos(tau * (i - start) / (end - start))) / 2
        offset[i] += moment.offset_m * hump
        grip[i] *= 1 - (0.15 + 0.2 * severity) * hump
        throttle[i] *= 1 - (0.75 + 0.25 * severity) * hump
    return moment


def _lift(circuit: Circuit, draw: Random, throttle: list[float]) -> None:
    """Lift the throttle for a moment on the way out of a corner, as a driver in doubt does."""
    corner = draw.choice(circuit.corners[:-1])
    start = corner.end + round(draw.uniform(-10, 60) / circuit.step_m)
    end = start + round(draw.uniform(12, 30) / circuit.step_m)
    throttle[start:end] = [draw.uniform(0.0, 0.4)] * (end - start)


def _wander(circuit: Circuit, draw: Random) -> list[float]:
    """Draw the metres beside the line, because no driver repeats a line exactly.

    The offset changes slowly (over some 60 m), and is zero at the lap's ends, where laps join.
    """
    every = round(60 / circuit.step_m)
    stakes = [0.0, *(draw.gauss(0, 0.3) for _ in range(circuit.nodes // every - 1)), 0.0, 0.0]
    weights = [_fade(i / every) for i in range(every)]
    run = [a * weight + b * (1 - weight) for a, b in pairwise(stakes) for weight in weights]
    return run[: circuit.nodes]


def _noise(circuit: Circuit, draw: Random) -> list[float]:
    """Draw smooth noise of about unit size and 20 m reach, zero at the lap's ends."""
    rough = [draw.random() - 0.5 for _ in range(circuit.nodes)]
    edge = 20
    rough[:edge] = rough[-edge:] = [0.0] * edge
    return [4 * value for value in smooth([0.0] * MARGIN + rough + [0.0] * MARGIN)]


def _fade(share: float) -> float:
    """Return 1 before 0, 0 after 1, and a half cosine between."""
    return (1 + cos(pi * min(max(share, 0.0), 1.0))) / 2
