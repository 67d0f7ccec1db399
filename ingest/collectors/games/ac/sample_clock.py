"""Computes when the game took a sample that came over a network: by its lap clock, tied to our
clock. Pure.

AC's datagrams are 9 to 69 ms apart as they arrive, and whole physics steps apart as they leave.
Speed and distance between two frames are right only by the game's clock.
But that clock stops in a pause, and runs slow on a PC that is too slow. Nor is it a time of day.
So a sample is placed by the lap-clock time since the sample before.
Its place is never after its arrival, and not much earlier.
The least delayed of all samples shows the offset between the game's clock and ours.
"""

#: A longer delay than a network has means that the game was paused. Time begins again with the
#: sample that arrives.
LONGEST_DELAY_S = 0.5
#: Interval after which a delay that every sample had is removed again.
REVIEW_S = 5.0


class SampleClock:
    """Sample clock of one session; ``now_s`` is our monotonic clock at the arrival of its first
    sample.
    """

    def __init__(self, *, now_s: float) -> None:
        self._placed_s = now_s
        self._least_delay_s, self._review_at_s = LONGEST_DELAY_S, now_s + REVIEW_S

    def place_s(self, passed_ms: int, *, now_s: float) -> float:
        """Return when the game took the sample that arrived at ``now_s``, ``passed_ms`` after the
        one before.
        """
        self._placed_s += passed_ms / 1000
        delay_s = now_s - self._placed_s
        if not 0 <= delay_s <= LONGEST_DELAY_S:
            self._placed_s = now_s
            self._review(now_s)
            return self._placed_s
        self._least_delay_s = min(self._least_delay_s, delay_s)
        if now_s >= self._review_at_s:
            self._placed_s += self._least_delay_s
            self._review(now_s)
        return self._placed_s

    def _review(self, now_s: float) -> None:
        self._least_delay_s, self._review_at_s = LONGEST_DELAY_S, now_s + REVIEW_S
