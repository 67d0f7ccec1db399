"""Computes the sample rate of frames.

The rate uses the mean of the steps between frames, not the median. At 60 Hz, times in whole ms have
steps of 16 and 17 ms, and the median gives 58.82 Hz. At 360 Hz, the steps are 2 and 3 ms.
"""

import numpy as np

from analytics.model.arrays import Integers

_PAUSE_S = 1.0
_PAUSE_STEPS = 5


def mean_rate_hz(times: Integers, *, per_second: int) -> float | None:
    """Return the number of frames a second, or None for fewer than two frames.

    ``times`` ascend, in units of which ``per_second`` make a second. Steps longer than both a
    second and five times the median are pauses, and do not count.
    """
    if len(times) < 2:
        return None
    steps = np.diff(times)
    driven = steps[steps <= max(_PAUSE_S * per_second, _PAUSE_STEPS * float(np.median(steps)))]
    return len(driven) * per_second / float(driven.sum())
