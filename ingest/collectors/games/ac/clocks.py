"""The time as an argument: both clocks at one moment."""

import time
from typing import NamedTuple


class ClockReading(NamedTuple):
    """``monotonic_s`` goes on whatever happens to ``wall_ms``, which is ms since the Unix epoch."""

    monotonic_s: float
    wall_ms: int


def read_clocks() -> ClockReading:
    """The clocks of this machine."""
    return ClockReading(time.monotonic(), time.time_ns() // 1_000_000)
