"""Thresholds of channels, as they are compared with frames.

Frames hold float32, constants float64: 0.95 comes back as 0.949999988, which is below 0.95. Rule: a value that a game sends as the
threshold has reached it, whichever of the two it is kept in.
"""

import numpy as np


def threshold(value: float) -> float:
    """The lower one of ``value`` and of what a float32 holds for it."""
    return min(value, float(np.float32(value)))
