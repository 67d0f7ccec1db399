"""Finds the events between one frame and the next, for many sessions at once, and sums them over a
stretch.

An event is a bit of a number for each frame. Batches are small and many, and one array costs less
than ten. The module knows no laps: `analytics.laps.session_timer` decides the meaning of an event.
Rule: the events before a session's first frame are unknown.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.laps.clock_fit import StepSums, fill_step_terms
from analytics.laps.crossing import clock_restarts, from_line, reach
from analytics.laps.frame_arrays import FrameArrays
from analytics.model.arrays import Integers, Mask, Reals
from analytics.model.track_layout import TrackLayout

Bits = NDArray[np.int16]

EVENT = 1  # the counter moved, or the clock restarted or began to run
HOLE = 2  # frames are missing
LONG_HOLE = 4  # frames are missing, and the car drove on meanwhile
JUMP = 8  # the car was put elsewhere
JUMP_BACK = 16
PIT_ENTRY = 32
SECTOR = 64  # the game went on to its next sector
MARK = 128  # the car passed a timing mark
INVALID = 256  # the game began to report the lap as invalid
FAR_SIDE = 512  # a state of one frame, not an event between two

#: The events that require an examination of single frames.
LOUD = EVENT | SECTOR | MARK

IN_PIT = 2
#: The game's value for a lap that does not count.
NOT_VALID = 2
#: This many frames before a new one decide its meaning: they show whether the whole recording is as
#: slow.
LEAST_RECENT = 4

_HOLE_US = 500_000
# Slower recordings have longer steps everywhere, and no step of theirs misses more than another.
_USUAL_TIMES = 3
_FIRST_STEP_US = 1_000_000
# A car that stood during a hole, or moved by its length, missed nothing.
_MISSED_M = 10.0
# During a hole this long, a car can drive a lap and return to its place. The clock then shows
# whether the game was paused.
_A_LAP_US = 10_000_000
# A longer step is not a hole: a clock was set, or a session's name was used again.
_A_DAY_US = 86_400_000_000
_DRIVING_KMH = 20.0
# If a car moves by less than this share of its speed, the car or the game stands still.
_STILL = 0.1
_STANDING_KMH = 5.0
_ASSUMED_LENGTH_M = 5_000.0


@dataclass(frozen=True, slots=True)
class Tally:
    """A summary of consecutive frames: all their events, the number of holes, the top speed and the
    last sector.

    ``still_us`` is the time in which the car did not move. ``validity`` is that of the lap in the
    last frame. ``fit`` measures how well the clocks agree with the car.
    """

    bits: int
    holes: int
    max_speed_kmh: float
    last_sector: int
    still_us: int
    validity: int
    fit: StepSums


@dataclass(frozen=True, slots=True, eq=False)
class FrameEvents:
    """The events before each of several consecutive frames.

    ``reach`` is the farthest that a car can have moved since the frame before, as a share of a lap.
    ``still_us`` is the time since that frame if the car did not move. ``fit_terms`` are the terms
    that the step from that frame adds to `StepSums`.
    """

    bits: Bits
    reach: Reals
    still_us: Integers
    fit_terms: Integers

    @classmethod
    def of(
        cls,
        arrays: FrameArrays,
        starts: Integers,
        lengths: Integers,
        layouts: Sequence[TrackLayout],
    ) -> "FrameEvents":
        """Return the events of sessions that lie one after the other.

        Each session has a track layout, a first frame from ``starts`` and a number of frames from
        ``lengths``.
        """
        length_m = _of_frames([layout.length_m or 0.0 for layout in layouts], lengths)
        count = len(arrays)
        terms = np.empty((len(StepSums._fields), count), np.int64)
        events = cls(_own(arrays), np.empty(count), np.empty(count, np.int64), terms)
        events._note_steps(arrays, length_m, starts)
        bits = events.bits
        bits[_passed(arrays, lengths, layouts, bits)] |= MARK
        bits[starts] &= FAR_SIDE
        events.reach[starts] = 0
        events.still_us[starts] = 0
        events.fit_terms[:, starts] = 0
        return events

    def _note_steps(self, arrays: FrameArrays, length_m: Reals | float, starts: Integers) -> None:
        """Note the events between each frame and the next, the still times and the fit terms."""
        whole = np.diff(arrays.whole)
        time, sequence, counter, clock, sector = whole[0], whole[1], whole[2], whole[3], whole[5]
        step = np.diff(arrays.since_line)
        moved = step - np.rint(step)
        speeds = np.abs(arrays.speed_kmh)
        speed = np.maximum(speeds[1:], speeds[:-1])
        self.reach[1:] = reach(time, speed, length_m)
        distance = np.abs(moved)
        jump, moved_m = distance > self.reach[1:], _moved_m(distance, length_m)
        unseen = _unseen(time, clock, moved_m, speed, starts)
        missing = (sequence > 1) & (arrays.sequence[:-1] > 0)
        in_pit = arrays.pit >= IN_PIT
        not_valid = arrays.validity == NOT_VALID
        clock_starts = (arrays.lap_clock_ms[:-1] == 0) & (clock > 0)
        bits = self.bits[1:]
        for mask, bit in (
            ((counter != 0) | clock_restarts(arrays) | clock_starts, EVENT),
            (unseen | missing, HOLE),
            (unseen, LONG_HOLE),
            (jump, JUMP),
            (jump & ((moved < 0) | (step < 0)), JUMP_BACK),
            (in_pit[1:] & ~in_pit[:-1], PIT_ENTRY),
            (sector > 0, SECTOR),
            (not_valid[1:] & ~not_valid[:-1], INVALID),
        ):
            if mask.any():  # most are rare
                bits |= mask * np.int16(bit)
        np.multiply(_still(time, moved_m, speed), time, out=self.still_us[1:])
        held = stuck(arrays.normalized_position)
        seen = ~(unseen | jump | held[1:] | held[:-1])
        fill_step_terms(
            self.fit_terms[:, 1:], time, clock, moved, (speeds[1:] + speeds[:-1]) / 2, seen
        )

    def take(self, frames: slice) -> "FrameEvents":
        """Return the events of these frames."""
        return FrameEvents(
            self.bits[frames], self.reach[frames], self.still_us[frames], self.fit_terms[:, frames]
        )

    def fit(self, first: int, end: int) -> StepSums:
        """Return how well the clocks agree with the car, over a range of steps.

        These are the steps that lead to frames ``first`` to before ``end``.
        """
        return StepSums(*self.fit_terms[:, first:end].sum(axis=1).tolist())

    def clear(self, i: int, what: int) -> None:
        """Clear the events ``what`` before frame ``i``."""
        self.bits[i] &= ~what


def tallies(
    arrays: FrameArrays, events: FrameEvents, firsts: Integers, ends: Integers
) -> list[Tally]:
    """Return a tally of frames ``firsts[i]`` to before ``ends[i]`` for each i.

    None of these stretches is empty, and they are in order.
    """
    # Take the even stretches between consecutive places: the odd ones lie between the tallies.
    # Frames outside are left out. When a day is timed at once, each lap would otherwise read all
    # frames after it.
    first, last = int(firsts[0]), int(ends[-1])
    inside = slice(first, last)
    places = np.column_stack([firsts, ends]).ravel()
    places = places[places < last] - first
    bits = events.bits
    answers = (
        np.bitwise_or.reduceat(bits[inside], places),
        np.add.reduceat((bits[inside] & HOLE) // HOLE, places, dtype=np.int64),
        np.maximum.reduceat(arrays.speed_kmh[inside], places),
        np.maximum.reduceat(arrays.sector[inside], places),
        np.add.reduceat(events.still_us[inside], places),
    )
    validity = arrays.validity[ends - 1].tolist()
    fits = np.add.reduceat(events.fit_terms[:, inside], places, axis=1)[:, ::2].T.tolist()
    columns = (
        *(answer[::2].tolist() for answer in answers),
        validity,
        [StepSums(*fit) for fit in fits],
    )
    return [Tally(*row) for row in zip(*columns, strict=True)]


def _own(arrays: FrameArrays) -> Bits:
    far_side = np.abs(from_line(arrays.since_line)) > 0.4
    bits: Bits = far_side * np.int16(FAR_SIDE)
    return bits


def _moved_m(distance: Reals, length_m: Reals | float) -> Reals:
    length = np.atleast_1d(length_m)
    length = np.where(length > 0, length, _ASSUMED_LENGTH_M)
    metres: Reals = distance * length[-len(distance) :]
    return metres


def _still(time_us: Integers, moved_m: Reals, speed_kmh: Reals) -> Mask:
    """Return where the car moved by less than its speed implies, or stood."""
    least_m = _STILL * speed_kmh
    least_m /= 3.6
    least_m *= time_us
    least_m /= 1e6
    still: Mask = (moved_m <= least_m) | (speed_kmh < _STANDING_KMH)
    return still


def _unseen(
    time_us: Integers, clock_ms: Integers, moved_m: Reals, speed_kmh: Reals, starts: Integers
) -> Mask:
    """Return where so much time passed between two frames that the car drove unseen."""
    unseen: Mask = time_us > _HOLE_US
    if not unseen.any():
        # This is nearly always so.
        return unseen
    before = _step_before_us(time_us, starts)
    usual_m = speed_kmh / 3.6 * before / 1e6
    round_trip = (time_us >= _A_LAP_US) & (2000 * clock_ms >= time_us) & (speed_kmh >= _DRIVING_KMH)
    unseen &= time_us > _USUAL_TIMES * before
    unseen &= (moved_m > _MISSED_M + usual_m) | round_trip | (time_us > _A_DAY_US)
    return unseen


def _step_before_us(time_us: Integers, starts: Integers) -> Integers:
    """Return the longer of the two steps before each step, in µs."""
    own = time_us.copy()
    own[starts[1:] - 1] = 0  # between two sessions
    before = np.zeros_like(own)
    before[1:] = own[:-1]
    before[2:] = np.maximum(before[2:], own[:-2])
    # The usual step of a session is still unknown at its start.
    before[starts[starts < len(before)]] = _FIRST_STEP_US
    return before


def _passed(
    arrays: FrameArrays, lengths: Integers, layouts: Sequence[TrackLayout], bits: Bits
) -> Integers:
    """Return the frames before which the car passed a mark of its track, forwards and seen."""
    different = {id(layout): layout for layout in layouts}
    # The marks of layout k lie between k and k+1, so that one search finds all marks.
    marks = np.concatenate([np.add(layout.marks, k) for k, layout in enumerate(different.values())])
    where = {layout: float(k) for k, layout in enumerate(different)}
    shift = _of_frames([where[id(layout)] for layout in layouts], lengths)
    cell = np.searchsorted(marks, arrays.since_line + shift, side="right")
    passed = np.flatnonzero(cell[1:] > cell[:-1]) + 1
    step = arrays.since_line[passed] - arrays.since_line[passed - 1]
    held = stuck(arrays.normalized_position)
    seen = (bits[passed] & (JUMP | LONG_HOLE)) == 0
    answer: Integers = passed[seen & (step < 0.5) & ~held[passed] & ~held[passed - 1]]
    return answer


def stuck(position: Reals) -> Mask:
    """Return where the game holds the position, over some metres around the origin.

    It holds it at exactly 1.0 and then 0.0.
    """
    held: Mask = (position <= 0) | (position >= 1)
    return held


def _of_frames(values: Sequence[float], lengths: Integers) -> Reals | float:
    """Return the value of its session for each frame, or a single value if all sessions have the
    same.
    """
    if values.count(values[0]) == len(values):
        return values[0]
    return np.repeat(np.array(values), lengths)
