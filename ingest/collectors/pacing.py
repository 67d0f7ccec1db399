"""When a recorded or simulated frame is due. Pure: the time is an argument."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """``first_ms`` on the frames' clock was at ``started_s`` on ours; ``speed`` times as fast, 0: never wait."""

    first_ms: int
    started_s: float
    speed: float

    def __post_init__(self) -> None:
        if not 0 <= self.speed < float("inf"):
            raise ValueError(f"speed must be 0 (as fast as possible) or positive, not {self.speed}")

    def wait_s(self, timestamp_ms: int, *, now: float) -> float:
        """Seconds until the frame of ``timestamp_ms`` is due; 0 where it is due or late, so that late ones catch up."""
        if self.speed == 0:
            return 0.0
        return max(0.0, self.started_s + (timestamp_ms - self.first_ms) / 1000 / self.speed - now)


def first_timestamp_ms(duration_ms: int, *, speed: float, now_ms: int) -> int:
    """Where to place the first frame of a session of ``duration_ms`` that starts to play now.

    Played faster than it was driven, it must not end in the future, where a frame's time is taken for a broken clock.
    """
    played_ms = duration_ms / speed if speed else 0
    return now_ms - max(0, round(duration_ms - played_ms))
