"""Schedules the requests for missing frames: one soon, and the next after longer and longer pauses.

Pure: time is an argument.
"""

from collections.abc import Collection
from dataclasses import dataclass

from ingest.backoff import Backoff

#: Frames that only took another route have arrived by then.
FIRST_S = 3.0
_BACKOFF = Backoff(FIRST_S)
#: With pauses that double, the last request comes after some seven hours.
MOST = 13


@dataclass(frozen=True, slots=True)
class _Attempts:
    times: int
    again_at: float


class RetrySchedule:
    """Schedules retries with backoff for things that have a number.

    A number that is not named any more is forgotten.
    """

    def __init__(self) -> None:
        self._attempts: dict[int, _Attempts] = {}

    def due(self, open_ids: Collection[int], *, now: float) -> set[int]:
        """Return the numbers to request now; their next request is put off."""
        self._attempts = {
            id: self._attempts.get(id, _Attempts(0, now + FIRST_S)) for id in open_ids
        }
        due = {
            id
            for id, attempts in self._attempts.items()
            if now >= attempts.again_at and attempts.times < MOST
        }
        for id in due:
            times = self._attempts[id].times + 1
            self._attempts[id] = _Attempts(times, now + _BACKOFF.pause_s(times + 1))
        return due
