"""Laps that nobody drove, made of parts that somebody did: the theoretical best, and the best that was in reach.

Pure. The theoretical best takes the fastest of each part from any lap; finer parts make it faster and less real, for the speed at
which one part ends need not be that at which the next begins. The attainable best is one lap's length driven without a break,
from any part's start to the same place one lap later: it was driven, if not from line to line.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analytics.comparison.trace import Trace
from analytics.model.arrays import Reals
from analytics.model.track_layout import MINI_SECTORS


@dataclass(frozen=True, slots=True)
class TheoreticalBest:
    """A lap put together. ``parts`` names for each part the row of the laps that it is from; ``n`` laps were looked at."""

    time_s: float
    parts: tuple[int, ...]
    n: int


def mini_sectors_m(laps: Sequence[Trace], parts: int = MINI_SECTORS) -> Reals:
    """The bounds of equal parts, from 0 to the length of the laps' axis."""
    return np.linspace(0, laps[0].axis.length_m, parts + 1)


def part_times_s(laps: Sequence[Trace], bounds_m: Reals) -> Reals:
    """How long each lap took in each part: one row a lap, one column a part; rows add up to the lap times."""
    return np.stack([np.diff(np.interp(bounds_m, lap.axis.distance_m, lap.time_s)) for lap in laps])


def theoretical_best(times_s: Reals) -> TheoreticalBest:
    """The fastest of each column. Raises ValueError without a lap."""
    _check(times_s)
    rows = np.argmin(times_s, axis=0)
    return TheoreticalBest(float(times_s.min(axis=0).sum()), tuple(rows.tolist()), len(times_s))


def attainable_best(times_s: Reals, numbers: Sequence[int]) -> TheoreticalBest:
    """The fastest run of as many parts as a lap has, through laps whose ``numbers`` follow one another.

    Never slower than the fastest lap. Raises ValueError without a lap.
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
    return TheoreticalBest(float(totals[best]), tuple((np.arange(best, best + parts) // parts).tolist()), count)


def _check(times_s: Reals) -> None:
    if not times_s.size:
        raise ValueError("a best lap is made of laps, and there is none")
    if not np.isfinite(times_s).all():
        raise ValueError("some parts have no time; leave out laps that were not driven from line to line")
