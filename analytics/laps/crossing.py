"""When a car crossed the start line, or a mark on the way, from the frames around it.

Knows nothing of laps. The line is where the game's counter or clock says it is, not where the position wraps; the position only
helps to interpolate. Rule: a crossing depends on the frames of `LOOKBACK_US` before it and on nothing older, so that it comes
out the same wherever a stream is cut.
"""

import math
from typing import Any

import numpy as np

from analytics.laps.frame_arrays import FrameArrays
from analytics.laps.unwrapping import unwrapped
from analytics.model.arrays import Integers, Mask, Reals

#: How far back of a crossing the position is looked at. Older frames say nothing about the speed at the line.
LOOKBACK_US = 1_000_000
_STEPS_TO_LINE = 2.5
# So many of the last frames show the car's pace at the line.
_PACE_FRAMES = 6
# So many frames show whether a clock runs in steps.
_FEWEST_STEPS = 4
#: How much longer than the pause between two frames the new clock may have run: the counter comes up to a few frames late.
_LATE_MS = 500
#: By how much more than its speed allows a car may have moved, for positions and arrival times are not exact.
_REACH_MARGIN_M = 20.0
#: Where the track's length is not known, this one is assumed, with margins that do for every track.
_ASSUMED_LENGTH_M = 5_000.0
_ASSUMED_MARGIN, _ASSUMED_MARGIN_M = 5.0, 50.0


def from_line(since_line: Reals) -> Reals:
    """Signed distance from the line in laps, -0.5..0.5: negative before it."""
    return since_line - np.rint(since_line)


def reach(stretch: FrameArrays, length_m: Reals | float) -> Reals:
    """The most that a car can have moved between frame i and i+1, in laps: beyond it, it was put there.

    ``length_m`` of the track, one or one for each frame; 0 where it is not known.
    """
    speed = np.abs(stretch.speed_kmh)
    metres = np.maximum(speed[1:], speed[:-1]) / 3.6 * np.diff(stretch.time) / 1e6
    length = np.atleast_1d(length_m)
    known = length > 0
    share = np.where(known, 1.0, _ASSUMED_MARGIN) / np.where(known, length, _ASSUMED_LENGTH_M)
    margin = np.where(known, _REACH_MARGIN_M, _ASSUMED_MARGIN_M) / np.where(known, length, _ASSUMED_LENGTH_M)
    return metres * share[-len(metres) :] + margin[-len(metres) :]


def clock_restarts(stretch: FrameArrays) -> Mask:
    """Whether the lap clock went back to about zero between frame i and i+1."""
    clock = stretch.lap_clock_ms
    return (clock[1:] < clock[:-1]) & (clock[1:] <= np.diff(stretch.time) // 1000 + _LATE_MS)


def crossing_us(stretch: FrameArrays, i: int) -> int:
    """When the line was crossed, in µs since the Unix epoch, if frame ``i`` is the first that the game counts to the new lap.

    By the game's clock where it restarted, else by position and speed, else half way between the frames.
    """
    t0, t1 = int(stretch.time[i - 1]), int(stretch.time[i])
    if clock_restarts(stretch.take(slice(i - 1, i + 1)))[0] and not _runs_in_steps(stretch, i):
        return t1 - 1000 * int(stretch.lap_clock_ms[i])
    by_position = _crossing_by_position(stretch, i)
    return (t0 + t1) // 2 if by_position is None else by_position


def _runs_in_steps(stretch: FrameArrays, i: int) -> bool:
    """Whether the lap clock, in the second before frame ``i``, often stood while the car moved on: it is coarser than the frames."""
    near = _before(stretch, i).take(slice(None, -1))
    if len(near) < _FEWEST_STEPS:
        return False
    stood = (np.diff(near.lap_clock_ms) == 0) & (np.diff(near.since_line) != 0)
    return bool(2 * np.count_nonzero(stood) >= len(stood))


def _before(stretch: FrameArrays, i: int) -> FrameArrays:
    """Return the frames within `LOOKBACK_US` before frame ``i``, and that one."""
    return stretch.take(slice(int(np.searchsorted(stretch.time, stretch.time[i] - LOOKBACK_US)), i + 1))


def _crossing_by_position(stretch: FrameArrays, i: int) -> int | None:
    near = _before(stretch, i)
    # Games hold the position at exactly 1.0 and then 0.0 over some metres around the origin: those frames say nothing.
    moving = near.take((near.normalized_position > 0) & (near.normalized_position < 1))
    if len(moving) < 2:
        return None
    distance = from_line(moving.since_line)
    if (
        moving.time[-1] == stretch.time[i]
        and moving.time[-2] == stretch.time[i - 1]
        and distance[-2] <= 0 < distance[-1]
    ):
        return _between(*_pair(moving.time, -2), *_pair(moving.speed_kmh, -2), *_pair(distance, -2))
    return _beyond(moving.time[-2:], distance[-2:], int(stretch.time[i]))


def _pair(column: Integers | Reals, i: int) -> tuple[Any, Any]:
    """Two entries as Python's numbers: with so few of them NumPy takes longer to begin than to reckon."""
    first, second = column[i : i + 2 or None].tolist()
    return first, second


def _between(t0: int, t1: int, v0: float, v1: float, d0: float, d1: float) -> int:
    """When the distance was 0. Speed changes linearly between the two frames; its integral is the way, whatever the units."""
    v0, v1, share = max(v0, 0.0), max(v1, 0.0), -d0 / (d1 - d0)
    if v0 + v1 > 0:
        # Solves v0·x + (v1 - v0)·x²/2 = share·(v0 + v1)/2 for x, the share of time; this form holds for v0 = v1 too.
        wanted = share * (v0 + v1)
        share = wanted / (v0 + math.sqrt(max(v0 * v0 + (v1 - v0) * wanted, 0.0)))
    return t0 + round(share * (t1 - t0))


def _beyond(time: Integers, distance: Reals, first_us: int) -> int | None:
    """The line lies outside the two last frames that moved: goes on from them at their pace."""
    pace = float(distance[1] - distance[0]) / int(time[1] - time[0])
    if pace <= 0 or abs(float(distance[1]) / pace) > LOOKBACK_US:
        return None
    line = int(time[1]) - round(float(distance[1]) / pace)
    return line if abs(line - first_us) <= LOOKBACK_US else None


def line_at_end_us(stretch: FrameArrays) -> int | None:
    """Return when the car comes to the line, at its pace, after the last frames of a recording; None where that is farther.

    A log that stops at the line has its last frame a step or two before it, or just behind it where the game counts late.
    """
    # Games hold the position at the origin for some metres, as in `_crossing_by_position`.
    moving = stretch.take((stretch.normalized_position > 0) & (stretch.normalized_position < 1))
    if len(moving) < 2:
        return None
    last = moving.take(slice(-2, None))
    distance = from_line(np.asarray(last.since_line))
    step_us = int(last.time[1] - last.time[0])
    pace = float(distance[1] - distance[0]) / step_us
    if pace <= 0 or abs(float(distance[1])) > _STEPS_TO_LINE * pace * step_us:
        return None
    return int(last.time[1]) - round(float(distance[1]) / pace)


def clock_at_line_ms(stretch: FrameArrays, i: int) -> int | None:
    """What the lap clock read when the car crossed the line, if frame ``i`` is the first after it or comes no more; None if unknown.

    By the clock and the way of the last frames before, whatever times the frames came at: from there to the line, or to frame ``i``
    and back by as much as the new clock reads.
    """
    first = int(np.searchsorted(stretch.time[:i], stretch.time[i - 1] - LOOKBACK_US))
    near = stretch.take(slice(first, i))
    running = near.take(slice(int(np.flatnonzero(np.diff(near.lap_clock_ms, prepend=0) < 0)[-1:].sum()), None))
    # Games hold the position at the origin for some metres, as in `_crossing_by_position`.
    moving = running.take((running.normalized_position > 0) & (running.normalized_position < 1))
    last = moving.take(slice(-_PACE_FRAMES, None))
    if len(last) < 2 or last.lap_clock_ms[-1] <= last.lap_clock_ms[0]:
        return None
    pace = float(from_line(last.since_line[-1:] - last.since_line[0])[0]) / int(
        last.lap_clock_ms[-1] - last.lap_clock_ms[0]
    )
    way, new_ms = -float(from_line(last.since_line[-1:])[0]), 0
    if (
        i < len(stretch)
        and clock_restarts(stretch.take(slice(i - 1, i + 1)))[0]
        and 0 < stretch.normalized_position[i] < 1
    ):
        way, new_ms = (
            float(from_line(stretch.since_line[i : i + 1] - last.since_line[-1])[0]),
            int(stretch.lap_clock_ms[i]),
        )
    if pace <= 0 or abs(way) > pace * LOOKBACK_US / 1000:
        return None
    return int(last.lap_clock_ms[-1]) + round(way / pace) - new_ms


def mark_us(stretch: FrameArrays, i: int, share: float) -> int:
    """When the car passed ``share`` of the lap, which lies between frame ``i - 1`` and frame ``i``, by the frames' times."""
    return _at_share(stretch, i, share, stretch.time)


def mark_clock_us(stretch: FrameArrays, i: int, share: float) -> int:
    """What the lap clock read then, in µs."""
    return _at_share(stretch, i, share, 1000 * stretch.lap_clock_ms)


def _at_share(stretch: FrameArrays, i: int, share: float, clock_us: Integers) -> int:
    d0, d1 = _pair(stretch.since_line, i - 1)
    return _between(*_pair(clock_us, i - 1), *_pair(stretch.speed_kmh, i - 1), d0 - share, d1 - share)


def share_at_crossing(stretch: FrameArrays, i: int, line_us: int) -> float:
    """Where the car was at the crossing that frame ``i`` is the first after, as a share of the lap, -0.5..0.5.

    When the clock restarted is known to the millisecond. Where only the counter tells, the crossing was timed by where the line
    was thought to be, and is no witness of where it is: then half way between the frames that the counter tells apart.
    """
    first = min(int(np.searchsorted(stretch.time, stretch.time[i] - LOOKBACK_US)), i - 1)
    near = stretch.take(slice(first, i + 1))
    driven = unwrapped(near.since_line)
    if clock_restarts(near.take(slice(-2, None)))[0]:
        share = float(np.interp(line_us, near.time, driven))
    else:
        share = float(driven[-1] + driven[-2]) / 2
    return share - round(share)
