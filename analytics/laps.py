"""The lap engine: frames in, laps out, the same whether they come live or all at once.

`advance` takes a session's next frames and what it carried over from the ones before; `resume` makes that carry-over anew from
stored frames. Neither knows a clock, a database or a broker. Rules:

* A lap ends where the game's lap counter rises, or, where the counter stands still, where its lap clock restarts at the line.
* However a session is cut into batches, the last emission of each lap is the same.
* A frame that is not later than every frame before it is not looked at: a late resend is kept by the store and ignored here.
* The counter going back, or the clock restarting away from the line, is the game being restarted: the attempt under way is
  dropped and its number given to the next one. Numbers therefore never come twice, and no finished lap is overwritten; after a
  restart they differ from the game's counter. The frames of a lap are those between its start and the next one's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from analytics.line import LOOKBACK_US, clock_restarts, crossing_us, from_line, reach
from analytics.stretch import Integers, Mask, Stretch

#: All there are, in the order in which a lap names them. A lap without any is a flying lap.
FLAGS = ("out", "in", "partial", "invalid", "reset")

#: How much of the time before a lap `resume` has to see.
RESUME_MARGIN_US = 2 * LOOKBACK_US

_HOLE_US = 500_000
_OFFICIAL_WITHIN_US = 10_000_000
_OFFICIAL_TOLERANCE_MS = 5
# A counter that follows a restart of the clock by less belongs to the same crossing.
_COUNTER_WITHIN_US = 3_000_000
_SHORTEST_LAP_MS = 10_000
# Longer is a clock that was set, or a session's name that was used again: no time, and none that a column could not hold.
_LONGEST_LAP_MS = 86_400_000
# Beyond this, the lap clock and the time that went by disagree because the game was paused.
_PAUSE_MS = 250
_STANDING_KMH = 5.0
_IN_PIT = 2
_INVALID = 2


@dataclass(frozen=True, slots=True)
class Lap:
    """A lap that ended. ``started_at_us`` is in µs since the Unix epoch; a time that is not known is None.

    ``official_lap_time_ms`` is the game's and comes late: the lap is emitted again with it.
    """

    lap_number: int
    started_at_us: int
    lap_time_ms: int | None
    official_lap_time_ms: int | None
    sector_times_ms: tuple[int, ...]
    sector_source: str
    flags: tuple[str, ...]
    frames: int
    gaps: int
    max_speed_kmh: float


@dataclass(frozen=True, slots=True)
class _Tally:
    """What frames that follow one another in a session say of the lap that they belong to."""

    event: bool
    partial: bool
    invalid: bool
    reset: bool
    holes: int
    max_speed_kmh: float
    last_sector: int
    sector_rises: bool
    on_far_side: bool

    @property
    def quiet(self) -> bool:
        """Whether there is neither a line nor the end of a sector among them."""
        return not (self.event or self.sector_rises)

    @property
    def flags(self) -> frozenset[str]:
        raised = (("partial", self.partial), ("invalid", self.invalid), ("reset", self.reset))
        return frozenset(flag for flag, is_raised in raised if is_raised)


@dataclass(frozen=True, slots=True)
class OpenLap:
    """The lap being driven, as far as it has come."""

    lap_number: int
    started_at_us: int
    official_before_ms: int
    timed_from_line: bool = True
    entered_by_clock: bool = False
    saw_far_side: bool = False
    first_clock_ms: int = 0
    flags: frozenset[str] = frozenset()
    frames: int = 0
    gaps: int = 0
    max_speed_kmh: float = 0.0
    last_sector: int = 0
    splits_us: tuple[int, ...] = ()

    def driven(self, frames: int, tally: _Tally, splits_us: tuple[int, ...]) -> "OpenLap":
        """This lap with so many more frames, which ``tally`` is of."""
        return replace(
            self,
            flags=self.flags | tally.flags,
            frames=self.frames + frames,
            gaps=self.gaps + tally.holes,
            max_speed_kmh=max(self.max_speed_kmh, tally.max_speed_kmh),
            last_sector=max(self.last_sector, tally.last_sector),
            splits_us=splits_us,
            saw_far_side=self.saw_far_side or tally.on_far_side,
        )


@dataclass(frozen=True, slots=True)
class EndedLap:
    """A lap whose official time may still come."""

    lap: Lap
    ended_at_us: int
    official_before_ms: int


@dataclass(frozen=True, slots=True, eq=False)
class Carry:
    """What one batch of a session leaves to the next. ``ahead`` is our lap number less the game's counter."""

    recent: Stretch
    open: OpenLap
    ended: EndedLap | None = None
    ahead: int = 0


def advance(frames: pa.Table, carry: Carry | None) -> tuple[list[Lap], Carry | None]:
    """The laps that these frames end or correct, and the carry-over for the next ones.

    ``frames`` has the columns of `analytics.channels.FRAMES` and holds one session in driven order. A lap may come again, in this
    call's answer or a later one's; the last emission counts. The carry is None only before the first frame.
    """
    return advance_each(frames, [frames.num_rows], [carry])[0]


def advance_each(
    frames: pa.Table, ends: Sequence[int], carries: Sequence[Carry | None]
) -> list[tuple[list[Lap], Carry | None]]:
    """`advance` for several sessions at once, which costs hardly more than for one with as many frames.

    The frames of session i are those from ``ends[i - 1]`` (0 for the first) to before ``ends[i]``; ``carries[i]`` is its own.
    """
    everything = Stretch.of(frames)
    answers: list[tuple[list[Lap], Carry | None]] = [([], carry) for carry in carries]
    pieces: list[Stretch] = []
    moving: list[tuple[int, Carry, int]] = []
    for i, (start, end, carry) in enumerate(zip([0, *ends], ends, carries, strict=False)):
        driven = everything.take(slice(start, end)).after(int(carry.recent.time[-1]) if carry else None)
        if len(driven):
            carry = carry or Carry(driven.take(slice(0)), _attempt(driven, 0, int(driven.lap_number[0])))
            pieces += [carry.recent, driven]
            moving.append((i, carry, len(carry.recent) + len(driven)))
    if moving:
        stretch = Stretch.joined(pieces)
        edges = np.cumsum([0, *(length for _, _, length in moving)])
        between = _Between.of(stretch, edges[:-1])
        firsts = edges[:-1] + [len(carry.recent) for _, carry, _ in moving]
        tallies = _tallies(stretch, between, firsts, edges[1:])
        for (i, carry, length), start, tally in zip(moving, edges.tolist(), tallies, strict=False):
            rows = slice(start, start + length)
            mine = stretch.take(rows)
            if tally.quiet and not carry.ended:
                # Nearly always, and then nothing needs to be looked at frame by frame.
                lap = carry.open.driven(length - len(carry.recent), tally, carry.open.splits_us)
                answers[i] = [], Carry(mine.recent(LOOKBACK_US), lap, None, carry.ahead)
            else:
                answers[i] = _Timing(mine, between.take(rows), carry).run(len(carry.recent), tally)
    return answers


def resume(frames: pa.Table, *, lap_number: int, started_at_us: int) -> tuple[list[Lap], Carry | None]:
    """As if `advance` had never stopped: the carry-over from stored frames, and the laps from ``lap_number`` on among them.

    ``lap_number`` and ``started_at_us`` are the last finished lap that is stored. ``frames`` are all stored frames of the session
    in order of time, beginning with the last one before ``started_at_us - RESUME_MARGIN_US`` (or with the first one, if none is
    so old); `analytics.database.frames_to_resume` reads them. Where no lap is stored, give all frames to `advance` instead.
    The frames before the lap stand for it being entered: what they make of the lap before is thrown away.
    Exact as long as laps are longer than ten seconds and no resend filled a hole meanwhile.
    """
    laps, carry = advance(frames, None)
    if carry is None:
        return [], None
    starts: Sequence[Lap | OpenLap] = [*laps, carry.open]
    same = min(starts, key=lambda lap: abs(lap.started_at_us - started_at_us))
    shift = lap_number - same.lap_number
    laps = [replace(lap, lap_number=lap.lap_number + shift) for lap in laps]
    return [lap for lap in laps if lap.lap_number >= lap_number], _renumbered(carry, shift)


def _renumbered(carry: Carry, shift: int) -> Carry:
    ended = carry.ended
    if ended:
        ended = replace(ended, lap=replace(ended.lap, lap_number=ended.lap.lap_number + shift))
    lap = replace(carry.open, lap_number=carry.open.lap_number + shift)
    return Carry(carry.recent, lap, ended, carry.ahead + shift)


def _attempt(stretch: Stretch, i: int, number: int) -> OpenLap:
    """A lap that frame ``i`` begins without a line before it: the session's first, or the first after a restart."""
    off_line = float(from_line(stretch.normalized_position[i : i + 1])[0])
    clock_ms = int(stretch.lap_clock_ms[i])
    in_pit = stretch.pit[i] >= _IN_PIT
    standing = abs(stretch.speed_kmh[i]) < _STANDING_KMH and abs(off_line) < 0.1
    at_line = 0 <= off_line < 0.02 and clock_ms <= 1000
    return OpenLap(
        lap_number=number,
        started_at_us=int(stretch.time[i]) - 1000 * clock_ms,
        official_before_ms=int(stretch.last_lap_time_ms[i]),
        timed_from_line=False,
        first_clock_ms=clock_ms,
        flags=frozenset({"out"} if in_pit or standing else () if at_line else {"partial"}),
    )


@dataclass(slots=True)
class _Between:
    """What happened between frame i-1 and frame i. Nothing is known of the past of a session's first frame."""

    hole: Mask
    long_hole: Mask
    jump: Mask
    jump_back: Mask
    event: Mask
    reach: np.ndarray = field(repr=False)

    @classmethod
    def of(cls, stretch: Stretch, firsts: Integers) -> "_Between":
        """Of sessions that lie one behind the other, each beginning at one of ``firsts``."""
        sequence, position = stretch.sequence, stretch.normalized_position
        far = reach(stretch)
        step = np.diff(position)
        moved = step - np.rint(step)
        jump = np.abs(moved) > far
        long_hole = np.diff(stretch.time) > _HOLE_US
        missing = (np.diff(sequence) > 1) & (sequence[:-1] > 0)
        columns = (
            long_hole | missing,
            long_hole,
            jump,
            jump & ((moved < 0) | (step < 0)),
            (np.diff(stretch.lap_number) != 0) | clock_restarts(stretch),
            far,
        )
        between = cls(*(np.concatenate([np.zeros(1, column.dtype), column]) for column in columns))
        for column in between._columns():
            column[firsts] = 0
        return between

    def take(self, frames: slice) -> "_Between":
        return _Between(*(column[frames] for column in self._columns()))

    def _columns(self) -> tuple[np.ndarray, ...]:
        return (self.hole, self.long_hole, self.jump, self.jump_back, self.event, self.reach)

    def forget(self, i: int) -> None:
        for column in (self.hole, self.long_hole, self.jump, self.jump_back):
            column[i] = False


def _tallies(stretch: Stretch, between: _Between, firsts: Integers, ends: Integers) -> list[_Tally]:
    """A tally of frames ``firsts[i]`` to before ``ends[i]`` for each i. None is empty, and they are in order."""
    # Of the stretches from each place to the next, the even ones are wanted and the odd ones lie between them.
    places = np.column_stack([firsts, ends]).ravel()
    places = places[places < len(stretch)]
    rises = np.diff(stretch.sector, prepend=stretch.sector[:1]) > 0
    answers = [
        np.logical_or.reduceat(between.event, places),
        np.logical_or.reduceat(between.long_hole | between.jump, places),
        np.logical_or.reduceat(stretch.validity == _INVALID, places),
        np.logical_or.reduceat(between.jump_back, places),
        np.add.reduceat(between.hole.astype(np.int64), places),
        np.maximum.reduceat(stretch.speed_kmh, places),
        np.maximum.reduceat(stretch.sector, places),
        np.logical_or.reduceat(rises, places),
        np.logical_or.reduceat(np.abs(from_line(stretch.normalized_position)) > 0.4, places),
    ]
    return [_Tally(*row) for row in zip(*(answer[::2].tolist() for answer in answers), strict=True)]


class _Timing:
    """One session in one call: the open lap and the ended one move along the stretch from event to event."""

    def __init__(self, stretch: Stretch, between: _Between, carry: Carry) -> None:
        self.stretch = stretch
        self.between = between
        self.open = carry.open
        self.ended = carry.ended
        self.ahead = carry.ahead
        self.laps: dict[int, Lap] = {}

    def run(self, first: int, tally: _Tally) -> tuple[list[Lap], Carry]:
        """Take in the frames from ``first`` on, which ``tally`` is of."""
        if tally.event:
            self._from_event_to_event(first)
        else:
            self._drive(first, len(self.stretch), tally)
        return list(self.laps.values()), Carry(self.stretch.recent(LOOKBACK_US), self.open, self.ended, self.ahead)

    def _from_event_to_event(self, first: int) -> None:
        start = first
        for event in (np.flatnonzero(self.between.event[first:]) + first).tolist():
            self._drive(start, event)
            self._meet(event)
            start = event
        self._drive(start, len(self.stretch))

    def _meet(self, i: int) -> None:
        """Decide what the moving counter or the restarting clock at frame ``i`` means."""
        counted = int(self.stretch.lap_number[i] - self.stretch.lap_number[i - 1])
        if counted < 0 or (counted == 0 and self.between.jump[i]):
            self._restart(i)
        elif counted > 0 and self._same_crossing(i):
            self.ahead -= counted
        elif counted > 0:
            self._cross(i, int(self.stretch.lap_number[i]) + self.ahead, by_clock=False)
        elif self._clock_says_line(i):
            self.ahead += 1
            self._cross(i, self.open.lap_number + 1, by_clock=True)

    def _same_crossing(self, i: int) -> bool:
        return self.open.entered_by_clock and self.stretch.time[i] - self.open.started_at_us <= _COUNTER_WITHIN_US

    def _clock_says_line(self, i: int) -> bool:
        """A clock also restarts when the lights go green, and seconds after the line where the game is slow to show it."""
        stretch = self.stretch
        if self.open.timed_from_line and stretch.time[i] - self.open.started_at_us < 1000 * _SHORTEST_LAP_MS:
            return False
        off_line = abs(float(from_line(stretch.normalized_position[i : i + 1])[0]))
        return bool(
            stretch.lap_clock_ms[i - 1] >= _SHORTEST_LAP_MS
            and stretch.speed_kmh[i] >= _STANDING_KMH
            and off_line <= 0.02 + self.between.reach[i]
        )

    def _restart(self, i: int) -> None:
        number = self.open.lap_number
        attempt = _attempt(self.stretch, i, number)
        self.open = replace(attempt, flags=attempt.flags | {"reset"})
        self.ended = None
        self.ahead = number - int(self.stretch.lap_number[i])
        self.between.forget(i)

    def _cross(self, i: int, number: int, *, by_clock: bool) -> None:
        line_us = crossing_us(self.stretch, i)
        before = int(self.stretch.last_lap_time_ms[i - 1]) if self.ended else self.open.official_before_ms
        lap = self._finish(i, line_us)
        self.laps[lap.lap_number] = lap
        self.ended = EndedLap(lap, line_us, before)
        number = max(number, lap.lap_number + 1)
        self.ahead = number - int(self.stretch.lap_number[i])
        out = frozenset({"out"} if self.stretch.pit[i] >= _IN_PIT else ())
        self.open = OpenLap(number, line_us, before, entered_by_clock=by_clock, flags=out)

    def _finish(self, i: int, line_us: int) -> Lap:
        lap, between = self.open, self.between
        flags = set(lap.flags)
        flags |= {"in"} if self.stretch.pit[i - 1] >= _IN_PIT else set()
        # Recorded from a grid just before the line, and counted there: most of the lap was never driven.
        cut_short = not lap.timed_from_line and not lap.saw_far_side
        flags |= {"partial"} if cut_short or between.long_hole[i] or between.jump[i] else set()
        lap_time_ms = self._lap_time_ms(i, line_us)
        sectors = () if "partial" in flags else _sector_times_ms(lap, line_us, lap_time_ms)
        return Lap(
            lap_number=lap.lap_number,
            started_at_us=lap.started_at_us,
            lap_time_ms=lap_time_ms,
            official_lap_time_ms=None,
            sector_times_ms=sectors,
            sector_source="game" if sectors else "",
            flags=tuple(flag for flag in FLAGS if flag in flags),
            frames=lap.frames,
            gaps=lap.gaps + int(between.hole[i]),
            max_speed_kmh=lap.max_speed_kmh,
        )

    def _lap_time_ms(self, i: int, line_us: int) -> int | None:
        """Line to line, unless the lap began elsewhere or the game was paused: then what the game's clock read at the line."""
        passed_ms = _ms(line_us - self.open.started_at_us)
        clock_ms = int(self.stretch.lap_clock_ms[i - 1]) + _ms(line_us - int(self.stretch.time[i - 1]))
        if not self.open.timed_from_line:
            return clock_ms if self.open.first_clock_ms + 1000 < clock_ms <= _LONGEST_LAP_MS else None
        paused = _SHORTEST_LAP_MS <= clock_ms < passed_ms - _PAUSE_MS
        lap_time_ms = clock_ms if paused else passed_ms
        return lap_time_ms if 0 < lap_time_ms <= _LONGEST_LAP_MS else None

    def _drive(self, a: int, b: int, tally: _Tally | None = None) -> None:
        """Frames a..b-1 belong to the open lap; ``tally`` is theirs, if it is known."""
        if a == b:
            return
        self._listen(a, b)
        if tally is None:
            (tally,) = _tallies(self.stretch, self.between, np.array([a]), np.array([b]))
        splits_us = self._splits_us(a, b) if tally.sector_rises else self.open.splits_us
        self.open = self.open.driven(b - a, tally, splits_us)

    def _splits_us(self, a: int, b: int) -> tuple[int, ...]:
        """Where the game went from one sector to the next, half way between the frames that tell."""
        splits, sector, time = self.open.splits_us, self.stretch.sector, self.stretch.time
        first = max(a, 1)
        for j in (np.flatnonzero(sector[first:b] > sector[first - 1 : b - 1]) + first).tolist():
            # The first frames of a lap may still carry the last sector of the one before: only the next one counts.
            if sector[j] == len(splits) + 2 and sector[j - 1] == len(splits) + 1:
                splits = (*splits, int(time[j - 1] + time[j]) // 2)
        return splits

    def _listen(self, a: int, b: int) -> None:
        """Take the official time of the lap that ended, if it is among frames a..b-1."""
        if not self.ended:
            return
        until = a + int(np.searchsorted(self.stretch.time[a:b], self.ended.ended_at_us + _OFFICIAL_WITHIN_US, "right"))
        official = _official_ms(self.ended, self.stretch.last_lap_time_ms[a:until])
        if official is not None:
            lap = replace(self.ended.lap, official_lap_time_ms=official)
            self.laps[lap.lap_number] = lap
            self.ended = replace(self.ended, lap=lap)
        if until < b:
            self.open = replace(self.open, official_before_ms=int(self.stretch.last_lap_time_ms[until - 1]))
            self.ended = None


def _official_ms(ended: EndedLap, told_ms: np.ndarray) -> int | None:
    """The first time that differs from what was told before the line; else one that fits ours (two laps may be equal)."""
    known, ours = ended.lap.official_lap_time_ms, ended.lap.lap_time_ms
    if known is not None and known != ended.official_before_ms:
        return None
    changed = told_ms[(told_ms > 0) & (told_ms != ended.official_before_ms)]
    if len(changed):
        return int(changed[0])
    if known is None and ours is not None:
        fitting = told_ms[(told_ms > 0) & (np.abs(told_ms - ours) <= _OFFICIAL_TOLERANCE_MS)]
        return int(fitting[0]) if len(fitting) else None
    return None


def _sector_times_ms(lap: OpenLap, line_us: int, lap_time_ms: int | None) -> tuple[int, ...]:
    """Times that add up to the lap's; none where a sector was missed or the game was paused."""
    complete = lap.splits_us and len(lap.splits_us) + 1 == lap.last_sector
    marks = [_ms(mark - lap.started_at_us) for mark in (*lap.splits_us, line_us)]
    if not complete or marks[-1] != lap_time_ms:
        return ()
    return tuple(end - start for start, end in zip([0, *marks], marks, strict=False))


def _ms(us: int) -> int:
    return (us + 500) // 1000
