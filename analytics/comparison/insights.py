"""Finds where one set of laps loses time to another, in words and numbers, and leaves out chance
differences.

The module is pure. It compares distributions, not two laps. It names a corner only where chance
hardly ever gives as large a difference anywhere on the track
(`analytics.comparison.permutation_test`). The difference must also have one sign in its whole
interval. Within such a corner, a difference in driving must stand out from chance among that
corner's own measures. Sizes are differences of medians. Medians need not add up over corners,
unlike the parts of two laps (`analytics.comparison.corner_metrics.time_lost_s`). With fewer laps
than `LEAST_LAPS` on either side there are no insights.

The parts of an insight show where along the corner the time went. So a loss is located even where
no single difference in driving stands out. A difference that goes with a loss is not proven to
cause it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from analytics.comparison.corner_metrics import CornerMetrics, robust_spread
from analytics.comparison.corners import Corner
from analytics.comparison.permutation_test import null_distribution, spreads
from analytics.model.arrays import Reals

#: The fewest laps on either side of a comparison.
LEAST_LAPS = 3

_CHANCE = 0.05
_RESAMPLES = 1000
_SMALLEST_S = 0.02
# A bootstrap of fewer laps gives intervals that are too narrow. With six laps, later laps were
# within 87 % of the intervals.
_BOOTSTRAP_LAPS = 10
# Student's t for four degrees of freedom at 97.5 %, because a difference that stands out is
# overestimated. The second factor is how much wider the median of a few laps scatters than their
# mean.
_FEW_LAPS_T, _MEDIAN_OF_FEW = 3.5, 1.2

#: The measures that may explain a loss. Each has its words for more and for less, its unit, and the
#: smallest size to mention.
_WORDS: Mapping[str, tuple[str, str, str, float]] = {
    "brake_m": ("braking {} later", "braking {} early", "m", 2.0),
    "lift_m": ("lifting {} later", "lifting {} early", "m", 2.0),
    "min_speed_kmh": ("{} more at the slowest", "{} less at the slowest", "km/h", 0.5),
    "throttle_m": ("on the throttle {} later", "on the throttle {} earlier", "m", 2.0),
    "full_throttle_m": ("full throttle {} later", "full throttle {} earlier", "m", 2.0),
    "off_throttle_m": ("off the throttle for {} more", "off the throttle for {} less", "m", 5.0),
    "approach_speed_kmh": ("{} faster on the approach", "{} slower on the approach", "km/h", 0.5),
    "exit_speed_kmh": (
        "{} faster at the end of the straight",
        "{} slower at the end of the straight",
        "km/h",
        0.5,
    ),
    "path_m": ("on a line {} longer", "on a line {} shorter", "m", 2.0),
}

#: The parts of a corner, in driven order.
PHASES = ("on the approach", "while braking", "on the throttle", "on the straight")
_PHASE_OF = {
    "brake_m": 1,
    "lift_m": 1,
    "min_speed_kmh": 1,
    "throttle_m": 2,
    "full_throttle_m": 2,
    "off_throttle_m": 2,
    "approach_speed_kmh": 0,
    "exit_speed_kmh": 3,
    "path_m": 2,
}
# A throttle that was touched and left again has no later place. Where it has one, that is named.
_PLACES_OF_THROTTLE = {"throttle_m", "full_throttle_m"}
# The sentence leaves out a part with a smaller share of the loss.
_SHARE_NAMED = 0.25


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference of two sets' medians: ours less the reference's, with its 95 % interval.

    ``n`` and ``n_reference`` count the laps that have the measure. ``spread`` is the reference's
    spread from lap to lap. ``chance`` is the probability that chance gives a difference as large.
    For times it holds anywhere on the track, for driving in this corner.
    """

    measure: str
    size: float
    low: float
    high: float
    n: int
    n_reference: int
    spread: float
    chance: float

    @property
    def is_large(self) -> bool:
        """Return whether the difference in driving is large enough to mention."""
        return abs(self.size) >= _WORDS[self.measure][3]

    def __str__(self) -> str:
        more, less, unit, _ = _WORDS[self.measure]
        amount = f"{abs(self.size):.0f} {unit}" if unit == "m" else f"{abs(self.size):.1f} {unit}"
        return (more if self.size > 0 else less).format(amount)


@dataclass(frozen=True, slots=True)
class CornerPart:
    """The time that is lost in a phase of a corner, one of `PHASES`; below 0 it is won."""

    phase: str
    time_s: float

    def __str__(self) -> str:
        return f"{abs(self.time_s):.2f} s of it {self.phase}"


@dataclass(frozen=True, slots=True)
class Insight:
    """A corner in which time is lost, the phases that lose it, and the differences in driving.

    Where ``time.size`` is below 0, time is won. ``parts`` add up to ``time.size``. ``driving``
    begins with the differences that belong to the costliest part.
    """

    corner: Corner
    time: Difference
    driving: tuple[Difference, ...]
    parts: tuple[CornerPart, ...] = ()

    def __str__(self) -> str:
        how = ", ".join(map(str, self.driving)) or "no single difference in driving stands out"
        verb = "lost" if self.time.size > 0 else "won"
        low, high = sorted((abs(self.time.low), abs(self.time.high)))
        counts = f"{self.time.n} laps against {self.time.n_reference}"
        where = "".join(f", {part}" for part in self._named_parts())
        return (
            f"{self.corner}: {how}; {abs(self.time.size):.2f} s {verb} ({low:.2f} to {high:.2f} s,"
            f" {counts}){where}"
        )

    def _named_parts(self) -> list[CornerPart]:
        named = [part for part in self.parts if part.time_s / self.time.size >= _SHARE_NAMED]
        return sorted(named, key=lambda part: -abs(part.time_s))


def insights(ours: CornerMetrics, reference: CornerMetrics, *, seed: int = 0) -> list[Insight]:
    """Find where ``ours`` differs from the reference, the costliest corner first.

    The list is empty where no difference is sure. The same laps and ``seed`` give the same result.
    Raises ValueError for laps in other corners than the reference's.
    """
    if ours.corners != reference.corners:
        raise ValueError(
            "both sets of laps must be measured in the same corners; find them once, in all laps"
        )
    if min(len(ours), len(reference)) < LEAST_LAPS:
        return []
    comparison = _Comparison(ours, reference, np.random.default_rng(seed))
    found = [_insight(comparison, column, time) for column, time in comparison.times()]
    return sorted(found, key=lambda one: -one.time.size)


def _insight(comparison: "_Comparison", column: int, time: Difference) -> Insight:
    parts = _parts(comparison.ours, comparison.reference, column)
    cost = [part.time_s * float(np.sign(time.size)) for part in parts]
    driving = _named([d for d in comparison.driving(column) if d.is_large], cost)
    return Insight(comparison.ours.corners.corners[column], time, tuple(driving), parts)


def _named(driving: list[Difference], cost: list[float]) -> list[Difference]:
    """Return the differences that say the most, those of the costliest part first.

    ``cost`` is the time of each of `PHASES`. The speed of the approach comes from the corner
    before. It is named where the approach costs the most, or nothing else stands out.
    """
    found = {difference.measure: difference for difference in driving}
    if found.keys() & _PLACES_OF_THROTTLE:
        found.pop("off_throttle_m", None)
    if len(found) > 1 and cost[0] < max(cost):
        found.pop("approach_speed_kmh", None)
    return sorted(found.values(), key=lambda one: -cost[_PHASE_OF[one.measure]])


class _Comparison:
    """Two sets of laps in the same corners; each measure of each corner is a column."""

    def __init__(
        self, ours: CornerMetrics, reference: CornerMetrics, draw: np.random.Generator
    ) -> None:
        self.ours, self.reference = ours, reference
        self._draw = draw
        self._measures = ["time_s", *_WORDS]
        self._corners = len(ours.corners)
        self._values = np.concatenate(
            [np.hstack([side[name] for name in self._measures]) for side in (ours, reference)]
        )
        groups = np.repeat(np.arange(len(self._measures)), self._corners)
        self._spreads = spreads(self._values, len(ours), groups)
        self._null = null_distribution(self._values, len(ours), groups, draw)

    def times(self) -> Iterator[tuple[int, Difference]]:
        """Yield the column and the difference of each corner that chance does not explain."""
        for difference, column in self._found(range(self._corners)):
            if abs(difference.size) >= _SMALLEST_S:
                yield column, difference

    def driving(self, corner: int) -> Iterator[Difference]:
        """Yield the differences in driving a corner that chance does not explain."""
        columns = range(self._corners + corner, self._values.shape[1], self._corners)
        return (difference for difference, _ in self._found(columns))

    def _found(self, columns: range) -> Iterator[tuple[Difference, int]]:
        enough = self._with_enough_laps(columns)
        if not enough:
            return
        for column, chance in zip(enough, self._null.probabilities(enough).tolist(), strict=True):
            if chance <= _CHANCE:
                difference = self._difference(column, chance)
                # Ranks may differ where medians do not, for example with two modes. Then there is
                # no size to name.
                if difference.low * difference.high > 0:
                    yield difference, column

    def _with_enough_laps(self, columns: range) -> list[int]:
        ours, reference = np.split(np.isfinite(self._values), [len(self.ours)])
        counts = np.minimum(ours.sum(axis=0), reference.sum(axis=0))
        least = min(LEAST_LAPS, len(self.ours), len(self.reference))
        return [column for column in columns if counts[column] >= least]

    def _difference(self, column: int, chance: float) -> Difference:
        ours, reference = self._sides(column)
        size, low, high = self._estimate(ours, reference, float(self._spreads[column]))
        return Difference(
            measure=self._measures[column // self._corners],
            size=size,
            low=low,
            high=high,
            n=len(ours),
            n_reference=len(reference),
            spread=robust_spread(reference),
            chance=chance,
        )

    def _sides(self, column: int) -> tuple[Reals, Reals]:
        ours, reference = np.split(self._values[:, column], [len(self.ours)])
        return ours[np.isfinite(ours)], reference[np.isfinite(reference)]

    def _estimate(self, ours: Reals, reference: Reals, spread: float) -> tuple[float, float, float]:
        """Return the difference of the medians and its 95 % bounds.

        The bounds are from a bootstrap, or from the pooled spread where laps are too few to draw
        from.
        """
        size = float(np.median(ours) - np.median(reference))
        if min(len(ours), len(reference)) >= _BOOTSTRAP_LAPS:
            again = _medians(ours, self._draw) - _medians(reference, self._draw)
            low, high = np.quantile(again, (0.025, 0.975)).tolist()
            return size, low, high
        off = (
            _FEW_LAPS_T
            * _MEDIAN_OF_FEW
            * spread
            * float(np.sqrt(1 / len(ours) + 1 / len(reference)))
        )
        return size, size - off, size + off


def _parts(ours: CornerMetrics, reference: CornerMetrics, column: int) -> tuple[CornerPart, ...]:
    """Split the difference of the median times along a corner at places that both sets share."""
    places = _phase_bounds_m(ours, reference, column)
    rows = np.searchsorted(ours.corners.axis.distance_m, places).clip(0, len(ours.corners.axis) - 1)
    behind = [_median_since(side, rows) for side in (ours, reference)]
    lost = np.diff(behind[0] - behind[1])
    return tuple(
        CornerPart(phase, float(time_s)) for phase, time_s in zip(PHASES, lost, strict=True)
    )


def _median_since(side: CornerMetrics, rows: np.ndarray) -> Reals:
    """Return the median time at each of ``rows`` of the axis, counted from the first of them."""
    time_s = np.stack([lap.time_s[rows] for lap in side.laps])
    return np.asarray(np.median(time_s - time_s[:, :1], axis=0), np.float64)


def _phase_bounds_m(ours: CornerMetrics, reference: CornerMetrics, column: int) -> Reals:
    corner = ours.corners.corners[column]
    sides = (ours, reference)
    onset = [_median_m(side[name][:, column]) for side in sides for name in ("lift_m", "brake_m")]
    slowest = float(np.mean([_median_m(side["min_speed_m"][:, column]) for side in sides]))
    flat = [_median_m(side["full_throttle_m"][:, column]) for side in sides]
    between = [_known(onset, min, corner.begin_m), slowest, _known(flat, max, slowest)]
    bounds = np.array(
        [corner.begin_m, *np.clip(between, corner.begin_m, corner.end_m), corner.end_m]
    )
    return np.maximum.accumulate(bounds)


def _median_m(values: Reals) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")


def _known(values: list[float], choose: Callable[[list[float]], float], otherwise: float) -> float:
    finite = [value for value in values if np.isfinite(value)]
    return choose(finite) if finite else otherwise


def _medians(values: Reals, draw: np.random.Generator) -> Reals:
    return np.asarray(np.median(draw.choice(values, (_RESAMPLES, len(values))), axis=1), np.float64)
