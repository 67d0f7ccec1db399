"""A track as the lap engine needs it: where its line lies, how long it is, and where time is taken on the way.

Knows nothing of games and names (`analytics.laps.track_learning` has those). Rule: a session is timed on one course from its first frame to
its last, or a restart in between would give other laps.
"""

from dataclasses import dataclass, field

#: So many equal parts has every track, beginning at the line.
MINI_SECTORS = 25

_MINI = tuple(i / MINI_SECTORS for i in range(1, MINI_SECTORS))


@dataclass(frozen=True, slots=True)
class TrackLayout:
    """``line`` is a normalized position; ``sectors`` are where sectors 2, 3 … begin, as shares of the lap since the line.

    A track that nobody has learnt yet has its line at the origin, three equal sectors and no length; its ``version`` is 0.
    ``marks`` are all places where time is taken, in the order in which they are driven.
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
            raise ValueError(f"sectors: expected shares of the lap in order, between 0 and 1, got {self.sectors}")
        marks = tuple(sorted({*_MINI, *self.sectors}))
        object.__setattr__(self, "marks", marks)
        object.__setattr__(self, "sector_marks", tuple(marks.index(share) for share in self.sectors))
        object.__setattr__(self, "mini_marks", tuple(marks.index(share) for share in _MINI))


#: Of a track that is not known.
UNKNOWN = TrackLayout()
