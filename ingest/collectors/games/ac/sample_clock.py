"""When a sample was taken that came over a network: by the game's lap clock, held to ours. Pure.

AC's datagrams are 9 to 69 ms apart as they arrive and whole physics steps apart as they leave. Speed and distance between two
frames are right only by the game's clock; but that one stops in a pause, runs slow on a PC that is too slow, and is nobody's
time of day. So a sample is placed by what its lap clock says has passed since the one before, at the latest when it arrived,
and not much earlier. Of all that has come, the least delayed tells where the game's clock stands on ours.
"""

#: A longer delay than a network has: the game was paused. Time begins anew with the sample that arrives.
LONGEST_DELAY_S = 0.5
#: How often a delay that every sample had is taken out again.
REVIEW_S = 5.0


class SampleClock:
    """Of one session; ``now_s``, our monotonic clock, is when its first sample arrived."""

    def __init__(self, *, now_s: float) -> None:
        self._placed_s = now_s
        self._least_delay_s, self._review_at_s = LONGEST_DELAY_S, now_s + REVIEW_S

    def place_s(self, passed_ms: int, *, now_s: float) -> float:
        """When the sample was taken that is ``passed_ms`` after the one before and arrived at ``now_s``."""
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
