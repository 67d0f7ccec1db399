"""How often frames were taken.

The mean of the steps between frames, not the middle one: times in whole ms have steps of 16 and 17 ms at 60 Hz, of which the
middle one makes 58.82 Hz, and at 360 Hz steps of 2 and 3 ms.
"""

import numpy as np

from analytics.model.arrays import Integers

_PAUSE_S = 1.0
_PAUSE_STEPS = 5


def mean_rate_hz(times: Integers, *, per_second: int) -> float | None:
    """Frames a second; None of fewer than two. ``times`` ascend, in units of which ``per_second`` make a second.

    Steps that are longer than a second and five times the middle one are pauses, and say nothing about the rate.
    """
    if len(times) < 2:
        return None
    steps = np.diff(times)
    driven = steps[steps <= max(_PAUSE_S * per_second, _PAUSE_STEPS * float(np.median(steps)))]
    return len(driven) * per_second / float(driven.sum())
