"""The times of a session's frames: the wall clock as the session began, and the monotonic clock from there on.

So a wall clock that is set, or steps back an hour, moves no frame. Pure: both clocks are arguments.
"""


class SessionClock:
    """``wall_ms``: ms since the Unix epoch when the monotonic clock showed ``now_s``."""

    def __init__(self, *, wall_ms: int, now_s: float) -> None:
        self._wall_ms, self._began_s = wall_ms, now_s
        self._last_ms = wall_ms - 1

    def stamp_ms(self, now_s: float) -> int:
        """The time of a frame taken at ``now_s``, ms since the Unix epoch: later than every one before it."""
        self._last_ms = max(self._last_ms + 1, self._wall_ms + round((now_s - self._began_s) * 1000))
        return self._last_ms
