"""Measures how a corner was driven: the places of brake, lift and throttle, the lowest speed, the
time.

Measures every lap against fixed corners (`analytics.comparison.corners`), all laps of a corner at
once. The module is pure. Rule: the measure of an action that did not happen is NaN, not a number
that looks like a place. A driver who lifts without braking has no braking point.

A point is the place at which a pedal passes a threshold on the way to a higher one. It is
interpolated between two places of the axis. Its precision depends on the frame rate: 1.2 m at 250
km/h and 60 Hz, 7 m at 10 Hz.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from analytics.comparison.corners import Corner, Corners
from analytics.comparison.trace import Trace, stacked
from analytics.model.arrays import Integers, Mask, Reals
from analytics.model.tabular import Tabular
from analytics.model.thresholds import threshold

_BRAKE_ON, _BRAKE_MEANT = threshold(0.05), threshold(0.20)
_THROTTLE_ON, _FLAT = threshold(0.20), threshold(0.95)
_EARLY_M = 100.0

#: The measures of each corner, with their units.
MEASURES: Mapping[str, str] = {
    "time_s": "s",
    "lift_m": "m",
    "brake_m": "m",
    "brake_most": "0..1",
    "release_m": "m",
    "min_speed_m": "m",
    "min_speed_kmh": "km/h",
    "throttle_m": "m",
    "full_throttle_m": "m",
    "off_throttle_m": "m",
    "approach_speed_kmh": "km/h",
    "exit_speed_kmh": "km/h",
    "path_m": "m",
}


@dataclass(frozen=True, slots=True, eq=False)
class CornerMetrics(Tabular):
    """Measures of laps in corners: an array for each name in `MEASURES`, one row per lap and one
    column per corner.

    Places are in metres from the line. ``off_throttle_m`` is the distance without throttle behind
    the slowest place, where half throttle counts half. ``approach_speed_kmh`` is the speed where
    the corner's part of the lap begins. ``path_m`` is the distance driven in that part, and
    ``time_s`` its time, so a row adds up to the lap time.
    """

    corners: Corners
    laps: tuple[Trace, ...]
    measures: Mapping[str, Reals]

    def __len__(self) -> int:
        return len(self.laps)

    def __getitem__(self, measure: str) -> Reals:
        return self.measures[measure]

    def to_arrow(self) -> pa.Table:
        """Return one row for each lap and corner; the measure of an action that did not happen is
        null.
        """
        lap, corner = (i.ravel() for i in np.indices((len(self.laps), len(self.corners))))
        numbers = np.array([c.number for c in self.corners])
        keys = {"lap": pa.array([str(self.laps[i]) for i in lap]), "corner": numbers[corner]}
        measures = {
            name: pa.array(values.ravel(), from_pandas=True)
            for name, values in self.measures.items()
        }
        return pa.table({**keys, **measures})


@dataclass(frozen=True, slots=True)
class Scatter:
    """The variation of a measure from lap to lap.

    ``n`` is the number of laps that have the measure. ``spread`` is 1.4826 × the median deviation.
    """

    corner: Corner
    measure: str
    n: int
    median: float
    spread: float


def cornering(laps: Sequence[Trace], corners: Corners) -> CornerMetrics:
    """Measure every lap in every corner.

    Raises ValueError for no laps, or for laps on another axis than the corners'.
    """
    if not laps or any(lap.axis != corners.axis for lap in laps):
        raise ValueError("cornering needs laps on the axis in which the corners were found")
    columns = {name: stacked(laps, name) for name in ("speed_kmh", "throttle", "brake")}
    columns["time_s"] = np.stack([lap.time_s for lap in laps])
    columns["path_m"] = _path_m(laps)
    each = [_driven(columns, corner, corners) for corner in corners]
    return CornerMetrics(
        corners,
        tuple(laps),
        {name: np.stack([one[name] for one in each], axis=1) for name in MEASURES},
    )


def scatter(driven: CornerMetrics, *, least: int = 5) -> Iterator[Scatter]:
    """Yield the scatter of each corner and measure that at least ``least`` laps have."""
    for column, corner in enumerate(driven.corners):
        for name in MEASURES:
            values = driven[name][:, column]
            known = values[np.isfinite(values)]
            if len(known) >= least:
                yield Scatter(
                    corner, name, len(known), float(np.median(known)), robust_spread(known)
                )


def time_lost_s(lap: Trace, reference: Trace, corners: Corners) -> Reals:
    """Return the time that a lap lost to the reference in each corner's part, in s; negative where
    it won.

    The losses add up to the gap between the laps.
    """
    bounds = np.searchsorted(corners.axis.distance_m, corners.bounds_m)
    return np.diff((lap.time_s - reference.time_s)[bounds])


def robust_spread(values: Reals) -> float:
    """Return 1.4826 × the median absolute deviation.

    For normally distributed values it equals the standard deviation. A few outliers do not move it.
    """
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def _driven(columns: Mapping[str, Reals], corner: Corner, corners: Corners) -> dict[str, Reals]:
    """Measure one corner: each array has an entry per lap."""
    seen_from = _seen_from_m(corner, corners)
    marks = [seen_from, corner.begin_m, corner.entry_m, corner.exit_m, corner.end_m]
    first, begin, entry, leave, end = np.searchsorted(corners.axis.distance_m, marks).tolist()
    here = corners.axis.distance_m[first : end + 1]
    speed, throttle, brake, time_s, path = (
        columns[name][:, first : end + 1]
        for name in ("speed_kmh", "throttle", "brake", "time_s", "path_m")
    )
    slowest = entry - first + np.argmin(columns["speed_kmh"][:, entry : leave + 1], axis=1)
    place = np.arange(len(here))
    before = place <= slowest[:, None]
    full = _first((throttle >= _FLAT) & ~before)
    lifted = _at(throttle, slowest) < _FLAT
    pressed = _rise(brake, _BRAKE_ON, _first((brake >= _BRAKE_MEANT) & before))
    braked = pressed >= 0
    return {
        "time_s": time_s[:, -1] - time_s[:, begin - first],
        "lift_m": np.where(
            lifted, _place(here, -throttle, -_FLAT, _last((throttle >= _FLAT) & before)), np.nan
        ),
        "brake_m": _place(here, brake, _BRAKE_ON, pressed),
        "brake_most": np.where(braked, np.where(before, brake, 0).max(axis=1), np.nan),
        "release_m": np.where(braked, _released_m(here, brake, place <= leave - first), np.nan),
        "min_speed_m": here[slowest],
        "min_speed_kmh": _at(speed, slowest),
        "throttle_m": np.where(
            lifted,
            _place(here, throttle, _THROTTLE_ON, _rise(throttle, _THROTTLE_ON, full)),
            np.nan,
        ),
        "full_throttle_m": np.where(lifted, _place(here, throttle, _FLAT, full - 1), np.nan),
        "off_throttle_m": _lacking_m(here, throttle, ~before),
        "approach_speed_kmh": speed[:, begin - first],
        "exit_speed_kmh": speed[:, -1],
        "path_m": path[:, -1] - path[:, begin - first],
    }


def _lacking_m(at_m: Reals, throttle: Reals, where: Mask) -> Reals:
    """Return the distance over which full throttle was lacking, one value per lap."""
    lacking = np.where(where, np.clip(_FLAT - throttle, 0, None) / _FLAT, 0.0)
    return np.asarray(lacking.sum(axis=1) * (at_m[1] - at_m[0]), np.float64)


def _path_m(laps: Sequence[Trace]) -> Reals:
    """Return the distance driven since the line at each place, one row per lap.

    It is NaN for a lap whose world positions are unknown.
    """
    unknown = np.full(len(laps[0].axis), np.nan)
    ways = []
    for lap in laps:
        known = {"x_m", "z_m"} <= set(lap.channels)
        steps = np.hypot(np.diff(lap["x_m"]), np.diff(lap["z_m"])) if known else None
        ways.append(unknown if steps is None else np.concatenate([[0.0], np.cumsum(steps)]))
    return np.stack(ways)


def _seen_from_m(corner: Corner, corners: Corners) -> float:
    """Return the earliest place at which a lift or a brake counts for this corner.

    A driver may lift before the place where most drivers are fastest. A lift before the exit of the
    previous corner does not count.
    """
    earlier = [other.exit_m for other in corners if other.number < corner.number]
    return min(max([corner.begin_m - _EARLY_M, *earlier[-1:], 0.0]), corner.begin_m)


def _released_m(at_m: Reals, brake: Reals, until_exit: Mask) -> Reals:
    return _place(at_m, -brake, -_BRAKE_ON, _last((brake >= _BRAKE_ON) & until_exit))


def _at(values: Reals, index: Integers) -> Reals:
    picked: Reals = np.take_along_axis(values, index[:, None], axis=1)[:, 0]
    return picked


def _first(mask: Mask) -> Integers:
    """Return the first place of each row where the mask holds; -1 where it holds nowhere."""
    return np.where(mask.any(axis=1), np.argmax(mask, axis=1), -1)


def _last(mask: Mask) -> Integers:
    return np.where(mask.any(axis=1), mask.shape[1] - 1 - np.argmax(mask[:, ::-1], axis=1), -1)


def _rise(pedal: Reals, threshold: float, reached: Integers) -> Integers:
    """Return the last place before ``reached`` at which the pedal was still below the threshold; -1
    if it never was.
    """
    return _last((pedal < threshold) & (np.arange(pedal.shape[1]) < reached[:, None]))


def _place(at_m: Reals, values: Reals, threshold: float, index: Integers) -> Reals:
    """Return the place at which the values pass the threshold, between ``index`` and the next
    place.

    It is NaN without an index, or at the part's end.
    """
    known = (index >= 0) & (index < len(at_m) - 1)
    i = np.where(known, index, 0)
    low, high = _at(values, i), _at(values, i + 1)
    step = np.where(high == low, 1.0, high - low)
    share = np.clip((threshold - low) / step, 0, 1)
    return np.where(known, at_m[i] + share * (at_m[1] - at_m[0]), np.nan)
