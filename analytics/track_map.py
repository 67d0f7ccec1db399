"""A track seen from above, as well as what a game sends allows, and saying which it is.

Pure. From world positions it is the line that was driven; from heading and speed the same to some metres, for errors add up along
a lap and are spread over it again; without either it is a circle, on which only the distances are true. Steering draws no map:
what comes out of it does not look like the track.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from analytics.stretch import Reals
from analytics.trace import Trace, stacked


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
    by_position = [lap for lap in laps if {"x_m", "z_m"} <= lap.channels.keys()]
    if by_position:
        x_m, z_m = (np.median(stacked(by_position, name), axis=0) for name in ("x_m", "z_m"))
        return TrackMap(x_m, z_m, "position")
    with_heading = [lap for lap in laps if "heading_rad" in lap.channels]
    if with_heading:
        return _reckoned(with_heading)
    angle = 2 * np.pi * laps[0].axis.share
    radius_m = laps[0].axis.length_m / (2 * np.pi)
    return TrackMap(radius_m * np.sin(angle), radius_m * np.cos(angle), "nothing")


def _reckoned(laps: Sequence[Trace]) -> TrackMap:
    """Dead reckoning along each lap: heading says where to, speed over time how far."""
    x_m, y_m = (np.median([_closed(_driven(lap, part)) for lap in laps], axis=0) for part in (np.sin, np.cos))
    return TrackMap(x_m, y_m, "heading and speed")


def _driven(lap: Trace, part: np.ufunc) -> Reals:
    pace = lap["speed_kmh"] / 3.6 * part(lap["heading_rad"])
    steps = (pace[1:] + pace[:-1]) / 2 * np.diff(lap.time_s)
    return np.concatenate([[0.0], np.cumsum(steps)])


def _closed(way: Reals) -> Reals:
    """A lap ends where it began: what is missing is spread along it."""
    return way - np.linspace(0, way[-1] - way[0], len(way))
