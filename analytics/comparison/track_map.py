"""Draws a track from above, as well as the game's data allows, and states the source of the map.

The module is pure. From world positions, the map is the line that was driven. From heading and
speed it is the same line to some metres: errors add up along a lap, and are spread over it again.
Without either it is a circle, on which only the distances are true. Steering draws no map: the
result does not look like the track.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from analytics.comparison.trace import Axis, Trace, stacked
from analytics.model.arrays import Reals
from analytics.model.axes import DOWN, UNKNOWN, UP, Axes, axes_of

# The least similarity of bends and steering, as a cosine. It is near 0 where the two are unrelated.
_PLAIN = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class TrackMap:
    """A map with ``x_m`` to the right and ``y_m`` up on paper, for each place of the laps' axis.

    ``made_of`` is the source of the map.
    """

    x_m: Reals
    y_m: Reals
    made_of: Literal["position", "heading and speed", "nothing"]

    @property
    def note(self) -> str:
        """Return the note to write beside the drawing."""
        return {
            "position": "the line that was driven",
            "heading and speed": "drawn from heading and speed: true to some metres",
            "nothing": "no positions: a circle on which only distances are true",
        }[self.made_of]


def track_map(laps: Sequence[Trace]) -> TrackMap:
    """Draw the map of these laps together, which are on one axis.

    Raises ValueError without a lap.
    """
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
    return _circle(laps[0].axis)


def _circle(axis: Axis) -> TrackMap:
    angle = 2 * np.pi * axis.share
    radius_m = axis.length_m / (2 * np.pi)
    return TrackMap(radius_m * np.sin(angle), radius_m * np.cos(angle), "nothing")


def _axes_of(laps: Sequence[Trace]) -> Axes:
    """Return the axes of the laps' game from the table.

    For a game that is not in the table, the steering gives them where it is plain.
    """
    game = next((lap.lap.session.game for lap in laps if lap.lap is not None), "")
    known = axes_of(game)
    return known if known.source else replace(UNKNOWN, z=_z_by_steering(laps))


def _z_by_steering(laps: Sequence[Trace]) -> int:
    """Return the direction of z on the map, by the steering.

    A driver who steers right turns right on the map too. So z is down where the bend is to the left
    with z up. It is up where the laps do not show it plainly.
    """
    turned = []
    for lap in laps:
        if {"x_m", "z_m", "steering"} <= lap.channels.keys():
            bearing = np.unwrap(np.arctan2(np.gradient(lap["x_m"]), np.gradient(lap["z_m"])))
            bend, steering = np.gradient(bearing), lap["steering"]
            both = float(np.linalg.norm(bend) * np.linalg.norm(steering))
            turned.append(float(bend @ steering) / both if both else 0.0)
    return DOWN if turned and float(np.median(turned)) < -_PLAIN else UP


def _reckoned(laps: Sequence[Trace], axes: Axes) -> TrackMap:
    """Draw by dead reckoning along each lap: heading gives the direction, speed over time the
    distance.
    """
    x_m, z_m = (
        np.median([_closed(_driven(lap, part)) for lap in laps], axis=0)
        for part in (np.sin, np.cos)
    )
    return TrackMap(axes.sin * x_m, axes.z * axes.cos * z_m, "heading and speed")


def _driven(lap: Trace, part: np.ufunc) -> Reals:
    pace = lap["speed_kmh"] / 3.6 * part(lap["heading_rad"])
    steps = (pace[1:] + pace[:-1]) / 2 * np.diff(lap.time_s)
    return np.concatenate([[0.0], np.cumsum(steps)])


def _closed(way: Reals) -> Reals:
    """Close a lap, which ends where it began: spread the missing distance along it."""
    return way - np.linspace(0, way[-1] - way[0], len(way))
