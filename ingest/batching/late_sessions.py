"""Schedules sessions whose laps must be timed again because of late data.

Late data are frames older than those that the laps were timed from. Pure: time is an argument.

A gap that heals brings many batches of late frames. The laps are timed again once, when no more
have come for a moment. If the late frames never end, the laps are timed after half a minute.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ingest.batching.write_batch import LateFrames

QUIET_S = 1.0
LONGEST_S = 30.0


@dataclass(frozen=True, slots=True)
class _Waiting:
    late: LateFrames
    since: float
    due_at: float


class LateSessions:
    """The sessions of one partition that wait to be timed again."""

    def __init__(self) -> None:
        self._waiting: dict[int, _Waiting] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def note(self, late: Iterable[LateFrames], *, now: float) -> None:
        """Note that these sessions have got late frames."""
        for late_frames in late:
            before = self._waiting.get(late_frames.session_id)
            since = before.since if before else now
            if before:
                late_frames = replace(
                    late_frames, from_us=min(late_frames.from_us, before.late.from_us)
                )
            due_at = min(now + QUIET_S, since + LONGEST_S)
            self._waiting[late_frames.session_id] = _Waiting(late_frames, since, due_at)

    def due(self, *, now: float) -> list[LateFrames]:
        """Return the sessions that have waited long enough; they do not wait any more."""
        due = [waiting.late for waiting in self._waiting.values() if now >= waiting.due_at]
        for late in due:
            del self._waiting[late.session_id]
        return due
