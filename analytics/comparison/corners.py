"""Finds the corners of a track once, from many laps, and keeps them.

Corners found again in each lap would change their numbers from lap to lap. So the module finds them
in the medians of all laps, and every lap is then measured against them. The module is pure. It has
three sources, the better one first. They are the world positions that a game sends, its heading,
and the speed alone where neither is known. The speed shows braked corners only.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from analytics.comparison.trace import Axis, Trace, stacked
from analytics.errors import NoCorners
from analytics.model.arrays import Integers, Mask, Reals
from analytics.model.thresholds import threshold

Source = Literal["position", "heading", "speed"]

# A bend is tighter than this radius for at least this length. Two bends of the same hand that are
# closer than the gap are one corner.
_WIDEST_RADIUS_M = 300.0
_SHORTEST_M = 15.0
_GAP_M = 30.0
_SMOOTHED_M = 21.0
_BEFORE_FASTEST_M = 50.0
# A corner found by speed is this much slower than the track before and after it. In most of the
# laps the driver is off the throttle there.
_PROMINENCE_KMH = 14.0
_PRESENT_IN = 0.7
_NEAR_M = 40.0
_LIFTED = threshold(0.9)


@dataclass(frozen=True, slots=True)
class Corner:
    """A corner, in metres from the line. Its part of the lap goes from ``begin_m`` to ``end_m``.

    The parts of all corners make up the lap. A part begins on the straight in front of the corner,
    a little before the place where the cars are fastest. It ends at that place on the straight
    behind the corner. So early braking for a corner and a slow exit both count for that corner.
    ``turns`` is empty where only the speed is known.
    """

    number: int
    begin_m: float
    entry_m: float
    apex_m: float
    exit_m: float
    end_m: float
    turns: Literal["left", "right", ""]

    def __str__(self) -> str:
        return f"T{self.number}"


@dataclass(frozen=True, slots=True)
class Corners:
    """The corners of a track in driven order, with their source and the number of laps they were
    found in.
    """

    axis: Axis
    source: Source
    laps: int
    corners: tuple[Corner, ...]

    def __len__(self) -> int:
        return len(self.corners)

    def __iter__(self) -> Iterator[Corner]:
        return iter(self.corners)

    @property
    def bounds_m(self) -> Reals:
        """Return the places where the parts begin, and then the lap's length."""
        return np.array([corner.begin_m for corner in self.corners] + [self.axis.length_m])


def find_corners(laps: Sequence[Trace]) -> Corners:
    """Find the corners that these laps, all on one axis, have in common.

    Raises NoCorners without a lap, or where no lap shows a corner.
    """
    if not laps:
        raise NoCorners("corners are found in laps, and there is none")
    source, bends = _bends(laps)
    if not bends:
        raise NoCorners(
            f"{len(laps)} laps show no corner by {source}; are they laps of a whole track?"
        )
    axis, cuts = laps[0].axis, _cuts(laps, bends)
    corners = tuple(
        _corner(axis, i + 1, cuts[i], bend, cuts[i + 1]) for i, bend in enumerate(bends)
    )
    return Corners(axis, source, len(laps), corners)


def curvature_per_m(laps: Sequence[Trace]) -> tuple[Source, Reals] | None:
    """Return the source and the curvature of the laps' line at each place, positive for
    right-handers.

    None where the game sends neither position nor heading.
    """
    for source, needed in (("position", ("x_m", "z_m")), ("heading", ("heading_rad",))):
        with_it = [lap for lap in laps if all(name in lap.channels for name in needed)]
        if with_it:
            each = np.stack([_curvature(lap, by_position=source == "position") for lap in with_it])
            curvature = smoothed(np.median(each, axis=0), _places(laps[0].axis, _SMOOTHED_M))
            hand = _hand(curvature, np.median(stacked(with_it, "steering"), axis=0))
            return ("position" if source == "position" else "heading"), hand * curvature
    return None


def smoothed(values: Reals, places: int) -> Reals:
    """Return the moving mean of ``places`` neighbours; of fewer at the ends."""
    kernel = np.ones(max(places, 1))
    # numpy's "same" returns the length of the longer array, so the result is cut to that of the
    # values.
    weights = np.convolve(np.ones(len(values)), kernel, "same")[: len(values)]
    return np.convolve(values, kernel, "same")[: len(values)] / weights


@dataclass(frozen=True, slots=True)
class _Bend:
    start: int
    apex: int
    end: int
    turns: Literal["left", "right", ""]


def _cuts(laps: Sequence[Trace], bends: Sequence[_Bend]) -> list[int]:
    """Return the places of the axis where a corner ends and the next begins, with both ends."""
    axis = laps[0].axis
    speed = np.median(stacked(laps, "speed_kmh"), axis=0)
    before = _places(axis, _BEFORE_FASTEST_M)
    return [0, *(_cut(speed, a, b, before) for a, b in pairwise(bends)), len(axis) - 1]


def _corner(axis: Axis, number: int, begin: int, bend: _Bend, end: int) -> Corner:
    begin_m, entry_m, apex_m, exit_m, end_m = axis.distance_m[
        [begin, bend.start, bend.apex, bend.end, end]
    ].tolist()
    return Corner(number, begin_m, entry_m, apex_m, exit_m, end_m, bend.turns)


def _bends(laps: Sequence[Trace]) -> tuple[Source, list[_Bend]]:
    found = curvature_per_m(laps)
    if found:
        return found[0], _by_curvature(found[1], laps[0].axis)
    return "speed", _by_speed(laps)


def _curvature(lap: Trace, *, by_position: bool) -> Reals:
    step_m = lap.axis.distance_m[1]
    if not by_position:
        return np.gradient(lap["heading_rad"], step_m)
    places = _places(lap.axis, _SMOOTHED_M)
    dx, dz = (np.gradient(smoothed(lap[name], places), step_m) for name in ("x_m", "z_m"))
    return np.gradient(np.unwrap(np.arctan2(dx, dz)), step_m)


def _hand(curvature: Reals, steering: Reals) -> float:
    """Return the sign that makes the curvature positive to the right.

    Games disagree on the direction of their axes. Steering is right positive in all of them.
    """
    return -1.0 if float(np.dot(curvature, steering)) < 0 else 1.0


def _by_curvature(curvature: Reals, axis: Axis) -> list[_Bend]:
    shortest = _places(axis, _SHORTEST_M)
    runs = _joined_runs(curvature, _places(axis, _GAP_M))
    return [_bend(curvature, a, b) for a, b in runs if b - a >= shortest]


def _bend(curvature: Reals, start: int, end: int) -> _Bend:
    apex = start + int(np.argmax(np.abs(curvature[start : end + 1])))
    return _Bend(start, apex, end, "right" if curvature[start] > 0 else "left")


def _joined_runs(curvature: Reals, gap: int) -> list[tuple[int, int]]:
    """Return the runs of the same bend, joined where fewer than ``gap`` places lie between them."""
    runs: list[tuple[int, int]] = []
    for start, end in _runs(np.abs(curvature) > 1 / _WIDEST_RADIUS_M, np.sign(curvature)):
        same = runs and np.sign(curvature[runs[-1][0]]) == np.sign(curvature[start])
        if same and start - runs[-1][1] < gap:
            runs[-1] = runs[-1][0], end
        else:
            runs.append((start, end))
    return runs


def _runs(mask: Mask, sign: Reals) -> list[tuple[int, int]]:
    """Return the first and last index of each stretch in which the mask holds with one sign."""
    signed = np.where(mask, sign, 0)
    edges = np.flatnonzero(np.diff(signed, prepend=0, append=0))
    return [(int(a), int(b) - 1) for a, b in pairwise(edges) if signed[a]]


def _by_speed(laps: Sequence[Trace]) -> list[_Bend]:
    speeds = stacked(laps, "speed_kmh")
    axis = laps[0].axis
    speed = smoothed(np.median(speeds, axis=0), _places(axis, _SMOOTHED_M))
    found = [i for i in _minima(speed) if _is_driven(laps, i, _places(axis, _NEAR_M))]
    return [_Bend(*_half_way(speed, i), "") for i in found]


def _minima(speed: Reals) -> list[int]:
    """Return the minima of the speed whose prominence is large enough on both sides.

    A minimum is slower by the prominence than the fastest place between it and any slower place.
    The function goes along the turning points. It removes the smallest rise or fall until all that
    are left are large enough.
    """
    slope = np.sign(np.diff(speed))
    turning = [0, *(np.flatnonzero(np.diff(slope) != 0) + 1).tolist(), len(speed) - 1]
    while len(turning) > 2:
        steps = np.abs(np.diff(speed[turning]))
        least = int(np.argmin(steps))
        if steps[least] >= _PROMINENCE_KMH:
            break
        # At an end only the inner point goes. Elsewhere both go, and a larger rise or fall then
        # spans them.
        del turning[max(least, 1) : min(least + 2, len(turning) - 1)]
    inner = zip(turning, turning[1:], turning[2:], strict=False)
    return [i for before, i, after in inner if speed[i] < speed[before] and speed[i] < speed[after]]


def _is_driven(laps: Sequence[Trace], place: int, near: int) -> bool:
    """Return whether most laps are off the throttle there: a straight into the wind is none."""
    around = slice(max(place - near, 0), place + near)
    lifted = (stacked(laps, "throttle")[:, around] < _LIFTED).any(axis=1)
    return bool(lifted.mean() >= _PRESENT_IN)


def _half_way(speed: Reals, place: int) -> tuple[int, int, int]:
    """Return the start, the apex and the end of a corner that was found by speed.

    At the start half of the speed is lost; at the end half of it is back.
    """
    slower: Integers = np.flatnonzero(np.diff(speed) > 0)
    faster: Integers = np.flatnonzero(np.diff(speed) < 0)
    top_before = int(slower[slower < place][-1]) + 1 if (slower < place).any() else 0
    top_after = int(faster[faster > place][0]) if (faster > place).any() else len(speed) - 1
    entered = np.flatnonzero(speed[top_before : place + 1] > (speed[top_before] + speed[place]) / 2)
    left = np.flatnonzero(speed[place : top_after + 1] < (speed[top_after] + speed[place]) / 2)
    return (
        top_before + int(entered[-1] if len(entered) else 0),
        place,
        place + int(left[-1] if len(left) else 0),
    )


def _cut(speed: Reals, before: _Bend, after: _Bend, early: int) -> int:
    """Return the index that separates two corners, somewhat before the fastest place between them.

    A driver who brakes early then loses the time in the corner that he brakes for.
    """
    start, end = before.end, max(after.start, before.end)
    fastest = int(np.argmax(speed[start : end + 1]))
    return start + fastest - min(early, fastest // 3)


def _places(axis: Axis, metres: float) -> int:
    return max(round(metres / float(axis.distance_m[1])), 1)
