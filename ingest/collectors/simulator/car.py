"""Models cars as a few numbers each: the limits of tyres, engine, wings and gearbox at a given
speed.

The module knows no circuit, no driver and no time. Speeds are m/s, accelerations m/s², rpm 1/min. A
"grip" of 1 is all the grip of warm tyres; drivers use a little less.
"""

from bisect import bisect_right
from dataclasses import dataclass, replace
from math import pi, sqrt

GRAVITY_MPS2 = 9.81
_AIR_KG_PER_M3 = 1.2
_RPM_PER_RAD_PER_S = 30 / pi


@dataclass(frozen=True, slots=True)
class Car:
    """The numbers of one car; ``power_w`` is at the wheels, in points of (rpm, W) with straight
    lines between.
    """

    name: str
    mass_kg: float
    power_w: tuple[tuple[int, float], ...]
    drag_area_m2: float
    downforce_area_m2: float
    rolling_mps2: float
    engine_braking_mps2: float
    lateral_friction: float
    braking_friction: float
    driven_share: float  # share of the weight on the driven wheels, squat included
    hardest_braking_mps2: float  # the limit of brakes and ABS at any speed, drag included
    gear_ratios: tuple[float, ...]  # engine turns per wheel turn, first gear first
    wheel_radius_m: float
    idle_rpm: int
    launch_rpm: int
    upshift_rpm: int
    downshift_rpm: int  # the most a downshift may spin the engine to
    lugging_rpm: int  # below it a lower gear is wanted even off the brakes
    highest_rpm: int
    wheelbase_m: float
    understeer_rad_per_mps2: float
    full_lock_rad: float  # of the front wheels

    @property
    def drag_per_m(self) -> float:
        """Return the drag coefficient; deceleration by drag is this times speed squared."""
        return _AIR_KG_PER_M3 * self.drag_area_m2 / 2 / self.mass_kg

    @property
    def downforce_per_m(self) -> float:
        """Return the downforce coefficient; downforce adds this times speed squared to gravity."""
        return _AIR_KG_PER_M3 * self.downforce_area_m2 / 2 / self.mass_kg

    def lateral_limit_mps2(self, speed_mps: float, grip: float = 1.0) -> float:
        """Return the largest lateral acceleration at this speed, in m/s²."""
        return grip * self.lateral_friction * (GRAVITY_MPS2 + self.downforce_per_m * speed_mps**2)

    def cornering_speed_mps(self, curvature_per_m: float, grip: float = 1.0) -> float:
        """Return the fastest speed on a steady curve; infinite where downforce grows faster than
        the need for grip.
        """
        friction = grip * self.lateral_friction
        unheld = abs(curvature_per_m) - friction * self.downforce_per_m
        return sqrt(friction * GRAVITY_MPS2 / unheld) if unheld > 0 else float("inf")

    def engine_rpm(self, speed_mps: float, gear: int) -> float:
        """Return the engine speed with the clutch closed; ``gear`` counts from 1."""
        return speed_mps * self.rpm_per_mps(gear)

    def rpm_per_mps(self, gear: int) -> float:
        """Return the engine speed per road speed in a gear, in rpm per m/s."""
        return self.gear_ratios[gear - 1] / self.wheel_radius_m * _RPM_PER_RAD_PER_S

    def drive_mps2(self, speed_mps: float, gear: int) -> float:
        """Return the acceleration by the engine at full throttle, before drag and without
        wheelspin.
        """
        rpm_per_mps = self.rpm_per_mps(gear)
        rpm = max(speed_mps * rpm_per_mps, self.launch_rpm)
        return self._power_at(rpm) / self.mass_kg / (rpm / rpm_per_mps)

    def best_drive_mps2(self, speed_mps: float) -> float:
        """Return `drive_mps2` in the gear that a driver would use: the lowest that is not yet due
        for an upshift.
        """
        return self.drive_mps2(speed_mps, self.pulling_gear(speed_mps))

    def pulling_gear(self, speed_mps: float) -> int:
        """Return the gear that pulls most at this speed."""
        gears = range(1, len(self.gear_ratios))
        return next(
            (g for g in gears if self.engine_rpm(speed_mps, g) < self.upshift_rpm),
            len(self.gear_ratios),
        )

    def _power_at(self, rpm: float) -> float:
        points = self.power_w
        i = bisect_right(points, (rpm, 0.0), 1, len(points) - 1)
        (rpm0, low), (rpm1, high) = points[i - 1], points[i]
        return low + (high - low) * min((rpm - rpm0) / (rpm1 - rpm0), 1.0)


GT3 = Car(
    name="Purple Sector GT3",
    mass_kg=1345,
    power_w=(
        (2000, 80e3),
        (3000, 140e3),
        (4000, 205e3),
        (5000, 272e3),
        (6000, 335e3),
        (6800, 368e3),
        (7400, 380e3),
        (8200, 370e3),
    ),
    drag_area_m2=1.08,
    downforce_area_m2=2.3,
    rolling_mps2=0.16,
    engine_braking_mps2=0.7,
    lateral_friction=1.42,
    braking_friction=1.38,
    driven_share=0.63,
    hardest_braking_mps2=16.4,
    gear_ratios=(10.6, 7.55, 5.95, 4.9, 4.18, 3.62),
    wheel_radius_m=0.34,
    idle_rpm=1700,
    launch_rpm=4200,
    upshift_rpm=7500,
    downshift_rpm=6900,
    lugging_rpm=3200,
    highest_rpm=8200,
    wheelbase_m=2.65,
    understeer_rad_per_mps2=0.0013,
    full_lock_rad=0.31,
)

#: The GT3 with less power, downforce and friction: some eight per cent slower around a lap.
GT4 = replace(
    GT3,
    name="Purple Sector GT4",
    power_w=tuple((rpm, 0.76 * watts) for rpm, watts in GT3.power_w),
    downforce_area_m2=0.9,
    lateral_friction=1.34,
    braking_friction=1.3,
)
