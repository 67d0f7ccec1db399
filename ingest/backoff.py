"""Computes the pause before the next attempt of something that keeps failing.

Pure: the caller has the clock and the random number.
"""

import math
from dataclasses import dataclass

_MOST_DOUBLINGS = 60  # a float overflows after 1,024, which repeated failures reach in one night


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses that double from ``first_s`` up to ``longest_s``, in seconds."""

    first_s: float
    longest_s: float = math.inf

    def pause_s(self, failures: int, *, jitter: float = 0.0) -> float:
        """Return the pause in seconds after ``failures`` in a row; 0 for none.

        ``jitter``, 0 to 1, takes up to half of it away. Clients that failed together should not
        retry together.
        """
        if not failures:
            return 0.0
        pause = min(self.first_s * 2.0 ** min(failures - 1, _MOST_DOUBLINGS), self.longest_s)
        return pause * (1 - jitter / 2)
