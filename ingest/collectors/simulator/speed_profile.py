"""Computes the speed profile of a car along a line, from the car's limits and its driver's demand.

It makes three passes over a stretch of equal steps. All work in v²/2 (energy per mass), where an
acceleration is a slope. The first pass gives the cornering limit of each node. The second goes
backwards from every slow place at the limit of the brakes. The third goes forwards at the limit of
traction and power. Grip that the tyres spend on turning is missing for braking and driving (the
friction circle). A driver releases the brake and opens the throttle at a finite rate. That rate
makes trail braking and the throttle's slope out of a corner.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate
from math import sqrt

from ingest.collectors.simulator.car import GRAVITY_MPS2, Car

_FASTEST_MPS = 95.0
_SPEEDS_PER_MPS = 4
BOX_HALF_WIDTH = 2
#: The number of nodes that `smooth` cuts off at each end.
MARGIN = 3 * BOX_HALF_WIDTH


@dataclass(frozen=True, slots=True)
class Demand:
    """A driver's demand on the car, node by node; 1 is the car's limit.

    ``grip`` covers all of the tyre. ``braking`` and ``throttle`` are shares of the limit that grip
    leaves. ``limit_mps`` is a speed limit independent of grip, such as a pit lane's.
    ``release_mps3`` is the rate at which the brake comes off, and ``pickup_mps3`` the rate at which
    the throttle goes on.
    """

    grip: Sequence[float]
    braking: Sequence[float]
    throttle: Sequence[float]
    limit_mps: Sequence[float]
    release_mps3: float
    pickup_mps3: float

    def joined(self, following: "Demand", *, start: int, ahead: int) -> "Demand":
        """Join the demand from node ``start`` on with ``ahead`` nodes of the ``following`` lap of
        the same driver.
        """
        return replace(
            self,
            grip=[*self.grip[start:], *following.grip[:ahead]],
            braking=[*self.braking[start:], *following.braking[:ahead]],
            throttle=[*self.throttle[start:], *following.throttle[:ahead]],
            limit_mps=[*self.limit_mps[start:], *following.limit_mps[:ahead]],
        )


def corner_energies(car: Car, curvature_per_m: Sequence[float], demand: Demand) -> list[float]:
    """Return v²/2 of each node at the limit of lateral grip, or at the demanded limit."""
    friction, downforce = car.lateral_friction, car.downforce_per_m
    ceilings = []
    for curvature, grip, limit in zip(curvature_per_m, demand.grip, demand.limit_mps, strict=True):
        held = grip * friction
        unheld = abs(curvature) - held * downforce
        top = limit * limit / 2
        ceilings.append(min(top, held * GRAVITY_MPS2 / unheld / 2) if unheld > 0 else top)
    return ceilings


def brake_backwards(
    car: Car,
    step_m: float,
    curvature_per_m: Sequence[float],
    demand: Demand,
    ceilings: Sequence[float],
) -> list[float]:
    """Return the ceilings, lowered so that the brakes can always reach the next one."""
    lateral, braking, rolling = car.lateral_friction, car.braking_friction, car.rolling_mps2
    drag, downforce = 2 * car.drag_per_m, 2 * car.downforce_per_m
    released = demand.release_mps3 * step_m
    energies = list(ceilings)
    energy, slowing = energies[-1], 0.0
    last = len(energies) - 2
    backwards = slice(last, None, -1)
    for i, curvature, grip, share in zip(
        range(last, -1, -1),
        curvature_per_m[backwards],
        demand.grip[backwards],
        demand.braking[backwards],
        strict=True,
    ):
        load = (GRAVITY_MPS2 + downforce * energy) * grip
        turning = 2 * energy * curvature / (lateral * load)
        left = 1 - turning * turning
        held = braking * load * (sqrt(left) if left > 0 else 0.0) + drag * energy + rolling
        hardest = min(held, car.hardest_braking_mps2) * share
        slowing = min(hardest, slowing + released / sqrt(2 * energy))
        reached = energy + slowing * step_m
        if reached > energies[i]:
            reached = energies[i]
            slowing = max(0.0, (reached - energy) / step_m)
        energies[i] = energy = reached
    return energies


def drive_forwards(
    car: Car,
    step_m: float,
    curvature_per_m: Sequence[float],
    demand: Demand,
    ceilings: Sequence[float],
    *,
    energy: float,
    gaining_mps2: float,
) -> tuple[list[float], list[float]]:
    """Return the energies as driven, and the accelerations.

    ``energy`` and the acceleration ``gaining_mps2`` are those at the first node.
    """
    lateral, traction, rolling = (
        car.lateral_friction,
        car.braking_friction * car.driven_share,
        car.rolling_mps2,
    )
    drag, downforce = 2 * car.drag_per_m, 2 * car.downforce_per_m
    picked_up = demand.pickup_mps3 * step_m
    pull = _pull(car)
    energies, gains = [energy], [gaining_mps2]
    for curvature, grip, throttle, ceiling in zip(
        curvature_per_m, demand.grip, demand.throttle, ceilings[1:], strict=False
    ):
        speed = sqrt(2 * energy)
        load = (GRAVITY_MPS2 + downforce * energy) * grip
        turning = 2 * energy * curvature / (lateral * load)
        left = 1 - turning * turning
        held = traction * load * sqrt(left) if left > 0 else 0.0
        resisting = drag * energy + rolling
        # Comparisons instead of min and max: calls would take a fifth of a lap's planning time.
        pulled = pull[int(speed * _SPEEDS_PER_MPS)] * throttle
        gain = (pulled if pulled < held else held) - resisting
        # A car at rest needs a moment, not a distance, to get going: walking pace has no rate
        # limit.
        eager = (gaining_mps2 if gaining_mps2 > -resisting else -resisting) + picked_up / (
            speed if speed > 1 else 1.0
        )
        reached = energy + (gain if gain < eager else eager) * step_m
        if reached > ceiling:
            reached = ceiling
        elif reached < 0:
            reached = 0.0
        gaining_mps2 = (reached - energy) / step_m
        energy = reached
        energies.append(energy)
        gains.append(gaining_mps2)
    return energies, gains


@lru_cache(maxsize=8)
def _pull(car: Car) -> tuple[float, ...]:
    """Return the acceleration at full throttle in the right gear, by quarter metres per second."""
    count = int(_FASTEST_MPS * _SPEEDS_PER_MPS) + 2
    return tuple(car.best_drive_mps2((i + 0.5) / _SPEEDS_PER_MPS) for i in range(count))


def smooth(values: Sequence[float]) -> list[float]:
    """Smooth with three moving averages, nearly a Gauss bell; the result is `MARGIN` shorter at
    each end.
    """
    width = 2 * BOX_HALF_WIDTH + 1
    result = list(values)
    for _ in range(3):
        sums = list(accumulate(result, initial=0.0))
        result = [(high - low) / width for low, high in zip(sums, sums[width:], strict=False)]
    return result
