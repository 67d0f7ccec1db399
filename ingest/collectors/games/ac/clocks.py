"""Reads both clocks at one moment, so that the time can be an argument."""

import time
from typing import NamedTuple


class ClockReading(NamedTuple):
    """Both clocks at one moment. ``monotonic_s`` advances independently of ``wall_ms``, in ms since
    the Unix epoch.
    """

    monotonic_s: float
    wall_ms: int


def read_clocks() -> ClockReading:
    """Read the clocks of this machine."""
    return ClockReading(time.monotonic(), time.time_ns() // 1_000_000)
