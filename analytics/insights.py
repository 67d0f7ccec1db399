"""Where one set of laps loses time to another, in words and numbers, and never on the strength of chance.

Pure. Compares distributions, not two laps: a corner is spoken of only where shuffling the laps between the two sets hardly ever
gives as large a difference anywhere on the track (`analytics.chance`), and where the difference has one sign in its whole interval.
Sizes are differences of medians, with a bootstrap interval; unlike the parts of two laps (`analytics.cornering.time_lost_s`) medians
need not add up. With fewer laps than `LEAST_LAPS` on either side nothing is said.

What goes with a loss is not proven to cause it: an insight names the differences in driving that stand out in the same corner.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from analytics.chance import chances
from analytics.cornering import Cornering, robust_spread
from analytics.corners import Corner
from analytics.stretch import Reals

#: On either side of a comparison.
LEAST_LAPS = 6

_CHANCE = 0.05
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
    for i, chance in zip(enough, chances(values, len(ours), draw), strict=True):
        if chance <= _CHANCE:
            measure, column = looked_at[i]
            difference = _difference(measure, *pairs[i], chance, draw)
            # Ranks may be apart where medians are not: of two modes, say. Then there is no size to tell.
            if difference.low * difference.high > 0:
                yield column, difference


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
