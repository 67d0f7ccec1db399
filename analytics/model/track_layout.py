"""Describes a track for the lap engine: the position of its line, its length and its timing marks.

It knows nothing of games and names; `analytics.laps.track_learning` has those. Rule: a session is
timed on one track layout from its first frame to its last. Otherwise a restart would change
the laps.
"""

from dataclasses import dataclass, field

#: The number of equal parts of every track, beginning at the line.
MINI_SECTORS = 25

_MINI = tuple(i / MINI_SECTORS for i in range(1, MINI_SECTORS))


@dataclass(frozen=True, slots=True)
class TrackLayout:
    """The line and the timing marks of a track. ``line`` is a normalized position.

    ``sectors`` are the starts of sectors 2, 3 …, as shares of the lap since the line. A track
    without a learnt version has its line at the origin, three equal sectors and no length. Its
    ``version`` is 0. ``marks`` are all timing marks, in driven order.
    """

    line: float = 0.0
    sectors: tuple[float, ...] = (1 / 3, 2 / 3)
    length_m: float | None = None
    version: int = 0
    marks: tuple[float, ...] = field(init=False, repr=False, compare=False)
    sector_marks: tuple[int, ...] = field(init=False, repr=False, compare=False)
    mini_marks: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0 <= self.line < 1:
            raise ValueError(f"line: expected a position from 0 to below 1, got {self.line}")
        if not all(a < b for a, b in zip((0.0, *self.sectors), (*self.sectors, 1.0), strict=True)):
            raise ValueError(
                f"sectors: expected shares of the lap in order, between 0 and 1, got {self.sectors}"
            )
        marks = tuple(sorted({*_MINI, *self.sectors}))
        object.__setattr__(self, "marks", marks)
        object.__setattr__(
            self, "sector_marks", tuple(marks.index(share) for share in self.sectors)
        )
        object.__setattr__(self, "mini_marks", tuple(marks.index(share) for share in _MINI))


#: The layout of an unknown track.
UNKNOWN = TrackLayout()
