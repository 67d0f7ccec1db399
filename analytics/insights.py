"""Where one set of laps loses time to another, in words and numbers, and never on the strength of chance.

Pure. Compares distributions, not two laps: a corner is spoken of only where shuffling the laps between the two sets hardly ever
gives as large a difference anywhere on the track. That is a permutation test with the largest statistic over all that is looked at
(Westfall and Young 1993): however many corners a track has, a false word about any of them comes in one comparison of twenty.
Sizes are differences of medians, with a bootstrap interval. With fewer laps than `LEAST_LAPS` on either side nothing is said.

What goes with a loss is not proven to cause it: an insight names the differences in driving that stand out in the same corner.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from analytics.cornering import Cornering, robust_spread
from analytics.corners import Corner
from analytics.stretch import Mask, Reals

#: On either side of a comparison.
LEAST_LAPS = 6

_CHANCE = 0.05
_SHUFFLES = 1000
_RESAMPLES = 1000
_SMALLEST_S = 0.02

#: What may stand behind a loss, how it is said when it is more or less, its unit, and what is too small to mention.
_WORDS: Mapping[str, tuple[str, str, str, float]] = {
    "brake_m": ("braking {} later", "braking {} early", "m", 2.0),
    "lift_m": ("lifting {} later", "lifting {} early", "m", 2.0),
    "min_speed_kmh": ("{} more at the slowest", "{} less at the slowest", "km/h", 0.5),
    "throttle_m": ("on the throttle {} later", "on the throttle {} earlier", "m", 2.0),
    "full_throttle_m": ("full throttle {} later", "full throttle {} earlier", "m", 2.0),
    "exit_speed_kmh": ("{} faster at the end of the straight", "{} slower at the end of the straight", "km/h", 0.5),
}


@dataclass(frozen=True, slots=True)
class Difference:
    """The medians of two sets of laps apart: ours less the reference's, with the 95 % interval of a bootstrap.

    ``n`` and ``n_reference`` laps have the measure; ``spread`` is the reference's from lap to lap. ``chance`` is how often
    shuffled laps showed as much anywhere.
    """

    measure: str
    size: float
    low: float
    high: float
    n: int
    n_reference: int
    spread: float
    chance: float

    def __str__(self) -> str:
        more, less, unit, _ = _WORDS[self.measure]
        amount = f"{abs(self.size):.0f} {unit}" if unit == "m" else f"{abs(self.size):.1f} {unit}"
        return (more if self.size > 0 else less).format(amount)


@dataclass(frozen=True, slots=True)
class Insight:
    """A corner in which time is lost (or won, where ``time.size`` is below 0), and how it is driven otherwise."""

    corner: Corner
    time: Difference
    driving: tuple[Difference, ...]

    def __str__(self) -> str:
        how = ", ".join(map(str, self.driving)) or "no single difference stands out"
        verb = "lost" if self.time.size > 0 else "won"
        low, high = sorted((abs(self.time.low), abs(self.time.high)))
        return (
            f"{self.corner}: {how}; {abs(self.time.size):.2f} s {verb} "
            f"({low:.2f} to {high:.2f} s, {self.time.n} laps against {self.time.n_reference})"
        )


def insights(ours: Cornering, reference: Cornering, *, seed: int = 0) -> list[Insight]:
    """Where ``ours`` differs from the reference, the costliest corner first. Empty where nothing is sure.

    The same laps and ``seed`` give the same answer. Raises ValueError for laps in other corners than the reference's.
    """
    if ours.corners != reference.corners:
        raise ValueError("both sets of laps must be measured in the same corners; find them once, in all laps")
    if min(len(ours), len(reference)) < LEAST_LAPS:
        return []
    draw = np.random.default_rng(seed)
    times = [("time_s", column) for column in range(len(ours.corners))]
    lost = [d for d in _found(ours, reference, times, draw) if abs(d[1].size) >= _SMALLEST_S]
    behind = [(measure, column) for column, _ in lost for measure in _WORDS]
    driving = list(_found(ours, reference, behind, draw))
    said = [Insight(ours.corners.corners[column], time, tuple(_worth_saying(column, driving))) for column, time in lost]
    return sorted(said, key=lambda one: -one.time.size)


def _worth_saying(column: int, driving: list[tuple[int, Difference]]) -> Iterator[Difference]:
    return (d for at, d in driving if at == column and abs(d.size) >= _WORDS[d.measure][3])


def _found(
    ours: Cornering, reference: Cornering, looked_at: list[tuple[str, int]], draw: np.random.Generator
) -> Iterator[tuple[int, Difference]]:
    """The differences that chance does not explain, each with the column of its corner."""
    pairs = [(ours[measure][:, column], reference[measure][:, column]) for measure, column in looked_at]
    enough = [i for i, pair in enumerate(pairs) if min(np.isfinite(side).sum() for side in pair) >= LEAST_LAPS]
    if not enough:
        return
    values = np.column_stack([np.concatenate(pairs[i]) for i in enough])
    for i, chance in zip(enough, _chances(values, len(ours), draw), strict=True):
        if chance <= _CHANCE:
            measure, column = looked_at[i]
            yield column, _difference(measure, *pairs[i], chance, draw)


def _chances(values: Reals, ours: int, draw: np.random.Generator) -> Reals:
    """For each column, how often laps that are shuffled as a whole show as large a statistic in any column."""
    ranks = _ranks(values)
    as_driven = np.arange(len(ranks)) < ours
    seen = _statistics(ranks, as_driven[None, :])[0]
    shuffled = _statistics(ranks, draw.permuted(np.tile(as_driven, (_SHUFFLES, 1)), axis=1)).max(axis=1)
    chances: Reals = (1 + (shuffled[:, None] >= seen).sum(axis=0)) / (1 + _SHUFFLES)
    return chances


def _statistics(ranks: Reals, ours: Mask) -> Reals:
    """How far apart the mean ranks are, in units of their spread, a row for each way to choose ``ours`` (a row of it each).

    Ranks, so that a spin weighs no more than a slow lap.
    """
    known = np.isfinite(ranks)
    filled = np.where(known, ranks, 0.0)
    counts = [np.maximum(side @ known.astype(float), 1e-9) for side in (ours.astype(float), (~ours).astype(float))]
    means = [side @ filled / n for side, n in zip((ours.astype(float), (~ours).astype(float)), counts, strict=True)]
    scale = np.nanstd(ranks, axis=0) * np.sqrt(1 / counts[0] + 1 / counts[1])
    comparable = (scale > 0) & (np.minimum(*counts) >= 1)
    return np.where(comparable, np.abs(means[0] - means[1]) / np.where(comparable, scale, 1), 0.0)


def _ranks(values: Reals) -> Reals:
    order = np.argsort(np.argsort(values, axis=0), axis=0).astype(np.float64)
    return np.where(np.isfinite(values), order, np.nan)


def _difference(measure: str, ours: Reals, reference: Reals, chance: float, draw: np.random.Generator) -> Difference:
    ours, reference = ours[np.isfinite(ours)], reference[np.isfinite(reference)]
    again = _medians(ours, draw) - _medians(reference, draw)
    low, high = np.quantile(again, (0.025, 0.975)).tolist()
    return Difference(
        measure=measure,
        size=float(np.median(ours) - np.median(reference)),
        low=low,
        high=high,
        n=len(ours),
        n_reference=len(reference),
        spread=robust_spread(reference),
        chance=float(chance),
    )


def _medians(values: Reals, draw: np.random.Generator) -> Reals:
    return np.asarray(np.median(draw.choice(values, (_RESAMPLES, len(values))), axis=1), np.float64)
