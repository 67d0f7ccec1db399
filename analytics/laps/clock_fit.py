"""Measures how well the frames' times and the lap clock each agree with the car, as running sums.

The module is pure. Frames that arrive over a network in bursts have correct clocks and late times.
The clocks of other games run in steps or stand still. Position and speed show how much time lay
between two frames. Rule: inside a lap, the clock is used if it agrees clearly better with the car.
Otherwise the frames' own times are used. Sums are kept, not the frames. A live lap is therefore
timed as a stored one is.
"""

from typing import NamedTuple

import numpy as np

from analytics.model.arrays import Integers, Mask, Reals

# Below this speed, the car's motion gives no time.
_DRIVEN_KMH = 10.0
_FEWEST_STEPS = 10
# The lap clock must agree better by a factor of two, and by more than its rounding to whole
# milliseconds. `_BETTER` is the factor squared. In real recordings at 30 Hz over a network, the
# frames' times are 8 to 11 ms off between steps. There the game's clock is 1 to 3 ms off. In other
# recordings, the two differ by less than a tenth.
_BETTER, _ROUNDING_US = 4.0, 1_000
# Frames that arrive a step or more too late or too early come in bursts. Mere jitter is less than a
# step.
_BURSTS = 1.0
# Sums are in whole µs, so that they are the same wherever a session is cut. The car's are for a
# track of 5 km.
_ASSUMED_M = 5_000
# Longer steps count as this long, so that their squares fit in 64 bits.
_LONGEST_US = 100_000_000


class StepSums(NamedTuple):
    """Sums over the steps between driven frames: their number, and products of three durations of
    each.

    ``car`` is distance divided by speed, on a track of 5 km. ``stamp`` is by the frames' times, and
    ``clock`` is by the lap clock. All are in whole µs, or their squares.
    """

    steps: int = 0
    car: int = 0
    stamp: int = 0
    car_car: int = 0
    stamp_car: int = 0
    stamp_stamp: int = 0
    clock_car: int = 0
    clock_clock: int = 0

    def plus(self, other: "StepSums") -> "StepSums":
        """Return the sums over both."""
        return StepSums(*map(int.__add__, self, other))

    @property
    def clock_is_better(self) -> bool:
        """Return whether the lap clock agrees clearly better with the car than the frames' times
        do.
        """
        if self.steps < _FEWEST_STEPS or self.car <= 0:
            return False
        return self._stamp_off > _BETTER * self._clock_off + self.steps * _ROUNDING_US**2

    @property
    def in_bursts(self) -> bool:
        """Return whether the frames' times differ from the car, RMS, by more than the length of one
        step.
        """
        return (
            self.steps > 0
            and self.car > 0
            and self._stamp_off * self.steps > (_BURSTS * self.stamp) ** 2
        )

    @property
    def _stamp_off(self) -> float:
        """Return the squared differences between the frames' times and the car, summed over the
        steps.
        """
        scale = self.stamp / self.car
        return self.stamp_stamp - 2 * scale * self.stamp_car + scale * scale * self.car_car

    @property
    def _clock_off(self) -> float:
        scale = self.stamp / self.car
        return self.clock_clock - 2 * scale * self.clock_car + scale * scale * self.car_car


NO_STEPS = StepSums()


def fill_step_terms(
    terms: Integers,
    time_us: Integers,
    clock_ms: Integers,
    moved: Reals,
    speed_kmh: Reals,
    seen: Mask,
) -> None:
    """Write the terms that each step between two frames adds to `StepSums`.

    ``terms`` has a row for each sum and a column for each step. ``time_us``, ``clock_ms`` and
    ``moved`` are differences, ``speed_kmh`` is the mean of both frames. Steps that are not ``seen``
    add nothing. Nor do steps in which the car stood or the clock went back.
    """
    used = seen & (speed_kmh > _DRIVEN_KMH) & (moved >= 0) & (clock_ms >= 0)
    steps, car, stamp, car_car, stamp_car, stamp_stamp, clock_car, clock_clock = terms
    steps[:] = used
    durations = np.where(used, moved, 0.0)
    durations *= 3.6e6 * _ASSUMED_M
    durations /= np.maximum(speed_kmh, _DRIVEN_KMH)
    car[:] = durations
    np.multiply(used, time_us, out=stamp)
    clock = np.multiply(used, clock_ms)
    clock *= 1000
    for one in (car, stamp, clock):
        np.minimum(one, _LONGEST_US, out=one)
    np.multiply(car, car, out=car_car)
    np.multiply(stamp, car, out=stamp_car)
    np.multiply(stamp, stamp, out=stamp_stamp)
    np.multiply(clock, car, out=clock_car)
    np.multiply(clock, clock, out=clock_clock)
