"""Moves the open lap and the ended lap of one session along the frames of a batch, event by event.

It decides whether an event is a line, a restart, or nothing. `analytics.laps.crossing` computes the
time of the crossing, `analytics.laps.lap_result` the result of the lap.
"""

from bisect import bisect_right
from dataclasses import replace

import numpy as np

from analytics.laps.crossing import LOOKBACK_US, crossing_us, from_line, mark_us, share_at_crossing
from analytics.laps.frame_arrays import FrameArrays
from analytics.laps.frame_events import (
    EVENT,
    HOLE,
    IN_PIT,
    JUMP,
    JUMP_BACK,
    LEAST_RECENT,
    LONG_HOLE,
    MARK,
    PIT_ENTRY,
    SECTOR,
    FrameEvents,
    Tally,
    tallies,
)
from analytics.laps.lap_result import SHORTEST_LAP_MS, finished, official_ms
from analytics.laps.state import EndedLap, EngineState, OpenLap, Passage, Split
from analytics.model.lap import Lap
from analytics.model.track_layout import TrackLayout

# Late values of the game within the shortest lap time belong to the line before. Counters, clocks
# and official times lag.
_WITHIN_US = 1000 * SHORTEST_LAP_MS
_SHOWN_LATE_MS = 500
# A counter that rises farther from the line than the clock restarts was early.
_EARLY = 0.002
_STANDING_KMH = 5.0
# Two clocks of whole milliseconds that differ by no more than this agree.
_SAME_US = 2_000


def attempt(arrays: FrameArrays, i: int, number: int) -> OpenLap:
    """Return a lap that frame ``i`` begins without a line before it.

    It is the session's first lap, or the first one after a restart.
    """
    clock_ms = int(arrays.lap_clock_ms[i])
    return OpenLap(
        lap_number=number,
        started_at_us=int(arrays.time[i]) - 1000 * clock_ms,
        official_before_ms=int(arrays.last_lap_time_ms[i]),
        timed_from_line=False,
        zero_by_clock=True,
        first_clock_ms=clock_ms,
        reasons=frozenset(_reasons_at_start(arrays, i)),
    )


def _reasons_at_start(arrays: FrameArrays, i: int) -> list[str]:
    if arrays.pit[i] >= IN_PIT:
        return ["left_pits"]
    off_line = float(from_line(arrays.since_line[i : i + 1])[0])
    if abs(arrays.speed_kmh[i]) < _STANDING_KMH and abs(off_line) < 0.1:
        return ["standing_start"]
    at_line = 0 <= off_line < 0.02 and int(arrays.lap_clock_ms[i]) <= 1000
    return [] if at_line else ["joined_mid_lap"]


class SessionTimer:
    """Times the laps of one session in one batch.

    ``arrays`` is the end of the earlier frames, then the batch. ``events`` are the events of
    all of it.
    """

    def __init__(
        self, arrays: FrameArrays, events: FrameEvents, state: EngineState, layout: TrackLayout
    ) -> None:
        self.arrays = arrays
        self.events = events
        self.layout = layout
        self.open = state.open
        self.ended = state.ended
        self.ahead = state.ahead
        self.laps: dict[int, Lap] = {}

    def run(self, first: int, tally: Tally) -> tuple[list[Lap], EngineState]:
        """Process the frames from ``first`` on, which ``tally`` summarizes."""
        if tally.bits & EVENT:
            self._from_event_to_event(first)
        else:
            self._advance(first, len(self.arrays), tally)
        recent = self.arrays.recent(LOOKBACK_US, least=LEAST_RECENT)
        return list(self.laps.values()), EngineState(recent, self.open, self.ended, self.ahead)

    def _from_event_to_event(self, first: int) -> None:
        start = first
        for event in (np.flatnonzero(self.events.bits[first:] & EVENT) + first).tolist():
            self._advance(start, event)
            self._handle(event)
            start = event
        self._advance(start, len(self.arrays))

    def _handle(self, i: int) -> None:
        """Decide the meaning of a counter that moves or a clock that restarts at frame ``i``."""
        counted = int(self.arrays.lap_number[i] - self.arrays.lap_number[i - 1])
        if counted < 0 or (counted == 0 and self.events.bits[i] & JUMP):
            self._restart(i)
        elif counted > 0:
            self._count(i, counted)
        elif self._clock_starts(i):
            self._begin_by_clock(i)
        elif self._counted_early(i):
            self._cross_later(i)
        elif self._clock_restarts_at(i):
            self.ahead += 1
            self._cross(i, self.open.lap_number + 1, by_clock=True)

    def _count(self, i: int, counted: int) -> None:
        if self._same_crossing(i):
            self.ahead -= counted
        else:
            self._cross(i, int(self.arrays.lap_number[i]) + self.ahead, by_clock=False)

    def _same_crossing(self, i: int) -> bool:
        return (
            self.open.timed_from_line and self.arrays.time[i] - self.open.started_at_us < _WITHIN_US
        )

    def _clock_starts(self, i: int) -> bool:
        """Return whether the lap begins at frame ``i``, where the clock begins to run.

        This happens after a formation lap, or after a wait on the grid.
        """
        if (
            self.open.timed_from_line
            or self.open.first_clock_ms != 0
            or self.arrays.lap_clock_ms[i - 1] != 0
        ):
            return False
        # Some games show the running clock seconds late, and then show all the time that has
        # passed.
        passed_ms = int(self.arrays.time[i] - self.arrays.time[i - 1]) // 1000
        return bool(0 < self.arrays.lap_clock_ms[i] <= passed_ms + _SHOWN_LATE_MS)

    def _begin_by_clock(self, i: int) -> None:
        begun, before = (attempt(self.arrays, j, self.open.lap_number) for j in (i, i - 1))
        kept = before.reasons & {"standing_start", "left_pits"} | self.open.reasons & {"restarted"}
        self.open = replace(begun, reasons=begun.reasons | kept)

    def _counted_early(self, i: int) -> bool:
        """Return whether the counter rose early, away from the line, and the clock now restarts at
        the line.
        """
        arrays = self.arrays
        if (
            not self.ended
            or not self.ended.as_counted
            or arrays.time[i] - self.ended.ended_at_us > _WITHIN_US
        ):
            return False
        if arrays.lap_clock_ms[i] >= arrays.lap_clock_ms[i - 1] or not self._at_line(i):
            return False
        off_line = share_at_crossing(arrays, i, crossing_us(arrays, i))
        return abs(off_line) + _EARLY < abs(self.open.off_line or 0.0)

    def _at_line(self, i: int) -> bool:
        off_line = abs(float(from_line(self.arrays.since_line[i : i + 1])[0]))
        ran = self.arrays.lap_clock_ms[i - 1] >= SHORTEST_LAP_MS
        moves = self.arrays.speed_kmh[i] >= _STANDING_KMH
        return bool(ran and moves and off_line <= 0.02 + self.events.reach[i])

    def _clock_restarts_at(self, i: int) -> bool:
        """Return whether the restart of the clock at frame ``i`` is a crossing of the line.

        A clock also restarts when the lights go green. It may restart seconds after the line if the
        game shows it late.
        """
        if self.open.timed_from_line and self.arrays.time[i] - self.open.started_at_us < _WITHIN_US:
            return False
        restarts = self.arrays.lap_clock_ms[i] < self.arrays.lap_clock_ms[i - 1]
        return bool(restarts) and self._at_line(i)

    def _restart(self, i: int) -> None:
        number = self.open.lap_number
        begun = attempt(self.arrays, i, number)
        # Frames before belong to the earlier attempt, although a clock that was put back counts
        # some of its time again.
        starts_us = max(begun.started_at_us, int(self.arrays.time[i - 1]) + 1)
        unseen_us = starts_us - begun.started_at_us
        reasons = begun.reasons | {"restarted"}
        self.open = replace(begun, started_at_us=starts_us, unseen_us=unseen_us, reasons=reasons)
        self.ended = None
        self.ahead = number - int(self.arrays.lap_number[i])
        self.events.clear(i, HOLE | LONG_HOLE | JUMP | JUMP_BACK | PIT_ENTRY | MARK)

    def _cross(self, i: int, number: int, *, by_clock: bool) -> None:
        line_us, before_ms = crossing_us(self.arrays, i), self._official_before_ms(i)
        lap = self._end(self.open, i, line_us)
        restarts = bool(self.arrays.lap_clock_ms[i] < self.arrays.lap_clock_ms[i - 1])
        self.ended = EndedLap(lap, line_us, before_ms, None if by_clock or restarts else self.open)
        number = max(number, lap.lap_number + 1)
        self.ahead = number - int(self.arrays.lap_number[i])
        zero_by_clock = restarts and line_us == self._clock_zero_us(i)
        self.open = self._lap_after(self.ended, self.open, i, number, zero_by_clock=zero_by_clock)
        # An event between these two frames lies on both sides of the line.
        self.events.clear(i, PIT_ENTRY | MARK)

    def _official_before_ms(self, i: int) -> int:
        """Return the official time that the game shows before the line at frame ``i``."""
        if self.ended:
            return int(self.arrays.last_lap_time_ms[i - 1])
        return self.open.official_before_ms

    def _end(self, driven: OpenLap, i: int, line_us: int) -> Lap:
        lap = finished(driven, self.layout, self.arrays, i, int(self.events.bits[i]), line_us)
        self.laps[lap.lap_number] = lap
        return lap

    def _lap_after(
        self, ended: EndedLap, driven: OpenLap, i: int, number: int, *, zero_by_clock: bool
    ) -> OpenLap:
        """Return the lap that begins at the line where ``driven`` ended."""
        return OpenLap(
            number,
            ended.ended_at_us,
            ended.official_before_ms,
            zero_by_clock=zero_by_clock,
            reasons=frozenset(["left_pits"] if self.arrays.pit[i] >= IN_PIT else []),
            off_line=share_at_crossing(self.arrays, i, ended.ended_at_us),
            last_sector_before=driven.last_sector,
        )

    def _clock_zero_us(self, i: int) -> int:
        return int(self.arrays.time[i]) - 1000 * int(self.arrays.lap_clock_ms[i])

    def _cross_later(self, i: int) -> None:
        """End the lap at frame ``i``, and not where the counter rose."""
        ended = self.ended
        assert ended is not None
        assert ended.as_counted is not None
        whole = ended.as_counted.going_on(self.open)
        line_us = crossing_us(self.arrays, i)
        lap = self._end(whole, i, line_us)
        self.ended = EndedLap(lap, line_us, ended.official_before_ms)
        number, zero_by_clock = self.open.lap_number, line_us == self._clock_zero_us(i)
        self.open = self._lap_after(self.ended, whole, i, number, zero_by_clock=zero_by_clock)
        self.events.clear(i, PIT_ENTRY | MARK)

    def _advance(self, a: int, b: int, tally: Tally | None = None) -> None:
        """Add frames a..b-1 to the open lap; ``tally`` summarizes them, if it is known."""
        if a == b:
            return
        self._listen(a, b)
        if tally is None:
            (tally,) = tallies(self.arrays, self.events, np.array([a]), np.array([b]))
        splits = self._splits(a, b) if tally.bits & SECTOR else self.open.splits
        marks = self._marks(a, b) if tally.bits & MARK else self.open.marks
        self.open = self.open.driven(self.arrays, slice(a, b), tally, splits=splits, marks=marks)

    def _splits(self, a: int, b: int) -> tuple[Split, ...]:
        """Return the changes of the game's sector, each half way between two frames."""
        splits, arrays = self.open.splits, self.arrays
        for j in (np.flatnonzero(self.events.bits[a:b] & SECTOR) + a).tolist():
            # The first frames of a lap may still carry the last sector of the lap before. Only the
            # next sector in order counts.
            if arrays.sector[j] == len(splits) + 2 and arrays.sector[j - 1] == len(splits) + 1:
                around = arrays.pair(j)
                passed_us = sum(around.time) // 2
                at_us = self._at_us(a, j, passed_us, 500 * sum(around.lap_clock_ms))
                position = sum(arrays.normalized_position[j - 1 : j + 1].tolist()) / 2
                splits = (*splits, Split(at_us, passed_us, position))
        return splits

    def _marks(self, a: int, b: int) -> tuple[Passage, ...]:
        """Return the marks that the car passed, each at its first passage.

        A car that spins and then passes a mark again has one passage only.
        """
        marks, places = list(self.open.marks), self.layout.marks
        for j in (np.flatnonzero(self.events.bits[a:b] & MARK) + a).tolist():
            around = self.arrays.pair(j)
            before, after = around.since_line
            for mark in range(bisect_right(places, before), bisect_right(places, after)):
                if not marks or mark > marks[-1].mark:
                    passed_us, clock_us = mark_us(around, places[mark])
                    marks.append(Passage(mark, self._at_us(a, j, passed_us, clock_us), passed_us))
        return tuple(marks)

    def _at_us(self, a: int, j: int, by_frames_us: int, clock_us: int) -> int:
        """Return the lap's time at a place before frame ``j``; ``a`` as in `_advance`.

        It is by the clock that agrees with the car in the lap so far.
        """
        by_clock_us = self.open.clock_zero_us + clock_us
        if not self.open.zero_by_clock or abs(by_clock_us - by_frames_us) <= _SAME_US:
            # This is nearly always so, and then nothing needs to be summed.
            return by_frames_us
        if self.arrays.lap_clock_ms[j] < self.arrays.lap_clock_ms[j - 1]:
            return by_frames_us
        so_far = self._open_lap_with(a, j + 1)
        reliable = so_far.has_reliable_clock and so_far.clock_fits(
            by_frames_us - so_far.clock_zero_us, clock_us
        )
        return by_clock_us if reliable else by_frames_us

    def _open_lap_with(self, a: int, b: int) -> OpenLap:
        """Return the open lap with what shows whether its clock is right in frames a..b-1."""
        frames = slice(a, b)
        return replace(
            self.open,
            bits=self.open.bits | int(np.bitwise_or.reduce(self.events.bits[frames])),
            still_us=self.open.still_us + int(self.events.still_us[frames].sum()),
            fit=self.open.fit.plus(self.events.fit(a, b)),
        )

    def _listen(self, a: int, b: int) -> None:
        """Take the official time of the ended lap, if it is among frames a..b-1."""
        if not self.ended:
            return
        last_us = self.ended.ended_at_us + _WITHIN_US
        until = a + int(self.arrays.time[a:b].searchsorted(last_us, "right"))
        official = official_ms(self.ended, self.arrays.last_lap_time_ms[a:until])
        if official is not None and official != self.ended.lap.official_lap_time_ms:
            self._correct(self.ended, official)
        if until < b:
            before_ms = int(self.arrays.last_lap_time_ms[until - 1])
            self.open = replace(self.open, official_before_ms=before_ms)
            self.ended = None

    def _correct(self, ended: EndedLap, official_ms: int) -> None:
        lap = replace(ended.lap, official_lap_time_ms=official_ms)
        self.laps[lap.lap_number] = lap
        self.ended = replace(ended, lap=lap)
