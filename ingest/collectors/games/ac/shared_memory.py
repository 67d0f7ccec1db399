"""Reads Assetto Corsa's shared memory at the requested rate of frames.

ACC has pages of the same names. The static page identifies the game, and only AC's pages are used
here.
"""

from pathlib import Path

from ingest.collectors.games.ac.clocks import ClockReading
from ingest.collectors.games.ac.page_layout import AC_VERSION, ACC_VERSION, SIZES
from ingest.collectors.games.ac.page_sessions import AcPageSessions
from ingest.collectors.games.anomalies import AnomalyCounts
from ingest.collectors.games.interface import GameEvent
from ingest.collectors.games.shared_memory import Pages, SharedMemory

#: Interval at which missing pages are looked for.
SEARCH_S = 0.25
#: Pages unchanged for so long belong to no running game: a killed bridge leaves its last pages
#: behind.
ABANDONED_AFTER_S = 60.0


class Memory:
    """Reads AC's pages at a steady rate. `take` waits for nothing; call it again at ``due_s``."""

    def __init__(
        self, complaints: AnomalyCounts, *, rate_hz: float, folder: Path | None = None
    ) -> None:
        self.due_s = float("-inf")
        self._complaints, self._period_s = complaints, 1 / rate_hz
        self._pages = SharedMemory(SIZES, complaints, folder=folder)
        self._sessions = AcPageSessions(complaints, rate_hz=rate_hz)

    @property
    def there(self) -> bool:
        """Return whether there are pages, of any game."""
        return self._pages.present

    def in_use(self, now_s: float) -> bool:
        """Return whether a game writes the pages, or is paused."""
        return now_s - self._sessions.moved_s < ABANDONED_AFTER_S

    def take(self, now: ClockReading) -> list[GameEvent]:
        """Return the events since the last call; none before the next look is due."""
        return self.look(now) if now.monotonic_s >= self.due_s else []

    def look(self, now: ClockReading) -> list[GameEvent]:
        """Return the events since the last call at once, before the next look is due too."""
        moved_s = self._sessions.moved_s
        events = self._read_events(now)
        self._plan(now.monotonic_s, moved=self._sessions.moved_s > moved_s)
        return events

    def end(self, reason: str) -> list[GameEvent]:
        """End the session, if one runs."""
        return self._sessions.end(reason)

    def close(self) -> None:
        """Close the pages."""
        self._pages.close()

    def _read_events(self, now: ClockReading) -> list[GameEvent]:
        pages = self._pages.snapshot(now.monotonic_s)
        if pages is None:
            return [] if self._pages.present else self._sessions.end("the game is gone")
        if not self._are_ours(pages):
            return self._sessions.end("the pages are not AC's")
        return self._sessions.take(pages, now)

    def _are_ours(self, pages: Pages) -> bool:
        if pages.version not in (AC_VERSION, ACC_VERSION, ""):
            self._complaints.add("shared memory of an unknown version", pages.version)
        return pages.version == AC_VERSION

    def _plan(self, now_s: float, *, moved: bool) -> None:
        if not self._pages.present:
            self.due_s = now_s + SEARCH_S
        elif moved:
            on_beat = now_s - self.due_s < self._period_s  # missed looks are not made up for
            self.due_s = (self.due_s if on_beat else now_s) + self._period_s
        else:
            # The game writes its next picture at any moment, or it is paused.
            expected = now_s - self._sessions.moved_s < 2 * self._period_s
            self.due_s = now_s + (self._period_s / 4 if expected else self._period_s)
