"""Measures the offset between this PC's clock and the broker's from delivery reports, and
classifies it.

The broker dates each record when it gets it (LogAppendTime), and its delivery report brings that
time. The PC seems ahead by the report's travel time. So the fastest of the newest reports counts.
Pure: the PC's time is an argument.
"""

from collections import deque
from typing import Literal, NamedTuple

import structlog

from ingest.codec.timestamps import AHEAD_MS, BEHIND_MS

log = structlog.get_logger()

#: Beyond this offset the collector warns: drivers compare when something happened.
OFF_MS = 1000
LOG_APPEND_TIME = 2  # as confluent_kafka numbers it
_NEWEST = 30
_FEWEST = 3
_REPORT_AGAIN_MS = 60_000


class Trouble(NamedTuple):
    """A fault of a clock: its level, its effect on the frames, and its remedy."""

    level: Literal["warning", "error"]
    frames: str
    to_do: str = "set the clock; let the PC do it by itself"


def clock_trouble(ahead_ms: float, *, within_ms: float = 0.0) -> Trouble | None:
    """Classify a clock that is ``ahead_ms`` ahead of the broker's; None where it is right within
    ``within_ms``.
    """
    if -ahead_ms > BEHIND_MS + within_ms:
        return Trouble(
            "error", "frames of sessions that begin now are kept, with times moved to the broker's"
        )
    if ahead_ms > AHEAD_MS:
        return Trouble("error", "frames are kept, with the times at which the broker gets them")
    if abs(ahead_ms) > OFF_MS + within_ms:
        return Trouble("warning", "frames are kept, with this PC's times")
    return None


def offset_text(ahead_ms: float) -> str:
    """Format the offset, for example ``90.00 s ahead of the broker's``."""
    return f"{abs(ahead_ms) / 1000:.2f} s {'ahead of' if ahead_ms > 0 else 'behind'} the broker's"


class BrokerClock:
    """Estimate of this PC's clock offset from the delivery reports so far. Safe to use from several
    threads.
    """

    def __init__(self) -> None:
        self._ahead_ms: deque[int] = deque(maxlen=_NEWEST)
        self._reported_ms: int | None = None

    @property
    def ahead_ms(self) -> int | None:
        """Return how far the PC's clock is ahead, in ms.

        The result is None while too few reports have come, or where the broker keeps the
        collector's times.
        """
        seen = tuple(self._ahead_ms)
        return min(seen) if len(seen) >= _FEWEST else None

    def note(self, stamp: tuple[int, int], *, wall_ms: int) -> None:
        """Note a delivery report that came at ``wall_ms`` by the PC's clock.

        ``stamp`` is the timestamp of its message, in confluent_kafka's form.
        """
        kind, appended_ms = stamp
        if kind != LOG_APPEND_TIME:
            return
        offset_ms = wall_ms - appended_ms
        if self._ahead_ms and offset_ms < self._ahead_ms[-1] - OFF_MS:
            self._ahead_ms.clear()  # the clock was set back, or the report before was very late
        self._ahead_ms.append(offset_ms)
        if (ahead_ms := self.ahead_ms) is not None:
            self._report(ahead_ms)

    def _report(self, ahead_ms: int) -> None:
        trouble = clock_trouble(ahead_ms)
        if trouble is None or (
            self._reported_ms is not None and abs(ahead_ms - self._reported_ms) < _REPORT_AGAIN_MS
        ):
            return
        self._reported_ms = ahead_ms
        log.warning(
            f"this PC's clock is {offset_text(ahead_ms)}: {trouble.frames}; {trouble.to_do}",
            clock_ahead_ms=ahead_ms,
        )


#: A process has one clock, however many sessions it sends.
THIS_PC = BrokerClock()
