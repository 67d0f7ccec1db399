"""Tests how often chance alone shows differences as large as those between two sets of laps.

The module is pure. It exchanges whole laps between the sets, and keeps the largest statistic over
all columns (Westfall and Young 1993). So the error rate holds over all columns together, and
columns may depend on each other. The number of laps selects one of three ways:

* From six laps a side: statistics of ranks, so that a spin weighs no more than a slow lap. Equal
  values share a rank.
* From four laps a side: every possible exchange. Statistics are differences of means over a spread.
  Half of the spread is pooled over the columns of the same measure, because a few laps estimate
  their spread badly.
* With fewer laps no exchange is rare enough (three against three: 2 of 20). The pooled spread then
  is a model: the same statistic of noise with heavy tails. A column counts only where all laps of
  one set are above all of the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np

from analytics.model.arrays import Integers, Mask, Reals

#: Ranks are precise enough from this many laps a side.
RANKED_LAPS = 6
#: A test is useless if it cannot give a smaller probability.
_LEVEL = 0.05
_EXCHANGES = 1000
_ALL_EXCHANGES = 2000
_MODEL_DRAWS = 2000
# Corner times have heavier tails than a normal distribution.
_TAILS = 3
# Noise is not a driver. Without this factor, halves of one simulated session differed in 27 of 300
# splits, where 15 are fair. With a factor of two they differed in 20.
_MODEL_CAUTION = 3.0
_NO_SPREAD = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class NullDistribution:
    """The statistics as driven, one per column, and those by chance, one row per exchange with the
    same columns.
    """

    seen: Reals
    by_chance: Reals
    complete: bool = False
    modelled: bool = False

    def probabilities(self, columns: Sequence[int]) -> Reals:
        """Return, for each of ``columns``, how often chance shows as large a statistic in any of
        them.
        """
        largest = self.by_chance[:, columns].max(axis=1)
        as_large = (largest[:, None] >= self.seen[columns] - _NO_SPREAD).sum(axis=0)
        # The laps as driven are one of all exchanges. Exchanges that were drawn do not include
        # them, so they count once more.
        drawn = 0 if self.complete else 1
        found = (drawn + as_large) / (drawn + len(largest))
        return np.asarray(
            np.minimum(1.0, found * (_MODEL_CAUTION if self.modelled else 1.0)), np.float64
        )


def null_distribution(
    values: Reals, ours: int, measures: Integers, draw: np.random.Generator
) -> NullDistribution:
    """Return the statistics as driven and by chance, for each column of ``values``.

    The first ``ours`` rows are one set of laps, the others the other; NaN is unknown. ``measures``
    numbers the measure of each column. Columns of one measure share their spread.
    """
    theirs = len(values) - ours
    as_driven = (np.arange(len(values)) < ours)[None, :]
    if not _can_be_rare(ours, theirs):
        return _modelled(values, as_driven, measures, draw)
    complete = comb(len(values), ours) <= _ALL_EXCHANGES
    exchanged = _every_exchange(len(values), ours) if complete else _some_exchanges(as_driven, draw)
    if min(ours, theirs) >= RANKED_LAPS:
        ranks = np.apply_along_axis(_ranks, 0, values)
        seen, by_chance = (_rank_statistics(ranks, sides) for sides in (as_driven, exchanged))
    else:
        seen, by_chance = (_statistics(values, sides, measures) for sides in (as_driven, exchanged))
    return NullDistribution(seen[0], by_chance, complete)


def spreads(values: Reals, ours: int, measures: Integers) -> Reals:
    """Return the spread from lap to lap within the two sets, for each column.

    Half of the variance is pooled over the column's measure.
    """
    within = _within(values, (np.arange(len(values)) < ours)[None, :], measures)
    return np.asarray(np.sqrt(within.variances[0]), np.float64)


def _can_be_rare(ours: int, theirs: int) -> bool:
    """Return whether an exchange of the laps can be rare enough for the test.

    Exchanging two sets of the same size for each other changes nothing.
    """
    alike = 2 if ours == theirs else 1
    return alike / comb(ours + theirs, ours) <= _LEVEL


def _every_exchange(laps: int, ours: int) -> Mask:
    chosen = np.array(list(combinations(range(laps), ours)))
    sides = np.zeros((len(chosen), laps), bool)
    np.put_along_axis(sides, chosen, True, axis=1)
    return sides


def _some_exchanges(as_driven: Mask, draw: np.random.Generator) -> Mask:
    mixed: Mask = draw.permuted(np.repeat(as_driven, _EXCHANGES, axis=0), axis=1)
    return mixed


def _modelled(
    values: Reals, as_driven: Mask, measures: Integers, draw: np.random.Generator
) -> NullDistribution:
    seen = np.where(_apart(values, as_driven[0]), _statistics(values, as_driven, measures)[0], 0.0)
    # Corners differ in their spread by a factor of ten, and the noise must do so too. With noise of
    # equal spread, halves differed in 34 of 300 splits.
    within = _within(values, as_driven, measures)
    scale = np.sqrt(np.maximum(within.own, within.variances)[0])
    noise = draw.standard_t(_TAILS, (_MODEL_DRAWS, *values.shape)) * scale
    noise[:, ~np.isfinite(values)] = np.nan
    return NullDistribution(seen, _statistics(noise, as_driven, measures)[:, 0], modelled=True)


def _apart(values: Reals, ours: Mask) -> Mask:
    """Return, for each column, whether all known values of one set are above all of the other."""
    known = np.isfinite(values)
    low, high = np.where(known, values, np.inf), np.where(known, values, -np.inf)
    above = low[ours].min(axis=0) > high[~ours].max(axis=0)
    below = high[ours].max(axis=0) < low[~ours].min(axis=0)
    both: Mask = (above | below) & known[ours].any(axis=0) & known[~ours].any(axis=0)
    return both


@dataclass(frozen=True, slots=True, eq=False)
class _Within:
    """Means, counts and variances within the sets, for each way to choose our laps (rows) and each
    column.

    ``variances`` are half ``own`` and half pooled over the measure. Values of several draws have
    one more dimension in front.
    """

    means: tuple[Reals, Reals]
    counts: tuple[Reals, Reals]
    own: Reals
    variances: Reals


def _within(values: Reals, sides: Mask, measures: Integers) -> _Within:
    known = np.isfinite(values)
    filled = _centred(values, known)
    means, counts, squares = [], [], 0.0
    for side in (sides.astype(float), (~sides).astype(float)):
        n = side @ known.astype(float)
        mean = side @ filled / np.maximum(n, 1)
        squares = squares + np.maximum(side @ filled**2 - n * mean**2, 0)
        means.append(mean)
        counts.append(n)
    own = squares / np.maximum(counts[0] + counts[1] - 2, 1)
    shared = (own + _pooled(own, measures)) / 2
    return _Within((means[0], means[1]), (counts[0], counts[1]), own, shared)


def _centred(values: Reals, known: Mask) -> Reals:
    """Return values relative to the mean of their column, with 0 for the unknown ones.

    Otherwise the squares of times and places would lose digits.
    """
    sums = np.where(known, values, 0.0).sum(axis=-2, keepdims=True)
    means = sums / np.maximum(known.sum(axis=-2, keepdims=True), 1)
    return np.where(known, values - means, 0.0)


def _pooled(own: Reals, measures: Integers) -> Reals:
    """Return for each column the median of all columns of its measure."""
    pooled = np.empty_like(own)
    for measure in np.unique(measures):
        same = measures == measure
        pooled[..., same] = np.median(own[..., same], axis=-1, keepdims=True)
    return pooled


def _statistics(values: Reals, sides: Mask, measures: Integers) -> Reals:
    """Return the differences of means in units of their standard error, one row for each way to
    choose our laps.
    """
    within = _within(values, sides, measures)
    fewest = np.minimum(*within.counts)
    error = np.sqrt(within.variances * sum(1 / np.maximum(n, 1) for n in within.counts))
    comparable = (error > _NO_SPREAD) & (fewest >= 1)
    return np.where(
        comparable, np.abs(within.means[0] - within.means[1]) / np.where(comparable, error, 1), 0.0
    )


def _ranks(values: Reals) -> Reals:
    """Rank each known value; equal values share the middle of their ranks."""
    in_order = np.sort(values[np.isfinite(values)])
    below, up_to = (np.searchsorted(in_order, values, side) for side in ("left", "right"))
    return np.where(np.isfinite(values), (below + up_to - 1) / 2, np.nan)


def _rank_statistics(ranks: Reals, sides: Mask) -> Reals:
    """Return the distance between the mean ranks, in units of the spread of all ranks."""
    known = np.isfinite(ranks)
    filled = np.where(known, ranks, 0.0)
    both = (sides.astype(float), (~sides).astype(float))
    counts = [np.maximum(side @ known.astype(float), _NO_SPREAD) for side in both]
    means = [side @ filled / n for side, n in zip(both, counts, strict=True)]
    spread = np.where(
        known.any(axis=0), np.nanstd(np.where(known.any(axis=0), ranks, 0.0), axis=0), 0.0
    )
    scale = spread * np.sqrt(1 / counts[0] + 1 / counts[1])
    comparable = (scale > 0) & (np.minimum(*counts) >= 1)
    return np.where(comparable, np.abs(means[0] - means[1]) / np.where(comparable, scale, 1), 0.0)
