"""The position of a car on its track made continuous: the share of a lap that each of its frames has behind it.

Pure. Games send the position as 0..1 and start it anew once a lap, at a place that need not be the line. Rule: everything that
needs the way along a lap unwraps it here: the lap engine, traces, maps and exports; `serve/page/model/lap_position.mjs` does the same, held to
the same table of cases (`tests/unit/analytics/laps/unwrapping.json`).
"""

import numpy as np

from analytics.model.arrays import Reals

#: Of a lap: a step further back between two frames is a step forward over the origin. Rewinds and spins go back by less.
_MOST_BACK = 0.25


def unwrapped(position: Reals) -> Reals:
    """Continue a position, in laps, from frame to frame; its first value stays. Not for frames that hold it at 0 or 1."""
    turns = np.floor(np.diff(position) + _MOST_BACK)
    answer: Reals = position - np.concatenate([[0.0], np.cumsum(turns)])[: len(position)]
    return answer


def lap_share(position: Reals, line: float = 0.0, *, begun: bool = True, ended: bool = True) -> Reals:
    """The share of the lap behind each frame: 0 at the line that it began at, 1 at the next one, below 0 on a grid before it.

    ``position`` is the frames' own, 0..1, and ``line`` that of the line. ``begun`` and ``ended`` say whether the frames reach from
    the one line and to the other: the end that is nearer to a line decides which line it is. With neither, the first frame is
    taken to be in its first turn, 0..1.
    """
    share = unwrapped((np.asarray(position, np.float64) - line) % 1.0)
    if not len(share):
        return share
    off = [(abs(float(end - np.rint(end))), float(np.rint(end)) - at) for end, at in _ends(share, begun, ended)]
    answer: Reals = share - (min(off)[1] if off else 0.0)
    return answer


def _ends(share: Reals, begun: bool, ended: bool) -> list[tuple[float, float]]:
    """The shares at the ends of a lap, each with the line that lies there."""
    return [(float(share[-1]), 1.0)] * ended + [(float(share[0]), 0.0)] * begun
