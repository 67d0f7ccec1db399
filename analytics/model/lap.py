"""A lap that ended, or is being driven: its times, what kind of lap it was, and why.

Plain values. The lap engine (`analytics.laps.engine`) makes them and the store keeps them. Rule: a lap has all its flags and reasons,
not one; whoever wants laps that may be compared takes those without any.
"""

from dataclasses import dataclass

#: Of the lap engine: raised with every change after which a lap may come out differently. Stored laps say which one timed them.
ENGINE = 4

#: All there are, in the order in which a lap names them. A lap without any is a flying lap.
FLAGS = ("out", "in", "pit", "partial", "invalid", "reset")

#: What a lap can have wrong with it, and the flag that it gets for it.
REASONS = {
    "left the pits": "out",
    "standing start": "out",
    "entered the pits": "in",
    "through the pits": "pit",
    "seen from mid-lap": "partial",
    "counted before it was driven": "partial",
    "hole": "partial",
    "jump": "partial",
    "not driven round": "partial",
    "the game says so": "invalid",
    "put back": "reset",
    "driven anew": "reset",
}

#: Which flag names a lap that has several: the one that says most about its time.
_KINDS = ("reset", "partial", "pit-through", "in", "out", "invalid")


@dataclass(frozen=True, slots=True)
class Lap:
    """A lap that ended. Its frames are those from ``started_at_us`` to before ``ended_at_us``, both in µs since the Unix epoch.

    A time that is not known is None. It need not be as long as the interval, which has pauses in it.

    ``official_lap_time_ms`` is the game's and comes late: the lap is emitted again with it. ``sector_source`` says whether the
    game told the sectors or whether they are ``computed_sector_times_ms``, which are measured where the track's sectors lie.
    There are `analytics.model.track_layout.MINI_SECTORS` mini-sectors, None where one was not seen whole, or no mini-sectors at all.
    Positions are normalized ones, 0..1: of the top speed, of the line that the lap began at, and of the game's sector ends.
    """

    lap_number: int
    started_at_us: int
    ended_at_us: int
    lap_time_ms: int | None
    official_lap_time_ms: int | None
    sector_times_ms: tuple[int, ...]
    sector_source: str
    flags: tuple[str, ...]
    frames: int
    gaps: int
    max_speed_kmh: float
    max_speed_position: float | None = None
    reasons: tuple[str, ...] = ()
    computed_sector_times_ms: tuple[int, ...] = ()
    mini_sector_times_ms: tuple[int | None, ...] = ()
    line_position: float | None = None
    sector_positions: tuple[float, ...] = ()
    engine: int = ENGINE

    @property
    def kind(self) -> str:
        """In one word: flying, or what is most wrong with it."""
        through = "pit" in self.flags or {"out", "in"} <= set(self.flags)
        found = {*self.flags, *(["pit-through"] if through else [])}
        return next((kind for kind in _KINDS if kind in found), "flying")

    @property
    def time_ms(self) -> int | None:
        """The lap time: the game's where it told one, else ours."""
        return self.official_lap_time_ms or self.lap_time_ms


@dataclass(frozen=True, slots=True)
class LapInProgress:
    """A lap that is being driven, as far as its sectors have ended. ``flags`` are those that it has already."""

    lap_number: int
    started_at_us: int
    sector_times_ms: tuple[int, ...]
    sector_source: str
    flags: tuple[str, ...]


def flags_of(reasons: frozenset[str]) -> tuple[str, ...]:
    """The flags that these reasons give, in the order of `FLAGS`."""
    raised = {REASONS[reason] for reason in reasons}
    return tuple(flag for flag in FLAGS if flag in raised)


def in_order(reasons: frozenset[str]) -> tuple[str, ...]:
    """The reasons in the order of `REASONS`."""
    return tuple(reason for reason in REASONS if reason in reasons)
