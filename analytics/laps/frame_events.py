"""What happened between one frame and the next, for many sessions at once, and what that comes to over a stretch.

A happening is a bit of a number for each frame: batches are small and many, and one array costs less than ten. It knows no laps:
`analytics.laps.session_timer` says what a happening means. Rule: nothing is known of what happened before a session's first frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.laps.clock_fit import StepSums, step_terms
from analytics.laps.crossing import clock_restarts, from_line, reach
from analytics.laps.frame_arrays import FrameArrays
from analytics.model.arrays import Integers, Mask, Reals
from analytics.model.track_layout import TrackLayout

Bits = NDArray[np.int16]

EVENT = 1  # the counter moved, or the clock restarted or began to run
HOLE = 2  # frames are missing
LONG_HOLE = 4  # and meanwhile the car drove where nobody saw it
JUMP = 8  # the car was put elsewhere
JUMP_BACK = 16
PIT_ENTRY = 32
SECTOR = 64  # the game went on to its next sector
MARK = 128  # a place where time is taken was passed
INVALID = 256  # the game began to call the lap invalid
FAR_SIDE = 512  # not between frames, but in one

#: What needs a look at single frames.
LOUD = EVENT | SECTOR | MARK

IN_PIT = 2
#: The game's word for a lap that does not count.
NOT_VALID = 2
#: So many frames before a new one decide what it means: whether a recording is as slow as this everywhere.
LEAST_RECENT = 4

_HOLE_US = 500_000
# Slower recordings have longer steps everywhere, and miss no more in one than in another.
_USUAL_TIMES = 3
_FIRST_STEP_US = 1_000_000
# A car that stood in a hole, or was moved by its length, missed nothing.
_MISSED_M = 10.0
# In so long a hole a car can have driven a lap and be where it was: then the clock shows whether the game was paused.
_A_LAP_US = 10_000_000
# Longer is no hole but a clock that was set, or a session's name that was used again.
_A_DAY_US = 86_400_000_000
_DRIVING_KMH = 20.0
# A car that moves by less than this share of what its speed says stands still, or the game does.
_STILL = 0.1
_STANDING_KMH = 5.0
_ASSUMED_LENGTH_M = 5_000.0


@dataclass(frozen=True, slots=True)
class Tally:
    """What frames that follow one another come to: all their happenings, how many holes, the top speed and the last sector.

    ``still_us`` is the time in which the car did not move, ``validity`` what the last frame says of its lap, and ``fit`` how well
    its clocks agree with the car.
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
    """What happened before each of frames in a row.

    ``reach`` is the share of a lap that a car can have come since the frame before, ``still_us`` the time since then if it did not move,
    and ``fit_terms`` what the step from there adds to each of `StepSums`.
    """

    bits: Bits
    reach: Reals
    still_us: Integers
    fit_terms: Integers

    @classmethod
    def of(
        cls, stretch: FrameArrays, starts: Integers, lengths: Integers, courses: Sequence[TrackLayout]
    ) -> "FrameEvents":
        """Of sessions that lie one behind the other, each with its course: from ``starts``, of so many frames."""
        length_m = _of_frames([course.length_m or 0.0 for course in courses], lengths)
        far = np.zeros(len(stretch))
        far[1:] = reach(stretch, length_m)
        bits, still_us = _own(stretch), np.zeros(len(stretch), np.int64)
        fit_terms = np.zeros((len(StepSums._fields), len(stretch)), np.int64)
        between, still_us[1:], fit_terms[:, 1:] = _between(stretch, far[1:], length_m, starts)
        bits[1:] |= between
        bits[_passed(stretch, lengths, courses, bits)] |= MARK
        bits[starts] &= FAR_SIDE
        far[starts] = 0
        still_us[starts] = 0
        fit_terms[:, starts] = 0
        return cls(bits, far, still_us, fit_terms)

    def take(self, frames: slice) -> "FrameEvents":
        return FrameEvents(self.bits[frames], self.reach[frames], self.still_us[frames], self.fit_terms[:, frames])

    def fit(self, first: int, end: int) -> StepSums:
        """Return how well the clocks agree with the car over the steps that lead to frames ``first`` to before ``end``."""
        return StepSums(*self.fit_terms[:, first:end].sum(axis=1).tolist())

    def forget(self, i: int, what: int) -> None:
        """As if ``what`` had not happened before frame ``i``."""
        self.bits[i] &= ~what


def tallies(stretch: FrameArrays, happenings: FrameEvents, firsts: Integers, ends: Integers) -> list[Tally]:
    """A tally of frames ``firsts[i]`` to before ``ends[i]`` for each i. None is empty, and they are in order."""
    # Of the stretches from each place to the next, the even ones are wanted and the odd ones lie between them.
    # What lies outside is left out: of a day that is timed at once, each lap would look at all that follows it.
    first, last = int(firsts[0]), int(ends[-1])
    inside = slice(first, last)
    places = np.column_stack([firsts, ends]).ravel()
    places = places[places < last] - first
    bits = happenings.bits
    answers = (
        np.bitwise_or.reduceat(bits[inside], places),
        np.add.reduceat((bits[inside] & HOLE) // HOLE, places, dtype=np.int64),
        np.maximum.reduceat(stretch.speed_kmh[inside], places),
        np.maximum.reduceat(stretch.sector[inside], places),
        np.add.reduceat(happenings.still_us[inside], places),
    )
    validity = stretch.validity[ends - 1].tolist()
    fits = np.add.reduceat(happenings.fit_terms[:, inside], places, axis=1)[:, ::2].T.tolist()
    columns = (*(answer[::2].tolist() for answer in answers), validity, [StepSums(*fit) for fit in fits])
    return [Tally(*row) for row in zip(*columns, strict=True)]


def _own(stretch: FrameArrays) -> Bits:
    far_side = np.abs(from_line(stretch.since_line)) > 0.4
    bits: Bits = far_side * np.int16(FAR_SIDE)
    return bits


def _between(
    stretch: FrameArrays, far: Reals, length_m: Reals | float, starts: Integers
) -> tuple[Bits, Integers, Integers]:
    """Return what happened between each frame and the next, the time in which the car did not move, and how its clocks agree with it."""
    whole = np.diff(stretch.whole)
    time, sequence, counter, clock, sector = whole[0], whole[1], whole[2], whole[3], whole[5]
    step = np.diff(stretch.since_line)
    moved = step - np.rint(step)
    jump = np.abs(moved) > far
    moved_m, speeds = _moved_m(moved, length_m), np.abs(stretch.speed_kmh)
    speed = np.maximum(speeds[1:], speeds[:-1])
    unseen = _unseen(time, 1000 * clock, moved_m, speed, starts)
    still = (moved_m <= _STILL * speed / 3.6 * time / 1e6) | (speed < _STANDING_KMH)
    missing = (sequence > 1) & (stretch.sequence[:-1] > 0)
    in_pit = stretch.pit >= IN_PIT
    not_valid = stretch.validity == NOT_VALID
    clock_starts = (stretch.lap_clock_ms[:-1] == 0) & (clock > 0)
    bits: Bits = ((counter != 0) | clock_restarts(stretch) | clock_starts) * np.int16(EVENT)
    for mask, bit in (
        (unseen | missing, HOLE),
        (unseen, LONG_HOLE),
        (jump, JUMP),
        (jump & ((moved < 0) | (step < 0)), JUMP_BACK),
        (in_pit[1:] & ~in_pit[:-1], PIT_ENTRY),
        (sector > 0, SECTOR),
        (not_valid[1:] & ~not_valid[:-1], INVALID),
    ):
        bits |= mask * np.int16(bit)
    held = stuck(stretch.normalized_position)
    seen = ~(unseen | jump | held[1:] | held[:-1])
    return bits, still * time, step_terms(time, clock, moved, (speeds[1:] + speeds[:-1]) / 2, seen)


def _moved_m(moved: Reals, length_m: Reals | float) -> Reals:
    length = np.atleast_1d(length_m)
    length = np.where(length > 0, length, _ASSUMED_LENGTH_M)
    metres: Reals = np.abs(moved) * length[-len(moved) :]
    return metres


def _unseen(time_us: Integers, clock_us: Integers, moved_m: Reals, speed_kmh: Reals, starts: Integers) -> Mask:
    """Return where so much time passed between two frames that the car drove unseen."""
    own = time_us.copy()
    own[starts[1:] - 1] = 0  # between two sessions
    before = np.zeros_like(own)
    before[1:] = own[:-1]
    before[2:] = np.maximum(before[2:], own[:-2])
    # Nothing is known yet of how a session goes on.
    before[starts[starts < len(before)]] = _FIRST_STEP_US
    long = (time_us > _HOLE_US) & (time_us > _USUAL_TIMES * before)
    usual_m = speed_kmh / 3.6 * before / 1e6
    round_trip = (time_us >= _A_LAP_US) & (2 * clock_us >= time_us) & (speed_kmh >= _DRIVING_KMH)
    unseen: Mask = long & ((moved_m > _MISSED_M + usual_m) | round_trip | (time_us > _A_DAY_US))
    return unseen


def _passed(stretch: FrameArrays, lengths: Integers, courses: Sequence[TrackLayout], bits: Bits) -> Integers:
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
