"""Unwraps the position of a car on its track into a continuous share of the lap for each frame.

The module is pure. Games send the position as 0..1 and restart it once a lap. That place need not
be the line. Rule: all code that needs the distance along a lap unwraps it here: the lap engine,
traces, maps and exports. `serve/page/model/lap_position.mjs` does the same for the page. Both pass
the same table of cases (`tests/unit/analytics/laps/unwrapping.json`).
"""

import numpy as np

from analytics.model.arrays import Reals

#: A share of the lap. A step farther back between two frames is a step forward over the origin.
#: Rewinds and spins go back by less.
_MOST_BACK = 0.25


def unwrapped(position: Reals) -> Reals:
    """Return a position, in laps, that continues from frame to frame; its first value stays.

    Do not pass frames that hold the position at 0 or 1.
    """
    turns = np.floor(np.diff(position) + _MOST_BACK)
    answer: Reals = position - np.concatenate([[0.0], np.cumsum(turns)])[: len(position)]
    return answer


def lap_share(
    position: Reals, line: float = 0.0, *, begun: bool = True, ended: bool = True
) -> Reals:
    """Return the share of the lap behind each frame.

    It is 0 at the line where the lap began and 1 at the next line. On a grid before the line, it is
    below 0. ``position`` is the frames' own, 0..1, and ``line`` is that of the line. ``begun`` and
    ``ended`` state whether the frames reach from the first line and to the next one. The end that
    is nearer to a line decides which line it is. If neither is set, the first frame is assumed to
    be in its first turn, 0..1.
    """
    share = unwrapped((np.asarray(position, np.float64) - line) % 1.0)
    if not len(share):
        return share
    off = [
        (abs(float(end - np.rint(end))), float(np.rint(end)) - at)
        for end, at in _ends(share, begun, ended)
    ]
    answer: Reals = share - (min(off)[1] if off else 0.0)
    return answer


def _ends(share: Reals, begun: bool, ended: bool) -> list[tuple[float, float]]:
    """Return the shares at the ends of a lap, each with the line that lies there."""
    return [(float(share[-1]), 1.0)] * ended + [(float(share[0]), 0.0)] * begun
