"""Simulates a game: a driver takes a GT3 car round a circuit, lap after lap, as telemetry frames.

`laps` is the truth, in continuous time. `drive` samples it at a steady rate, as a game's telemetry
does. So the crossing of the line lies between two frames, and the true laps can judge a lap engine.
Everything follows from the seed. The module knows no Kafka and no clock. It yields frames as fast
as the sender requests them; the sender paces them.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from math import atan, cos, pi, sin, tau
from typing import NamedTuple

from ingest.collectors.simulator.car import GT3, Car
from ingest.collectors.simulator.circuit import Circuit
from ingest.collectors.simulator.lap import SimulatedLap, laps
from ingest.telemetry_pb2 import LapValidity, PitState, Session, TelemetryFrame

GAME = "Purple Sector Simulator"

_Ramp = tuple[float, float]  # value at a step's start, and change until its end


def facts(
    circuit: Circuit,
    *,
    session_id: str,
    user_id: str,
    driver: str,
    started_at_ms: int,
    rate_hz: float = 60.0,
    car: Car = GT3,
) -> Session:
    """Build the session's facts, to be sent before its first frame."""
    return Session(
        id=session_id,
        user_id=user_id,
        game=GAME,
        track=circuit.name,
        car=car.name,
        driver=driver,
        track_length=circuit.length_m,
        sector_count=len(circuit.sector_starts),
        sample_rate=rate_hz,
        started_at=started_at_ms,
    )


def drive(
    circuit: Circuit, *, seed: int, started_at_ms: int, rate_hz: float = 60.0, car: Car = GT3
) -> Iterator[TelemetryFrame]:
    """Yield the frames of a session without end, one every 1/``rate_hz`` s from ``started_at_ms``
    on.

    ``sequence`` is left unset. Raises ValueError for a rate at which two frames could share a
    millisecond.
    """
    if not 0 < rate_hz <= 500:
        raise ValueError(f"rate_hz must be above 0 and at most 500, not {rate_hz:g}")
    return _frames(circuit, laps(circuit, seed=seed, car=car), car, started_at_ms, rate_hz)


def _frames(
    circuit: Circuit, driven: Iterable[SimulatedLap], car: Car, started_at_ms: int, rate_hz: float
) -> Iterator[TelemetryFrame]:
    taken, now_s = 0, 0.0
    for lap in driven:
        for step in _steps(circuit, car, lap):
            while now_s < step.ends_s:
                frame = _frame(step, now_s - step.begins_s, circuit)
                frame.timestamp = started_at_ms + round(now_s * 1000)
                frame.lap_time = round((now_s - lap.start_s) * 1000)
                frame.lap_number = lap.number
                frame.last_lap_time = lap.last_lap_time_ms
                yield frame
                taken += 1
                now_s = taken / rate_hz


class _Step(NamedTuple):
    """A step from one node to the next at constant acceleration, or a wait at one node."""

    begins_s: float
    ends_s: float
    place_m: float
    speed_mps: float
    gain_mps2: float
    gear: int
    rpm_per_mps: float
    least_rpm: int  # by idling or a slipping clutch
    pit: PitState
    sector: int
    validity: LapValidity
    throttle: _Ramp
    brake: _Ramp
    steering: _Ramp
    x_m: _Ramp
    y_m: _Ramp
    z_m: _Ramp
    heading_rad: _Ramp


def _frame(step: _Step, since_s: float, circuit: Circuit) -> TelemetryFrame:
    """Build the frame of the car ``since_s`` after the step's begin."""
    moved_m = (step.speed_mps + step.gain_mps2 * since_s / 2) * since_s
    speed_mps = step.speed_mps + step.gain_mps2 * since_s
    share = moved_m / circuit.step_m
    return TelemetryFrame(
        throttle=step.throttle[0] + step.throttle[1] * share,
        brake=step.brake[0] + step.brake[1] * share,
        steering=step.steering[0] + step.steering[1] * share,
        speed=speed_mps * 3.6,
        gear=step.gear,
        rpm=int(max(speed_mps * step.rpm_per_mps, step.least_rpm)),
        normalized_position=(step.place_m + moved_m) / circuit.length_m,
        x=step.x_m[0] + step.x_m[1] * share,
        y=step.y_m[0] + step.y_m[1] * share,
        z=step.z_m[0] + step.z_m[1] * share,
        heading=(step.heading_rad[0] + step.heading_rad[1] * share + pi) % tau - pi,
        sector=step.sector,
        pit=step.pit,
        validity=step.validity,
    )


def _steps(circuit: Circuit, car: Car, lap: SimulatedLap) -> Iterator[_Step]:
    begins = [lap.start_s + clock for clock in lap.clock_s]
    first = lap.first_node
    hands = lap.controls
    x_m, z_m, heading_rad = _path(circuit, lap)
    ramps = (
        _ramps(values)
        for values in (
            hands.throttle,
            hands.brake,
            hands.steering,
            x_m,
            circuit.y_m[first:],
            z_m,
            heading_rad,
        )
    )
    rpm_per_mps = [0.0, *(car.rpm_per_mps(gear) for gear in range(1, len(car.gear_ratios) + 1))]
    for i, of_channels in enumerate(zip(*ramps, strict=True)):
        gear, gain = hands.gear[i], lap.gain_mps2[i]
        step = _Step(
            begins[i],
            begins[i + 1],
            (first + i) * circuit.step_m,
            lap.speed_mps[i],
            gain,
            gear,
            rpm_per_mps[gear],
            car.launch_rpm if gear == 1 and gain > 0 else car.idle_rpm,
            _pit_state(circuit, lap, first + i),
            circuit.sector(first + i),
            _validity(lap, first + i),
            *of_channels,
        )
        if i == 0 and lap.wait_s:
            yield _waiting(step, lap, car)
        yield step


def _waiting(step: _Step, lap: SimulatedLap, car: Car) -> _Step:
    return step._replace(
        begins_s=lap.start_s,
        ends_s=lap.start_s + lap.wait_s,
        gain_mps2=0.0,
        gear=0,
        rpm_per_mps=0.0,
        least_rpm=car.idle_rpm,
        pit=PitState.PIT_STATE_PIT_BOX,
        throttle=(0.0, 0.0),
        brake=(0.6, 0.0),
    )


def _path(circuit: Circuit, lap: SimulatedLap) -> tuple[list[float], list[float], list[float]]:
    """Return world x, world z and heading of the car, which runs ``offset_m`` beside the line."""
    first = lap.first_node
    line = circuit.heading_rad[first:]
    x = [
        x + beside * cos(h)
        for x, beside, h in zip(circuit.x_m[first:], lap.offset_m, line, strict=True)
    ]
    z = [
        z - beside * sin(h)
        for z, beside, h in zip(circuit.z_m[first:], lap.offset_m, line, strict=True)
    ]
    drift = [atan((after - before) / circuit.step_m) for before, after in pairwise(lap.offset_m)]
    return x, z, [h + aside for h, aside in zip(line, [*drift, 0.0], strict=True)]


def _ramps(values: Sequence[float]) -> list[_Ramp]:
    return [(before, after - before) for before, after in pairwise(values)]


def _pit_state(circuit: Circuit, lap: SimulatedLap, node: int) -> PitState:
    in_lane = lap.leaves_pits and node < circuit.pit.exit
    return PitState.PIT_STATE_PIT_LANE if in_lane else PitState.PIT_STATE_ON_TRACK


def _validity(lap: SimulatedLap, node: int) -> LapValidity:
    cut = lap.invalid_from is not None and node >= lap.invalid_from
    return LapValidity.LAP_VALIDITY_INVALID if cut else LapValidity.LAP_VALIDITY_VALID
