"""Defines a lap that ended or is in progress: its times, its kind and the reasons for it.

These are plain values. The lap engine (`analytics.laps.engine`) makes them and the store keeps
them. Rule: a lap has all flags and reasons that apply, not only one. Laps without flags may be
compared.
"""

from dataclasses import dataclass
from itertools import accumulate

#: The version of the lap engine. Raise it with every change that may change the result of a lap. A
#: stored lap carries the version that timed it.
ENGINE = 5

#: All flags, in the order in which a lap lists them. A lap without flags is a flying lap.
FLAGS = ("out", "in", "pit", "partial", "invalid", "reset")

#: Reasons why a lap may not count, each with the flag that it raises. The store keeps these codes.
#: ``early_count``: the game counted the lap before it was driven. ``frames_missing``: the car moved
#: too far without a frame. ``marks_missed``: the car did not pass the marks of the track in order.
#: ``put_back``: the game put the car back on the track. ``restarted``: the lap was begun again.
REASONS = {
    "left_pits": "out",
    "standing_start": "out",
    "entered_pits": "in",
    "through_pits": "pit",
    "joined_mid_lap": "partial",
    "early_count": "partial",
    "frames_missing": "partial",
    "position_jump": "partial",
    "marks_missed": "partial",
    "game_invalidated": "invalid",
    "put_back": "reset",
    "restarted": "reset",
}

#: The order in which kinds name a lap with several flags: first the kind that matters most for its
#: time.
_KINDS = ("reset", "partial", "pit-through", "in", "out", "invalid")


@dataclass(frozen=True, slots=True)
class Lap:
    """A lap that has ended, with its times and flags.

    Its frames are those from ``started_at_us`` to before ``ended_at_us``, both in µs since the Unix
    epoch. An unknown time is None. The lap time may be shorter than this interval, which includes
    pauses.

    ``official_lap_time_ms`` is the game's and arrives late: the engine emits the lap again with it.
    ``sector_source`` states the origin of the sector times. Either the game reported the sectors,
    or they are ``computed_sector_times_ms``, measured at the track's sector marks.
    ``sector_ends_us`` states when each of these sectors ended, with all pauses, in µs since the
    epoch. Laps of engines before 5 lack it. A lap has
    `analytics.model.track_layout.MINI_SECTORS` mini-sectors or none at all. A mini-sector is None
    where its frames are incomplete. Positions are normalized, 0..1: of the top speed, of the line
    where the lap began, and of the game's sector ends.
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
    sector_ends_us: tuple[int, ...] = ()
    engine: int = ENGINE

    @property
    def kind(self) -> str:
        """Return the kind of the lap in one word: flying, or its most serious flaw."""
        through = "pit" in self.flags or {"out", "in"} <= set(self.flags)
        found = {*self.flags, *(["pit-through"] if through else [])}
        return next((kind for kind in _KINDS if kind in found), "flying")

    @property
    def time_ms(self) -> int | None:
        """Return the lap time: the official one if the game reported it, else the computed one."""
        return self.official_lap_time_ms or self.lap_time_ms


@dataclass(frozen=True, slots=True)
class LapInProgress:
    """A lap in progress, with the sectors that have ended, as in `Lap`.

    ``flags`` are those raised so far.
    """

    lap_number: int
    started_at_us: int
    sector_times_ms: tuple[int, ...]
    sector_source: str
    flags: tuple[str, ...]
    sector_ends_us: tuple[int, ...] = ()


def sector_ends_us(lap: Lap | LapInProgress) -> tuple[int, ...]:
    """Return when the sectors of a lap ended, in µs since the Unix epoch.

    For a lap of an older engine, which does not state it, the time is as without a pause.
    """
    if lap.sector_ends_us:
        return lap.sector_ends_us
    ends_ms = accumulate(lap.sector_times_ms)
    return tuple(lap.started_at_us + 1000 * end_ms for end_ms in ends_ms)


def flags_of(reasons: frozenset[str]) -> tuple[str, ...]:
    """Return the flags that these reasons raise, in the order of `FLAGS`."""
    raised = {REASONS[reason] for reason in reasons}
    return tuple(flag for flag in FLAGS if flag in raised)


def in_order(reasons: frozenset[str]) -> tuple[str, ...]:
    """Return the reasons in the order of `REASONS`."""
    return tuple(reason for reason in REASONS if reason in reasons)
