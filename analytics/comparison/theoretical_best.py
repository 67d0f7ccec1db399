"""Builds laps that nobody drove from parts that were driven: the theoretical best and the
attainable best.

The module is pure. The theoretical best takes the fastest of each part from any lap. Finer parts
make it faster and less realistic: the speed at the end of one part need not match the start of the
next. The attainable best is one lap's length driven without a break. It goes from any part's start
to the same place one lap later. It was driven, though perhaps not from line to line.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analytics.comparison.trace import Trace
from analytics.model.arrays import Reals
from analytics.model.track_layout import MINI_SECTORS


@dataclass(frozen=True, slots=True)
class TheoreticalBest:
    """A lap put together from parts of other laps.

    ``parts`` holds, for each part, the row of the lap that it comes from. ``n`` is the number of
    laps considered.
    """

    time_s: float
    parts: tuple[int, ...]
    n: int


def mini_sectors_m(laps: Sequence[Trace], parts: int = MINI_SECTORS) -> Reals:
    """Return the bounds of equal parts, from 0 to the length of the laps' axis."""
    return np.linspace(0, laps[0].axis.length_m, parts + 1)


def part_times_s(laps: Sequence[Trace], bounds_m: Reals) -> Reals:
    """Return the time of each lap in each part: one row per lap, one column per part; rows add up
    to the lap times.
    """
    return np.stack([np.diff(np.interp(bounds_m, lap.axis.distance_m, lap.time_s)) for lap in laps])


def theoretical_best(times_s: Reals) -> TheoreticalBest:
    """Add up the fastest time of each column. Raises ValueError without a lap."""
    _check(times_s)
    rows = np.argmin(times_s, axis=0)
    return TheoreticalBest(float(times_s.min(axis=0).sum()), tuple(rows.tolist()), len(times_s))


def attainable_best(times_s: Reals, numbers: Sequence[int]) -> TheoreticalBest:
    """Find the fastest run of as many parts as a lap has, through laps whose ``numbers`` are
    consecutive.

    It is never slower than the fastest lap. Raises ValueError without a lap.
    """
    _check(times_s)
    count, parts = times_s.shape
    joined = times_s.ravel()
    totals = np.convolve(joined, np.ones(parts), "valid")
    starts = np.arange(len(totals))
    row, first = starts // parts, starts % parts
    follows = np.append(np.diff(numbers) == 1, False)
    driven = (first == 0) | follows[row]
    best = int(starts[driven][np.argmin(totals[driven])])
    return TheoreticalBest(
        float(totals[best]), tuple((np.arange(best, best + parts) // parts).tolist()), count
    )


def _check(times_s: Reals) -> None:
    if not times_s.size:
        raise ValueError("a best lap is made of laps, and there is none")
    if not np.isfinite(times_s).all():
        raise ValueError(
            "some parts have no time; leave out laps that were not driven from line to line"
        )
