"""Computes the time since the line inside a lap, by the better of its two clocks.

The clocks are the frames' own times and the game's lap clock. The module is pure. Frames that were
recorded over a network arrive in bursts, 200 ms apart. A paused game sends none. Some lap clocks
run in steps, stand still, or restart late. Rule: the car decides. Position and speed show how much
time lay between two frames. The clock that agrees better with that is used for the whole lap.
"""

import numpy as np

from analytics.model.arrays import Reals

# Below this speed, the car's motion gives no time.
_DRIVEN_KMH = 10.0
# A clock that restarts late does so in the first part of the lap. Its readings are then small.
_RESTARTS_WITHIN, _RESTARTS_BELOW_S = 0.1, 5.0
# A lap clock that is farther off at the line belongs to another lap.
_MOST_OFF_S = 5.0


def elapsed_s(
    stamp_s: Reals, clock_s: Reals, share: Reals, speed_kmh: Reals, lap_time_s: float
) -> Reals:
    """Return the time of each frame, in s since the line.

    ``stamp_s`` is by the frames' times, ``clock_s`` is the reading of the lap clock. ``share`` is
    the share of the lap, from `analytics.laps.unwrapping.lap_share`. All have one entry for each
    frame. ``lap_time_s`` is by the frames' times or, where the game was paused, by its clock.
    """
    if len(share) < 3 or not (clock_s > 0).any():
        return stamp_s
    steps_s = _steps_by_car_s(share, speed_kmh, lap_time_s)
    clock_s = _from_restart(clock_s, share, steps_s)
    off_s = lap_time_s - (clock_s[-1] + _to_line_s(share, steps_s))
    if abs(off_s) > _MOST_OFF_S or _error_s(stamp_s, steps_s) <= _error_s(clock_s, steps_s):
        return stamp_s
    return np.asarray(clock_s + off_s, np.float64)


def _steps_by_car_s(share: Reals, speed_kmh: Reals, lap_time_s: float) -> Reals:
    """Return the time from each frame to the next by distance and speed; NaN where the car hardly
    moved.

    The steps are scaled to a lap of ``lap_time_s``.
    """
    speed = (speed_kmh[1:] + speed_kmh[:-1]) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = np.where(speed > _DRIVEN_KMH, np.diff(share) / speed, np.nan)
    # The distance of a lap is in laps: callers that compare laps need not know the length of the
    # track.
    driven = np.isfinite(steps)
    way, took = float(np.diff(share)[driven].sum()), float(steps[driven].sum())
    scale = lap_time_s * way / took if took > 0 else np.nan
    return np.asarray(steps * scale, np.float64)


def _from_restart(clock_s: Reals, share: Reals, steps_s: Reals) -> Reals:
    """Return the clock with the readings of the lap before replaced.

    The frames before the restart get times by the car, counted back from the restart.
    """
    back = np.diff(clock_s) < 0
    restarts = np.flatnonzero(
        back & (share[1:] < _RESTARTS_WITHIN) & (clock_s[1:] < _RESTARTS_BELOW_S)
    )
    if not len(restarts):
        return clock_s
    first = int(restarts[-1]) + 1
    before = clock_s[first] - np.cumsum(steps_s[:first][::-1])[::-1]
    return np.concatenate([before, clock_s[first:]])


def _to_line_s(share: Reals, steps_s: Reals) -> float:
    """Return the time from the last frame to the line, at the pace of the last driven frames."""
    driven = np.flatnonzero(np.isfinite(steps_s) & (np.diff(share) > 0))[-5:]
    if not len(driven):
        return 0.0
    pace_s = float(steps_s[driven].sum()) / float(np.diff(share)[driven].sum())
    return (1 - float(share[-1])) * pace_s


def _error_s(clock_s: Reals, steps_s: Reals) -> float:
    """Return the difference between a clock and the car between two frames, RMS."""
    off = np.diff(clock_s) - steps_s
    off = off[np.isfinite(off)]
    return float(np.sqrt(np.mean(off**2))) if len(off) else np.inf
