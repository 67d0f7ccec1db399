"""What happened between one frame and the next, for many sessions at once, and what that comes to over a stretch.

A happening is a bit of a number for each frame: batches are small and many, and one array costs less than ten. It knows no laps:
`analytics.timing` says what a happening means. Rule: nothing is known of what happened before a session's first frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.course import Course
from analytics.line import clock_restarts, from_line, reach
from analytics.stretch import Integers, Mask, Reals, Stretch

Bits = NDArray[np.int16]

EVENT = 1  # the counter moved, or the clock restarted
HOLE = 2  # frames are missing
LONG_HOLE = 4  # and so many that nobody knows what the car did
JUMP = 8  # the car was put elsewhere
JUMP_BACK = 16
PIT_ENTRY = 32
SECTOR = 64  # the game went on to its next sector
MARK = 128  # a place where time is taken was passed
INVALID = 256  # not between frames, but in one
FAR_SIDE = 512

#: What needs a look at single frames.
LOUD = EVENT | SECTOR | MARK

IN_PIT = 2
_HOLE_US = 500_000
_INVALID = 2


@dataclass(frozen=True, slots=True)
class Tally:
    """What frames that follow one another come to: all their happenings, how many holes, the top speed and the last sector."""

    bits: int
    holes: int
    max_speed_kmh: float
    last_sector: int


@dataclass(frozen=True, slots=True, eq=False)
class Happenings:
    """Of frames in a row: ``bits`` of each, and ``reach``: the share of a lap that a car can have come since the frame before."""

    bits: Bits
    reach: Reals

    @classmethod
    def of(cls, stretch: Stretch, starts: Integers, lengths: Integers, courses: Sequence[Course]) -> "Happenings":
        """Of sessions that lie one behind the other, each with its course: from ``starts``, of so many frames."""
        far = np.zeros(len(stretch))
        far[1:] = reach(stretch, _of_frames([course.length_m or 0.0 for course in courses], lengths))
        bits = _own(stretch)
        bits[1:] |= _between(stretch, far[1:])
        bits[_passed(stretch, lengths, courses, bits)] |= MARK
        bits[starts] &= INVALID | FAR_SIDE
        far[starts] = 0
        return cls(bits, far)

    def take(self, frames: slice) -> "Happenings":
        return Happenings(self.bits[frames], self.reach[frames])

    def forget(self, i: int, what: int) -> None:
        """As if ``what`` had not happened before frame ``i``."""
        self.bits[i] &= ~what


def tallies(stretch: Stretch, bits: Bits, firsts: Integers, ends: Integers) -> list[Tally]:
    """A tally of frames ``firsts[i]`` to before ``ends[i]`` for each i. None is empty, and they are in order."""
    # Of the stretches from each place to the next, the even ones are wanted and the odd ones lie between them.
    # What lies outside is left out: of a day that is timed at once, each lap would look at all that follows it.
    first, last = int(firsts[0]), int(ends[-1])
    inside = slice(first, last)
    places = np.column_stack([firsts, ends]).ravel()
    places = places[places < last] - first
    answers = (
        np.bitwise_or.reduceat(bits[inside], places),
        np.add.reduceat((bits[inside] & HOLE) // HOLE, places, dtype=np.int64),
        np.maximum.reduceat(stretch.speed_kmh[inside], places),
        np.maximum.reduceat(stretch.sector[inside], places),
    )
    return [Tally(*row) for row in zip(*(answer[::2].tolist() for answer in answers), strict=True)]


def _own(stretch: Stretch) -> Bits:
    far_side = np.abs(from_line(stretch.since_line)) > 0.4
    bits: Bits = (stretch.validity == _INVALID) * np.int16(INVALID) + far_side * np.int16(FAR_SIDE)
    return bits


def _between(stretch: Stretch, far: Reals) -> Bits:
    whole = np.diff(stretch.whole)
    time, sequence, counter, sector = whole[0], whole[1], whole[2], whole[5]
    step = np.diff(stretch.since_line)
    moved = step - np.rint(step)
    jump = np.abs(moved) > far
    long_hole = time > _HOLE_US
    missing = (sequence > 1) & (stretch.sequence[:-1] > 0)
    in_pit = stretch.pit >= IN_PIT
    bits: Bits = ((counter != 0) | clock_restarts(stretch)) * np.int16(EVENT)
    for mask, bit in (
        (long_hole | missing, HOLE),
        (long_hole, LONG_HOLE),
        (jump, JUMP),
        (jump & ((moved < 0) | (step < 0)), JUMP_BACK),
        (in_pit[1:] & ~in_pit[:-1], PIT_ENTRY),
        (sector > 0, SECTOR),
    ):
        bits |= mask * np.int16(bit)
    return bits


def _passed(stretch: Stretch, lengths: Integers, courses: Sequence[Course], bits: Bits) -> Integers:
    """The frames before which a mark of their course was passed, forwards, and seen to be."""
    different = {id(course): course for course in courses}
    # Course k's marks lie between k and k+1, so that one search finds them all.
    marks = np.concatenate([np.add(course.marks, k) for k, course in enumerate(different.values())])
    where = {course: float(k) for k, course in enumerate(different)}
    shift = _of_frames([where[id(course)] for course in courses], lengths)
    cell = np.searchsorted(marks, stretch.since_line + shift, side="right")
    passed = np.flatnonzero(cell[1:] > cell[:-1]) + 1
    step = stretch.since_line[passed] - stretch.since_line[passed - 1]
    held = stuck(stretch.normalized_position)
    seen = (bits[passed] & (JUMP | LONG_HOLE)) == 0
    answer: Integers = passed[seen & (step < 0.5) & ~held[passed] & ~held[passed - 1]]
    return answer


def stuck(position: Reals) -> Mask:
    """Where the game holds the position: at exactly 1.0 and then 0.0, over some metres around the origin."""
    held: Mask = (position <= 0) | (position >= 1)
    return held


def _of_frames(values: Sequence[float], lengths: Integers) -> Reals | float:
    """What is said of each session, for each of its frames; or once, where it is the same for all."""
    if values.count(values[0]) == len(values):
        return values[0]
    return np.repeat(np.array(values), lengths)
