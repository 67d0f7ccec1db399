"""Measures how evenly a driver drives, and gives a reason for each lap that does not count.

The module is pure. A lap counts only if it is flying and within 107 % of the best. The spread is
the median deviation times 1.4826, which a lap in traffic does not move. A second spread is computed
without the slope of the stint. A car gets lighter and its tyres get older with any driver.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analytics.catalog import TimedLap
from analytics.comparison.corner_metrics import robust_spread
from analytics.errors import TooFewLaps
from analytics.model.arrays import Reals

#: The 107 % rule of qualifying: a slower lap was not driven in earnest.
_REPRESENTATIVE = 1.07
_CLOSE = 1.005
#: Fewer laps give no spread.
LEAST_LAPS = 5


@dataclass(frozen=True, slots=True)
class Consistency:
    """The consistency of the laps ``numbers``. ``left_out`` maps the number of each other lap to
    the reason.

    Times are in s, ``slope_s`` is per lap, and ``close`` is a share 0..1.
    """

    numbers: tuple[int, ...]
    left_out: Mapping[int, str]
    best_s: float
    median_s: float
    spread_s: float
    detrended_spread_s: float
    slope_s: float
    standard_deviation_s: float
    close: float

    @property
    def n(self) -> int:
        """Return the number of laps."""
        return len(self.numbers)

    @property
    def variation(self) -> float:
        """Return the standard deviation as a share of the median lap."""
        return self.standard_deviation_s / self.median_s

    def __str__(self) -> str:
        return (
            f"{self.n} laps, median {self.median_s:.3f} s ± {self.spread_s:.3f} s, ±"
            f" {self.detrended_spread_s:.3f} s without a slope of {1000 * self.slope_s:+.0f} ms a"
            f" lap; {self.close:.0%} within 0.5 % of the best"
        )


def consistency(laps: Sequence[TimedLap]) -> Consistency:
    """Measure the consistency of one session's laps.

    Raises TooFewLaps, and ValueError for laps of several sessions.
    """
    left_out, counted = exclusion_reasons(laps), representative_laps(laps)
    if len(counted) < LEAST_LAPS:
        raise TooFewLaps(len(counted), LEAST_LAPS, left_out)
    times_s = np.array([(lap.time_ms or 0) / 1000 for lap in counted])
    numbers = np.array([lap.number for lap in counted], np.float64)
    slope_s = _slope(numbers, times_s)
    return Consistency(
        numbers=tuple(lap.number for lap in counted),
        left_out=left_out,
        best_s=float(times_s.min()),
        median_s=float(np.median(times_s)),
        spread_s=robust_spread(times_s),
        detrended_spread_s=robust_spread(times_s - slope_s * numbers),
        slope_s=slope_s,
        standard_deviation_s=float(times_s.std(ddof=1)),
        close=float(np.mean(times_s <= _CLOSE * times_s.min())),
    )


def exclusion_reasons(laps: Sequence[TimedLap]) -> dict[int, str]:
    """Return the reason for each lap of one session that does not qualify, by lap number.

    Raises ValueError for laps of several sessions.
    """
    sessions = {lap.session.key for lap in laps}
    if len(sessions) > 1:
        raise ValueError(
            f"laps of {len(sessions)} sessions are no stint; take those of one,"
            " catalog.sessions[key].laps"
        )
    flying = [lap.time_ms for lap in laps if not lap.flags and lap.time_ms]
    slowest_ms = _REPRESENTATIVE * min(flying, default=0)
    reasons = ((lap.number, _reason(lap, slowest_ms)) for lap in laps)
    return {number: reason for number, reason in reasons if reason}


def representative_laps(laps: Sequence[TimedLap]) -> list[TimedLap]:
    """Return the laps of one session that qualify, which can be compared with another driver's
    laps.

    Raises ValueError as `exclusion_reasons` does.
    """
    left_out = exclusion_reasons(laps)
    return [lap for lap in laps if lap.number not in left_out]


def _reason(lap: TimedLap, slowest_ms: float) -> str:
    if lap.flags:
        return ", ".join(lap.flags)
    if lap.time_ms is None:
        return "no time"
    return "slower than 107 %" if lap.time_ms > slowest_ms else ""


def _slope(numbers: Reals, times_s: Reals) -> float:
    """Return the median of the slopes between all pairs of laps (Theil and Sen).

    A slow lap at an end of the stint does not tilt it.
    """
    first, second = np.triu_indices(len(numbers), 1)
    return float(np.median((times_s[second] - times_s[first]) / (numbers[second] - numbers[first])))
