"""Adjusts thresholds of channels for comparison with frames.

Frames hold float32, constants float64: 0.95 as float32 is 0.949999988, which is below 0.95. Rule: a
value that a game sends as the threshold has reached it, in either of the two types.
"""

import numpy as np


def threshold(value: float) -> float:
    """Return the lower one of ``value`` and its nearest float32."""
    return min(value, float(np.float32(value)))
