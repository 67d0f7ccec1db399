"""Learns the positions of a track's line and sectors from laps: games report when a car passed, not
where.

Every lap is evidence of where the game counted it and where its sector index changed. The module is
pure. The store keeps the versions of a track, and a session keeps the version that it began with.
Rules: an authored track is never learnt again. A new version is made only where the evidence
differs from the last one. Times on two versions do not compare.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from analytics.model.arrays import Reals
from analytics.model.track_layout import TrackLayout

#: This many laps must agree. They outvote a car that counts its first lap from the grid.
EVIDENCES = 3

# The limit of the robust standard deviation, in laps. Beyond it, the evidence is inconclusive. At 8
# Hz a car moves 0.002 between frames.
_AGREED = 0.005
# A line at the origin is measured up to this far off it. The causes are arrival times and the
# metres around the origin where games hold the position.
_AT_ORIGIN = 0.002
# Smaller differences do not justify a new version. The evidence of a fast car at 8 Hz scatters
# more.
_SAME = 0.001
_SAME_LENGTH = 0.005
_MAD = 1.4826


@dataclass(frozen=True, slots=True)
class LapEvidence:
    """The evidence of one lap about its track.

    It holds normalized positions, and the length in metres that the session received.
    """

    line: float | None
    sectors: tuple[float, ...] = ()
    length_m: float | None = None


@dataclass(frozen=True, slots=True)
class LearnedTrack:
    """A version of a track.

    ``sectors`` are the normalized positions where sectors 2, 3 … begin. There are none where no
    game reported any. ``laps`` is the number of laps that it was learnt from. ``spread`` is the
    robust standard deviation of their lines, in laps.
    """

    game: str
    name: str
    line: float = 0.0
    sectors: tuple[float, ...] = ()
    length_m: float | None = None
    origin: str = "learnt"
    version: int = field(default=1, kw_only=True)
    laps: int = 0
    spread: float = 0.0

    @property
    def layout(self) -> TrackLayout:
        """Return the track as the lap engine uses it."""
        known = (
            {"sectors": tuple((position - self.line) % 1.0 for position in self.sectors)}
            if self.sectors
            else {}
        )
        return TrackLayout(line=self.line, length_m=self.length_m, version=self.version, **known)


def learn(
    game: str, name: str, evidences: Sequence[LapEvidence], known: LearnedTrack | None = None
) -> LearnedTrack | None:
    """Return the next version of a track.

    None where these laps are too few, disagree, or only confirm ``known``.
    """
    lines = [evidence.line for evidence in evidences if evidence.line is not None]
    if len(lines) < EVIDENCES or (known and known.origin == "authored"):
        return None
    line, spread = _agreed(lines)
    if spread > _AGREED:
        return None
    if abs(_signed(line)) <= _AT_ORIGIN:
        line = 0.0
    lengths = [evidence.length_m for evidence in evidences if evidence.length_m]
    learnt = LearnedTrack(
        game,
        name,
        line=round(line, 6),
        sectors=_sectors(evidences, line),
        length_m=round(float(np.median(lengths)), 1) if lengths else None,
        version=known.version + 1 if known else 1,
        laps=len(lines),
        spread=round(spread, 6),
    )
    return None if known and _same(known, learnt) else learnt


def _sectors(evidences: Sequence[LapEvidence], line: float) -> tuple[float, ...]:
    """Return where the sectors that most laps have begin; none where the laps disagree about one of
    them.
    """
    known = [evidence.sectors for evidence in evidences if evidence.sectors]
    ((count, laps),) = Counter(map(len, known)).most_common(1) or [(0, 0)]
    if laps < EVIDENCES:
        return ()
    places = [
        _agreed([sectors[k] for sectors in known if len(sectors) == count]) for k in range(count)
    ]
    shares = [(place - line) % 1.0 for place, _ in places]
    in_order = all(a < b for a, b in zip([0.0, *shares], [*shares, 1.0], strict=True))
    if not in_order or max(spread for _, spread in places) > _AGREED:
        return ()
    return tuple(round(place, 6) % 1.0 for place, _ in places)


def _agreed(positions: Sequence[float]) -> tuple[float, float]:
    """Return the median of positions on a circle, and their robust standard deviation."""
    places = np.asarray(positions, np.float64)
    around = float(np.angle(np.exp(2j * np.pi * places).mean())) / (2 * np.pi)
    off: Reals = (places - around + 0.5) % 1.0 - 0.5
    median = float(np.median(off))
    return (around + median) % 1.0, _MAD * float(np.median(np.abs(off - median)))


def _same(known: LearnedTrack, learnt: LearnedTrack) -> bool:
    if len(known.sectors) != len(learnt.sectors) or (known.length_m is None) != (
        learnt.length_m is None
    ):
        return False
    places = zip((known.line, *known.sectors), (learnt.line, *learnt.sectors), strict=True)
    if any(abs(_signed(a - b)) > _SAME for a, b in places):
        return False
    return abs((known.length_m or 1.0) - (learnt.length_m or 1.0)) <= _SAME_LENGTH * (
        known.length_m or 1.0
    )


def _signed(share: float) -> float:
    """Return the same place as -0.5..0.5."""
    return (share + 0.5) % 1.0 - 0.5
