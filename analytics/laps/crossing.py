"""Computes when a car crossed the start line, or a mark on the way, from the frames around it.

The module knows nothing of laps. The game's counter or clock determines the line, not the wrap of
the position. The position only helps to interpolate. Rule: a crossing depends on the frames of
`LOOKBACK_US` before it and on nothing older. It is therefore the same wherever a stream is cut.
"""

import math
from typing import Any

import numpy as np

from analytics.laps.frame_arrays import FrameArrays, FramePair
from analytics.laps.unwrapping import unwrapped
from analytics.model.arrays import Integers, Mask, Reals

#: How far before a crossing the position is used. Older frames do not show the speed at the line.
LOOKBACK_US = 1_000_000
_STEPS_TO_LINE = 2.5
# This many of the last frames show the car's pace at the line.
_PACE_FRAMES = 6
# This many frames show whether a clock runs in steps, or at another rate than time.
_FEWEST_STEPS = 4
# Times of frames are regular if no step is farther from the usual one, as a share of it. A clock
# that differs by more from regular times was made of something else, such as the position.
_REGULAR, _OTHER_RATE = 0.3, 0.05
# A clock counts from the first frame of a lap if it reads 0 there, this share of a step behind the
# line, and never differs by more from the frames' times.
_AT_LINE, _SAME_MS = 0.1, 2
#: How much longer than the step between two frames a restarted clock may have run. The counter
#: rises up to a few frames late.
_LATE_MS = 500
#: How much farther than its speed allows a car may have moved: positions and arrival times are not
#: exact.
_REACH_MARGIN_M = 20.0
#: The assumed length of a track of unknown length, with margins that suffice for every track.
_ASSUMED_LENGTH_M = 5_000.0
_ASSUMED_MARGIN, _ASSUMED_MARGIN_M = 5.0, 50.0


def from_line(since_line: Reals) -> Reals:
    """Return the signed distance from the line in laps, -0.5..0.5: negative before it."""
    return since_line - np.rint(since_line)


def reach(time_us: Integers, speed_kmh: Reals, length_m: Reals | float) -> Reals:
    """Return the farthest that a car can have moved in each step between two frames, in laps.

    A car that moved farther was put there. ``time_us`` is the length of the step, ``speed_kmh`` is
    the higher one of both frames. ``length_m`` of the track is one value, or one for each frame. It
    is 0 where the length is not known.
    """
    far = speed_kmh / 3.6
    far *= time_us
    far /= 1e6
    length = np.atleast_1d(length_m)
    known = length > 0
    share = np.where(known, 1.0, _ASSUMED_MARGIN) / np.where(known, length, _ASSUMED_LENGTH_M)
    margin = np.where(known, _REACH_MARGIN_M, _ASSUMED_MARGIN_M) / np.where(
        known, length, _ASSUMED_LENGTH_M
    )
    far *= share[-len(far) :]
    far += margin[-len(far) :]
    return far


def clock_restarts(arrays: FrameArrays) -> Mask:
    """Return whether the lap clock went back to about zero between frame i and i+1."""
    clock = arrays.lap_clock_ms
    restarts = clock[1:] < clock[:-1]
    # A clock that goes back is rare: most batches need no further look.
    back = np.flatnonzero(restarts)
    if len(back):
        passed_ms = (arrays.time[back + 1] - arrays.time[back]) // 1000
        restarts[back] = clock[back + 1] <= passed_ms + _LATE_MS
    return restarts


def _restarts_between(around: FramePair) -> bool:
    """Return whether the lap clock went back to about zero between two frames, as `clock_restarts`
    does.
    """
    (t0, t1), (before_ms, after_ms) = around.time, around.lap_clock_ms
    return after_ms < before_ms and after_ms <= (t1 - t0) // 1000 + _LATE_MS


def crossing_us(arrays: FrameArrays, i: int) -> int:
    """Return when the car crossed the line, in µs since the Unix epoch.

    Frame ``i`` is the first that the game counts to the new lap. The game's clock gives the time
    where it restarted. Otherwise position and speed give it. Failing both, it is half way between
    the frames.
    """
    around = arrays.pair(i)
    by_position = _crossing_by_position(arrays, i)
    if _restarts_between(around) and _is_stopwatch(arrays, i, by_position):
        return _clock_zero_us(around)
    return sum(around.time) // 2 if by_position is None else by_position


def _clock_zero_us(around: FramePair) -> int:
    return around.time[1] - 1000 * around.lap_clock_ms[1]


def _is_stopwatch(arrays: FrameArrays, i: int, by_position_us: int | None) -> bool:
    """Return whether the lap clock that restarted at frame ``i`` gives the time of the crossing.

    Exports contain clocks that were made of the position or of the frames, or that run in steps.
    """
    near = _before(arrays, i)
    if len(near) <= _FEWEST_STEPS:
        return True
    begins_late = _begins_with_frame(arrays.pair(i), by_position_us) and _follows_frames(near)
    return not (_runs_in_steps(near) or _runs_at_other_rate(near) or begins_late)


def _runs_in_steps(near: FrameArrays) -> bool:
    """Return whether the lap clock is coarser than the frames.

    It is if, before the last of these frames, it often stood while the car moved on.
    """
    clock, share = near.lap_clock_ms[:-1], near.since_line[:-1]
    stood = (clock[1:] == clock[:-1]) & (share[1:] != share[:-1])
    return bool(2 * np.count_nonzero(stood) >= len(stood))


def _runs_at_other_rate(near: FrameArrays) -> bool:
    """Return whether the lap clock disagrees with the frames' times, where these are regular.

    The clock restarted at the last of these frames.
    """
    steps_us = np.diff(near.time)
    usual_us = np.median(steps_us)
    if (np.abs(steps_us - usual_us) > _REGULAR * usual_us).any():
        return False
    passed_us = int(near.time[-2] - near.time[0])
    clock_us = 1000 * int(near.lap_clock_ms[-2] - near.lap_clock_ms[0])
    return abs(clock_us - passed_us) > _OTHER_RATE * passed_us


def _begins_with_frame(around: FramePair, by_position_us: int | None) -> bool:
    """Return whether the lap clock reads 0 at the first frame of a lap, behind the line."""
    if by_position_us is None or around.lap_clock_ms[1] != 0:
        return False
    t0, t1 = around.time
    return t0 <= by_position_us < t1 - _AT_LINE * (t1 - t0)


def _follows_frames(near: FrameArrays) -> bool:
    """Return whether the lap clock, before the last of these frames, is the frames' own time.

    A game's clock is not where frames got their times from a network.
    """
    apart_ms = near.time[:-1] // 1000 - near.lap_clock_ms[:-1]
    return bool(apart_ms.max() - apart_ms.min() <= _SAME_MS)


def _before(arrays: FrameArrays, i: int) -> FrameArrays:
    """Return the frames within `LOOKBACK_US` before frame ``i``, and that frame."""
    return arrays.take(slice(_first_before(arrays, i), i + 1))


def _first_before(arrays: FrameArrays, i: int) -> int:
    """Return the first frame within `LOOKBACK_US` before frame ``i``."""
    time = arrays.time
    return int(time.searchsorted(time[i] - LOOKBACK_US))


def _crossing_by_position(arrays: FrameArrays, i: int) -> int | None:
    near = _before(arrays, i)
    # Games hold the position at exactly 1.0 and then 0.0 over some metres around the origin. Those
    # frames are left out.
    moving = near.take((near.normalized_position > 0) & (near.normalized_position < 1))
    if len(moving) < 2:
        return None
    distance = from_line(moving.since_line)
    both = moving.time[-1] == arrays.time[i] and moving.time[-2] == arrays.time[i - 1]
    if both and distance[-2] <= 0 < distance[-1]:
        return _between(*_pair(moving.time, -2), *_pair(moving.speed_kmh, -2), *_pair(distance, -2))
    return _beyond(moving.time[-2:], distance[-2:], int(arrays.time[i]))


def _pair(column: Integers | Reals, i: int) -> tuple[Any, Any]:
    """Return two entries as Python numbers. For so few, NumPy takes longer to start than to
    compute.
    """
    first, second = column[i : i + 2 or None].tolist()
    return first, second


def _between(t0: int, t1: int, v0: float, v1: float, d0: float, d1: float) -> int:
    """Return when the distance was 0, as a moment between ``t0`` and ``t1``."""
    return t0 + round(_share_of_step(v0, v1, d0, d1) * (t1 - t0))


def _share_of_step(v0: float, v1: float, d0: float, d1: float) -> float:
    """Return the share of the step's time after which the distance was 0.

    The speed changes linearly between the two frames. Its integral is the distance, in any units.
    """
    v0, v1, share = max(v0, 0.0), max(v1, 0.0), -d0 / (d1 - d0)
    if v0 + v1 > 0:
        # Solves v0·x + (v1 - v0)·x²/2 = share·(v0 + v1)/2 for x, the share of time. This form also
        # holds for v0 = v1.
        wanted = share * (v0 + v1)
        share = wanted / (v0 + math.sqrt(max(v0 * v0 + (v1 - v0) * wanted, 0.0)))
    return share


def _beyond(time: Integers, distance: Reals, first_us: int) -> int | None:
    """Return when the car crossed a line outside the last two frames that moved, at their pace."""
    pace = float(distance[1] - distance[0]) / int(time[1] - time[0])
    if pace <= 0 or abs(float(distance[1]) / pace) > LOOKBACK_US:
        return None
    line = int(time[1]) - round(float(distance[1]) / pace)
    return line if abs(line - first_us) <= LOOKBACK_US else None


def line_at_end_us(arrays: FrameArrays) -> int | None:
    """Return when the car reaches the line, at its pace, after the last frames of a recording.

    None if the line is farther away. A log that stops at the line has its last frame a step or two
    before it. Where the game counts late, the last frame is just behind the line.
    """
    # Games hold the position at the origin for some metres, as in `_crossing_by_position`.
    moving = arrays.take((arrays.normalized_position > 0) & (arrays.normalized_position < 1))
    if len(moving) < 2:
        return None
    last = moving.take(slice(-2, None))
    distance = from_line(np.asarray(last.since_line))
    step_us = int(last.time[1] - last.time[0])
    pace = float(distance[1] - distance[0]) / step_us
    if pace <= 0 or abs(float(distance[1])) > _STEPS_TO_LINE * pace * step_us:
        return None
    return int(last.time[1]) - round(float(distance[1]) / pace)


def clock_at_line_ms(arrays: FrameArrays, i: int) -> int | None:
    """Return the lap clock when the car crossed the line; None if unknown.

    Frame ``i`` is the first one after the line, or does not exist at the end of a recording. The
    result depends on the clock and the distance of the last frames before the line. It does not
    depend on the frames' times. The last frames are extended to the line. Where the clock has
    restarted, they are extended to frame ``i``, less the reading of the new clock.
    """
    first = int(np.searchsorted(arrays.time[:i], arrays.time[i - 1] - LOOKBACK_US))
    near = arrays.take(slice(first, i))
    running = near.take(
        slice(int(np.flatnonzero(np.diff(near.lap_clock_ms, prepend=0) < 0)[-1:].sum()), None)
    )
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
        i < len(arrays)
        and _restarts_between(arrays.pair(i))
        and 0 < arrays.normalized_position[i] < 1
    ):
        way, new_ms = (
            float(from_line(arrays.since_line[i : i + 1] - last.since_line[-1])[0]),
            int(arrays.lap_clock_ms[i]),
        )
    if pace <= 0 or abs(way) > pace * LOOKBACK_US / 1000:
        return None
    return int(last.lap_clock_ms[-1]) + round(way / pace) - new_ms


def mark_us(around: FramePair, share: float) -> tuple[int, int]:
    """Return when the car passed ``share`` of the lap between two frames, in µs.

    The first value is by the frames' times, the second is the reading of the lap clock.
    """
    d0, d1 = around.since_line
    x = _share_of_step(*around.speed_kmh, d0 - share, d1 - share)
    (t0, t1), (c0, c1) = around.time, around.lap_clock_ms
    return t0 + round(x * (t1 - t0)), 1000 * c0 + round(x * (1000 * c1 - 1000 * c0))


def share_at_crossing(arrays: FrameArrays, i: int, line_us: int) -> float:
    """Return the car's position at a crossing, as a share of the lap, -0.5..0.5.

    Frame ``i`` is the first one after the crossing. The moment when the clock restarted is known to
    the millisecond. Otherwise the assumed position of the line timed the crossing. Such a crossing
    is no evidence of the line's position. The result is then half way between the two frames where
    the counter rises.
    """
    around = arrays.pair(i)
    near = slice(min(_first_before(arrays, i), i - 1), i + 1)
    driven = unwrapped(arrays.since_line[near])
    if _restarts_between(around) and line_us == _clock_zero_us(around):
        share = float(np.interp(line_us, arrays.time[near], driven))
    else:
        share = float(driven[-1] + driven[-2]) / 2
    return share - round(share)
