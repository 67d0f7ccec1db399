"""A track seen from above, as well as what a game sends allows, and saying which it is.

Pure. From world positions it is the line that was driven; from heading and speed the same to some metres, for errors add up along
a lap and are spread over it again; without either it is a circle, on which only the distances are true. Steering draws no map:
what comes out of it does not look like the track.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from analytics.comparison.trace import Trace, stacked
from analytics.model.arrays import Reals
from analytics.model.axes import DOWN, UNKNOWN, UP, Axes, axes_of

# How alike bends and steering must be, as a cosine: of two that have nothing to do with one another it is near 0.
_PLAIN = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class TrackMap:
    """``x_m`` to the right and ``y_m`` up on paper, for each place of the laps' axis; and what it was made of."""

    x_m: Reals
    y_m: Reals
    made_of: Literal["position", "heading and speed", "nothing"]

    @property
    def note(self) -> str:
        """What to write beside the drawing."""
        return {
            "position": "the line that was driven",
            "heading and speed": "drawn from heading and speed: true to some metres",
            "nothing": "no positions: a circle on which only distances are true",
        }[self.made_of]


def track_map(laps: Sequence[Trace]) -> TrackMap:
    """The map that these laps, of one axis, make together. Raises ValueError without a lap."""
    if not laps:
        raise ValueError("a map is drawn from laps, and there is none")
    axes = _axes_of(laps)
    by_position = [lap for lap in laps if {"x_m", "z_m"} <= lap.channels.keys()]
    if by_position:
        x_m, z_m = (np.median(stacked(by_position, name), axis=0) for name in ("x_m", "z_m"))
        return TrackMap(x_m, axes.z * z_m, "position")
    with_heading = [lap for lap in laps if "heading_rad" in lap.channels]
    if with_heading:
        return _reckoned(with_heading, axes)
    angle = 2 * np.pi * laps[0].axis.share
    radius_m = laps[0].axis.length_m / (2 * np.pi)
    return TrackMap(radius_m * np.sin(angle), radius_m * np.cos(angle), "nothing")


def _axes_of(laps: Sequence[Trace]) -> Axes:
    """The table's for the laps' game; for a game that it does not have, by steering where that is plain."""
    game = next((lap.lap.session.game for lap in laps if lap.lap is not None), "")
    known = axes_of(game)
    return known if known.source else replace(UNKNOWN, z=_z_by_steering(laps))


def _z_by_steering(laps: Sequence[Trace]) -> int:
    """Who steers right turns right on a map, too: down where with z up it would be left. Up where the laps do not say it plainly."""
    turned = []
    for lap in laps:
        if {"x_m", "z_m", "steering"} <= lap.channels.keys():
            bearing = np.unwrap(np.arctan2(np.gradient(lap["x_m"]), np.gradient(lap["z_m"])))
            bend, steering = np.gradient(bearing), lap["steering"]
            both = float(np.linalg.norm(bend) * np.linalg.norm(steering))
            turned.append(float(bend @ steering) / both if both else 0.0)
    return DOWN if turned and float(np.median(turned)) < -_PLAIN else UP


def _reckoned(laps: Sequence[Trace], axes: Axes) -> TrackMap:
    """Dead reckoning along each lap: heading says where to, speed over time how far."""
    x_m, z_m = (np.median([_closed(_driven(lap, part)) for lap in laps], axis=0) for part in (np.sin, np.cos))
    return TrackMap(axes.sin * x_m, axes.z * axes.cos * z_m, "heading and speed")


def _driven(lap: Trace, part: np.ufunc) -> Reals:
    pace = lap["speed_kmh"] / 3.6 * part(lap["heading_rad"])
    steps = (pace[1:] + pace[:-1]) / 2 * np.diff(lap.time_s)
    return np.concatenate([[0.0], np.cumsum(steps)])


def _closed(way: Reals) -> Reals:
    """A lap ends where it began: what is missing is spread along it."""
    return way - np.linspace(0, way[-1] - way[0], len(way))
