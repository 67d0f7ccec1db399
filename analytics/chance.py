"""How often chance alone shows as much: two sets of laps, shuffled as a whole, over all measures that are looked at.

Pure. A permutation test with the largest statistic of all columns (Westfall and Young 1993): however many columns there are, one
comparison of twenty in which there is nothing says something at 0.05. Statistics are of ranks, so that a spin weighs no more than
a slow lap; equal values have equal ranks, or the order of the sets would speak where frames are coarse.
"""

import numpy as np

from analytics.stretch import Mask, Reals

_SHUFFLES = 1000


def chances(values: Reals, ours: int, draw: np.random.Generator) -> Reals:
    """For each column, how often laps that are shuffled as a whole show as large a statistic in any column.

    The first ``ours`` rows are one set of laps, the others the other; what a lap has not is NaN.
    """
    ranks = np.apply_along_axis(_ranks, 0, values)
    as_driven = np.arange(len(ranks)) < ours
    seen = _statistics(ranks, as_driven[None, :])[0]
    shuffled = _statistics(ranks, draw.permuted(np.tile(as_driven, (_SHUFFLES, 1)), axis=1)).max(axis=1)
    found: Reals = (1 + (shuffled[:, None] >= seen - 1e-9).sum(axis=0)) / (1 + _SHUFFLES)
    return found


def _ranks(values: Reals) -> Reals:
    """Of each value among those that are known; equal ones share the middle of theirs."""
    in_order = np.sort(values[np.isfinite(values)])
    below, up_to = (np.searchsorted(in_order, values, side) for side in ("left", "right"))
    return np.where(np.isfinite(values), (below + up_to - 1) / 2, np.nan)


def _statistics(ranks: Reals, ours: Mask) -> Reals:
    """How far apart the mean ranks are, in units of their spread, a row for each way to choose ``ours`` (a row of it each)."""
    known = np.isfinite(ranks)
    filled = np.where(known, ranks, 0.0)
    counts = [np.maximum(side @ known.astype(float), 1e-9) for side in (ours.astype(float), (~ours).astype(float))]
    means = [side @ filled / n for side, n in zip((ours.astype(float), (~ours).astype(float)), counts, strict=True)]
    scale = np.nanstd(ranks, axis=0) * np.sqrt(1 / counts[0] + 1 / counts[1])
    comparable = (scale > 0) & (np.minimum(*counts) >= 1)
    return np.where(comparable, np.abs(means[0] - means[1]) / np.where(comparable, scale, 1), 0.0)
