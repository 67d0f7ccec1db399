"""Drives the laps of a simulated session: its truth, in continuous time.

Each lap is planned from its driver's intent and the car's limits, with a look beyond the line. It
takes over the car exactly as the lap before left it. Speeds join without a step, and lap times are
differences of line crossings. The module knows no frames and no clock but the session's own, in
seconds from its start.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import sqrt
from typing import NamedTuple

from ingest.collectors.simulator.car import GT3, Car
from ingest.collectors.simulator.circuit import Circuit
from ingest.collectors.simulator.controls import Controls, controls
from ingest.collectors.simulator.driver import Intent, intend
from ingest.collectors.simulator.speed_profile import (
    MARGIN,
    brake_backwards,
    corner_energies,
    drive_forwards,
    smooth,
)

_LOOK_AHEAD_M = 900.0
_WAIT_IN_BOX_S = 4.0
_LAUNCH_MPS2 = 3.0
_LAUNCH_NODES = 40


@dataclass(frozen=True, slots=True)
class SimulatedLap:
    """A lap as it was driven. Lists have an entry per node from ``first_node`` to the line, both
    included.
    """

    number: int
    start_s: float  # since the start of the session; of the first lap, the session's own start
    first_node: int
    wait_s: float  # time standing still at the first node
    clock_s: list[float]  # since the start of the lap
    speed_mps: list[float]
    gain_mps2: list[float]
    controls: Controls
    offset_m: list[float]
    invalid_from: int | None  # node
    sector_times_ms: tuple[int, ...]
    last_lap_time_ms: int  # of the lap before; 0 on the first

    @property
    def time_s(self) -> float:
        """Return the time of the lap, in s."""
        return self.clock_s[-1]

    @property
    def time_ms(self) -> int:
        """Return the lap time that the game will report as the official one."""
        return round(self.time_s * 1000)

    @property
    def leaves_pits(self) -> bool:
        """Return whether the lap begins in the pits."""
        return self.wait_s > 0

    @property
    def is_valid(self) -> bool:
        """Return whether no part of the lap was off the track."""
        return self.invalid_from is None


def laps(circuit: Circuit, *, seed: int, car: Car = GT3) -> Iterator[SimulatedLap]:
    """Yield the laps of one session, for ever: the first from the pit box, the rest flying."""
    joint = _LapStart()
    intent = intend(circuit, seed, 1)
    while True:
        following = intend(circuit, seed, joint.lap_number + 1)
        lap, joint = _drive_lap(circuit, car, intent, following, joint)
        yield lap
        intent = following


@dataclass(frozen=True, slots=True)
class _LapStart:
    """The state of the car at the line: all that a lap inherits from the one before."""

    lap_number: int = 1
    start_s: float = 0.0
    energy: float = 0.0  # v²/2 before smoothing, as are the next two
    gaining_mps2: float = 0.0
    tail: tuple[float, ...] = (0.0,) * MARGIN  # the energies of the nodes before the line
    gear: int = 1
    last_lap_time_ms: int = 0


class _Motion(NamedTuple):
    """A car along its lap, an entry per node: time since the lap began, speed and acceleration."""

    clock_s: list[float]
    speed_mps: list[float]
    gain_mps2: list[float]


def _drive_lap(
    circuit: Circuit, car: Car, intent: Intent, following: Intent, joint: _LapStart
) -> tuple[SimulatedLap, _LapStart]:
    from_pits = joint.lap_number == 1
    first = circuit.pit.box if from_pits else 0
    wait_s = _WAIT_IN_BOX_S if from_pits else 0.0
    raw, gains = _profile(circuit, car, intent, following, first, joint)
    steps = circuit.nodes - first
    energies = smooth([*joint.tail, *raw[: steps + 2 + MARGIN]])
    motion = _motion(
        _launched(energies, circuit.step_m) if from_pits else energies, circuit.step_m, wait_s
    )
    done = controls(
        car,
        **motion._asdict(),
        curvature_per_m=circuit.curvature_per_m[first:],
        tremor=[*intent.tremor[first:], following.tremor[0]],
        gear=joint.gear,
    )
    lap = SimulatedLap(
        number=joint.lap_number,
        start_s=joint.start_s,
        first_node=first,
        wait_s=wait_s,
        **motion._asdict(),
        controls=done,
        offset_m=[*intent.offset_m[first:], following.offset_m[0]],
        invalid_from=intent.cut_at,
        sector_times_ms=_sector_times(circuit, motion.clock_s, first),
        last_lap_time_ms=joint.last_lap_time_ms,
    )
    at_line = _LapStart(
        lap_number=lap.number + 1,
        start_s=lap.start_s + lap.time_s,
        energy=raw[steps],
        gaining_mps2=gains[steps],
        tail=tuple(raw[steps - MARGIN : steps]),
        gear=done.gear[-1],
        last_lap_time_ms=lap.time_ms,
    )
    return lap, at_line


def _motion(energies: Sequence[float], step_m: float, wait_s: float) -> _Motion:
    """Turn energies per node into times, speeds and accelerations."""
    speeds = [sqrt(2 * e) for e in energies[:-1]]
    durations = (2 * step_m / (before + after) for before, after in pairwise(speeds))
    gained = [(after - before) / step_m for before, after in pairwise(energies)]
    return _Motion(list(accumulate(durations, initial=wait_s)), speeds, gained)


def _launched(energies: Sequence[float], step_m: float) -> list[float]:
    """Limit the energies after a standing start: the clutch lets the car gather speed no faster."""
    launch = [min(e, _LAUNCH_MPS2 * step_m * i) for i, e in enumerate(energies[:_LAUNCH_NODES])]
    return [*launch, *energies[_LAUNCH_NODES:]]


def _profile(
    circuit: Circuit, car: Car, intent: Intent, following: Intent, first: int, joint: _LapStart
) -> tuple[list[float], list[float]]:
    """Return energies and accelerations from ``first``, beyond the line as far as the first corner
    has an effect.
    """
    step_m = circuit.step_m
    ahead = round(_LOOK_AHEAD_M / step_m)
    curvature = [*circuit.curvature_per_m[first:-1], *circuit.curvature_per_m[:ahead]]
    demand = intent.demand.joined(following.demand, start=first, ahead=ahead)
    limits = corner_energies(car, curvature, demand)
    limits = brake_backwards(car, step_m, curvature, demand, limits)
    return drive_forwards(
        car, step_m, curvature, demand, limits, energy=joint.energy, gaining_mps2=joint.gaining_mps2
    )


def _sector_times(circuit: Circuit, clock_s: Sequence[float], first: int) -> tuple[int, ...]:
    """Return the sector times, rounded at the sectors' ends, so that they add up to the rounded
    lap.
    """
    ends = [*circuit.sector_starts[1:], circuit.nodes]
    ends_ms = [round(clock_s[node - first] * 1000) for node in ends]
    return tuple(after - before for before, after in pairwise([0, *ends_ms]))
