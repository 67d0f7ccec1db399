"""Computes the times of a session's frames: the wall clock at its start, then the monotonic clock.

So a wall clock that is set, or steps back an hour, moves no frame. Pure: both clocks are arguments.
"""


class SessionClock:
    """Clock of one session.

    ``wall_ms`` is in ms since the Unix epoch, read when the monotonic clock showed ``now_s``.
    """

    def __init__(self, *, wall_ms: int, now_s: float) -> None:
        self._wall_ms, self._began_s = wall_ms, now_s
        self._last_ms = wall_ms - 1

    def stamp_ms(self, now_s: float) -> int:
        """Return the time of a frame taken at ``now_s``, in ms since the Unix epoch.

        It is later than the time of every frame before it.
        """
        self._last_ms = max(
            self._last_ms + 1, self._wall_ms + round((now_s - self._began_s) * 1000)
        )
        return self._last_ms
