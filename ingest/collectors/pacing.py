"""Computes when a recorded or simulated frame is due. Pure: the time is an argument."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """Mapping of frame times to due times on this process's clock.

    ``first_ms`` on the frames' clock was at ``started_s`` on ours. Frames play ``speed`` times as
    fast; 0: never wait.
    """

    first_ms: int
    started_s: float
    speed: float

    def __post_init__(self) -> None:
        if not 0 <= self.speed < float("inf"):
            raise ValueError(f"speed must be 0 (as fast as possible) or positive, not {self.speed}")

    def wait_s(self, timestamp_ms: int, *, now: float) -> float:
        """Return the seconds until the frame of ``timestamp_ms`` is due.

        The result is 0 for a frame that is due or late, so that late frames catch up.
        """
        if self.speed == 0:
            return 0.0
        return max(0.0, self.started_s + (timestamp_ms - self.first_ms) / 1000 / self.speed - now)


def first_timestamp_ms(duration_ms: int, *, speed: float, now_ms: int) -> int:
    """Return the timestamp of the first frame of a session of ``duration_ms`` that starts to play
    now.

    A session played faster than it was driven must not end in the future. A frame's time there
    counts as a broken clock.
    """
    played_ms = duration_ms / speed if speed else 0
    return now_ms - max(0, round(duration_ms - played_ms))
