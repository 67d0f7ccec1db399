"""Derives the driver's controls (pedals, gear and steering) from the motion of the car.

The speed profile comes first and the controls follow from it. The throttle is the share of the
engine's pull that the acceleration needed. The brake is the share of the hardest stop. So the
channels of a frame always agree with each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ingest.collectors.simulator.car import Car

_QUICKEST_DOWNSHIFT_S = 0.16
_QUICKEST_UPSHIFT_S = 0.25
# The last few percent of a pedal's travel do nothing, in cars as in games.
_FULL_THROTTLE = 0.965
_FULL_BRAKE = 0.97


@dataclass(frozen=True, slots=True)
class Controls:
    """The controls, node by node."""

    throttle: list[float]  # 0..1
    brake: list[float]  # 0..1
    steering: list[float]  # -1..1 of full lock, right positive
    gear: list[int]  # from 1


def controls(
    car: Car,
    *,
    clock_s: Sequence[float],
    speed_mps: Sequence[float],
    gain_mps2: Sequence[float],
    curvature_per_m: Sequence[float],
    tremor: Sequence[float],
    gear: int,
) -> Controls:
    """Compute the controls that make this motion; ``gear`` is the one engaged at the first node."""
    gears = shift(car, clock_s, speed_mps, gain_mps2, gear)
    drag_per_m = car.drag_per_m
    throttle, brake = [], []
    for speed, gain, engaged, shake in zip(speed_mps, gain_mps2, gears, tremor, strict=True):
        on, off = _pedals(car, drag_per_m * speed * speed, speed, gain, engaged)
        throttle.append(_shaken(on, 0.12 * shake))
        brake.append(_shaken(off, 0.07 * shake))
    steering = [
        _steer(car, curvature, speed) * (1 + 0.06 * shake) + 0.004 * shake
        for curvature, speed, shake in zip(curvature_per_m, speed_mps, tremor, strict=True)
    ]
    return Controls(throttle, brake, steering, gears)


def _pedals(car: Car, drag: float, speed: float, gain: float, gear: int) -> tuple[float, float]:
    needed = gain + drag + car.rolling_mps2
    if needed > 0:
        share = needed / car.drive_mps2(speed, gear) / _FULL_THROTTLE
        return min(share, 1.0), 0.0
    slowing = -needed - car.engine_braking_mps2
    if slowing <= 0:
        return 0.0, 0.0
    return 0.0, min(slowing / (car.hardest_braking_mps2 - drag) / _FULL_BRAKE, 1.0)


def _shaken(pedal: float, shake: float) -> float:
    """Add tremor to a half-pressed pedal; a fully pressed or released pedal stays steady."""
    if pedal in (0.0, 1.0):
        return pedal
    return min(max(pedal + shake * 4 * pedal * (1 - pedal), 0.0), 1.0)


def _steer(car: Car, curvature: float, speed: float) -> float:
    wheels = car.wheelbase_m * curvature + car.understeer_rad_per_mps2 * speed * speed * curvature
    return min(max(wheels / car.full_lock_rad, -1.0), 1.0)


def shift(
    car: Car,
    clock_s: Sequence[float],
    speed_mps: Sequence[float],
    gain_mps2: Sequence[float],
    gear: int,
) -> list[int]:
    """Return the gear of each node.

    The driver shifts up at the shift light, and down one by one under braking as soon as the engine
    allows.
    """
    rpm_per_mps = [car.rpm_per_mps(gear) for gear in range(1, len(car.gear_ratios) + 1)]
    gears = []
    ready_s = clock_s[0]
    for now, speed, gain in zip(clock_s, speed_mps, gain_mps2, strict=True):
        if now >= ready_s and (step := _wish(car, rpm_per_mps, speed, gain, gear)):
            gear += step
            ready_s = now + (_QUICKEST_UPSHIFT_S if step > 0 else _QUICKEST_DOWNSHIFT_S)
        gears.append(gear)
    return gears


def _wish(car: Car, rpm_per_mps: Sequence[float], speed: float, gain: float, gear: int) -> int:
    rpm = speed * rpm_per_mps[gear - 1]
    if rpm > car.upshift_rpm and gain > -1 and gear < len(rpm_per_mps):
        return 1
    if gear == 1:
        return 0
    # First gear is for pit boxes and the slowest of hairpins, where the engine would labour in
    # second.
    if gear == 2 and rpm > car.lugging_rpm:
        return 0
    braking = gain < -3 and speed * rpm_per_mps[gear - 2] < car.downshift_rpm
    return -1 if braking or rpm < car.lugging_rpm else 0
