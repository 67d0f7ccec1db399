"""How well the frames' times and the lap clock each agree with the car, as sums that grow from frame to frame.

Pure. Frames that come over a network in bursts have true clocks and late times; other games' clocks run in steps or stand. Position and
speed say how much time lay between two frames. Rule: inside a lap the clock that agrees clearly better with that is believed, and the
frames' own times where neither does. Sums, and not the frames, are kept: a live lap is timed as a stored one is.
"""

from typing import NamedTuple

import numpy as np

from analytics.model.arrays import Integers, Mask, Reals

# Below this a car tells no time.
_DRIVEN_KMH = 10.0
_FEWEST_STEPS = 10
# By how much the clock must be better: twice, and more than its whole milliseconds are worth. Of real recordings at 30 Hz over a
# network the frames' times are 8 to 11 ms off from step to step, and the game's clock 1 to 3 ms; others differ by less than a tenth.
_BETTER, _ROUNDING_US = 4.0, 1_000
# Frames that come a step or more too late or too early lie in bursts: their jitter would be a part of a step.
_BURSTS = 1.0
# Sums are of whole µs: they come out the same wherever a session is cut. The car's are those of a track of 5 km.
_ASSUMED_M = 5_000
# Longer steps count as so long, that their squares be numbers of 64 bits.
_LONGEST_US = 100_000_000


class StepSums(NamedTuple):
    """Of steps between frames that were driven: how many, and sums of products of three measures of how long each took.

    ``car`` is the way over the speed, on a track of 5 km; ``stamp`` and ``clock`` are by the frames' times and by the lap clock. All
    are in whole µs, or their squares.
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
        """Whether the lap clock agrees clearly better with the car than the frames' times do."""
        if self.steps < _FEWEST_STEPS or self.car <= 0:
            return False
        return self._stamp_off > _BETTER * self._clock_off + self.steps * _ROUNDING_US**2

    @property
    def in_bursts(self) -> bool:
        """Whether the frames' times are further off the car, RMS, than one step is long."""
        return self.steps > 0 and self.car > 0 and self._stamp_off * self.steps > (_BURSTS * self.stamp) ** 2

    @property
    def _stamp_off(self) -> float:
        """The squares of how far the frames' times are off the car, summed over the steps."""
        scale = self.stamp / self.car
        return self.stamp_stamp - 2 * scale * self.stamp_car + scale * scale * self.car_car

    @property
    def _clock_off(self) -> float:
        scale = self.stamp / self.car
        return self.clock_clock - 2 * scale * self.clock_car + scale * scale * self.car_car


NO_STEPS = StepSums()


def step_terms(time_us: Integers, clock_ms: Integers, moved: Reals, speed_kmh: Reals, seen: Mask) -> Integers:
    """Return what each step between two frames adds to `StepSums`: a row for each sum, a column for each step.

    ``time_us``, ``clock_ms`` and ``moved`` are differences, ``speed_kmh`` is the mean of both frames. Steps that are not ``seen``, and
    those in which the car stood or the clock went back, add nothing.
    """
    used = seen & (speed_kmh > _DRIVEN_KMH) & (moved >= 0) & (clock_ms >= 0)
    terms = np.empty((len(StepSums._fields), len(used)), np.int64)
    steps, car, stamp, clock = terms[0], terms[1], terms[2], np.where(used, clock_ms, 0) * 1000
    steps[:] = used
    car[:] = np.where(used, moved, 0.0) * (3.6e6 * _ASSUMED_M) / np.maximum(speed_kmh, _DRIVEN_KMH)
    stamp[:] = np.where(used, time_us, 0)
    for one in (car, stamp, clock):
        np.minimum(one, _LONGEST_US, out=one)
    np.multiply(car, car, out=terms[3])
    np.multiply(stamp, car, out=terms[4])
    np.multiply(stamp, stamp, out=terms[5])
    np.multiply(clock, car, out=terms[6])
    np.multiply(clock, clock, out=terms[7])
    return terms
