"""Holds the state of the lap engine between batches: the lap in progress and the lap that awaits
its official time.

The state is small and explicit, and contains all of a session's past.
`analytics.laps.engine.resume` makes it again from stored frames.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

from analytics.laps.clock_fit import NO_STEPS, StepSums
from analytics.laps.frame_arrays import FrameArrays
from analytics.laps.frame_events import JUMP_BACK, Tally
from analytics.model.lap import Lap

# As in `analytics.laps.elapsed_time`: a lap clock that is farther off belongs to another lap.
_MOST_OFF_US = 5_000_000


@dataclass(frozen=True, slots=True)
class Split:
    """A change of the game's sector, at a normalized position.

    ``at_us`` is by the clock that times the lap, which may lack pauses. ``passed_us`` is by the
    frames' times.
    """

    at_us: int
    passed_us: int
    position: float


class Passage(NamedTuple):
    """The first passage of a mark of the track in a lap, at two times as in `Split`."""

    mark: int
    at_us: int
    passed_us: int


@dataclass(frozen=True, slots=True)
class OpenLap:
    """A lap in progress.

    ``bits`` are all events among its frames (`analytics.laps.frame_events`). ``marks`` are the
    track's marks passed in order. ``off_line`` is the distance in laps from the track's line at
    which the game counted the lap. It is None where no line was seen. ``last_sector_before`` is
    the final ``last_sector`` of the lap before. ``unseen_us`` is how long before ``started_at_us``
    the game's clock read zero. ``still_us`` is the time in which the car did not move.
    ``validity`` is the game's last value for the lap. ``zero_by_clock`` states whether the lap's
    time began where the lap clock reads zero. ``fit`` measures how well its clocks agree with the
    car.
    """

    lap_number: int
    started_at_us: int
    official_before_ms: int
    timed_from_line: bool = True
    zero_by_clock: bool = False
    first_clock_ms: int = 0
    reasons: frozenset[str] = frozenset()
    off_line: float | None = None
    bits: int = 0
    frames: int = 0
    gaps: int = 0
    max_speed_kmh: float = 0.0
    max_speed_position: float | None = None
    last_sector: int = 0
    last_sector_before: int = 0
    still_us: int = 0
    unseen_us: int = 0
    validity: int = 0
    fit: StepSums = NO_STEPS
    splits: tuple[Split, ...] = ()
    marks: tuple[Passage, ...] = ()

    @property
    def clock_zero_us(self) -> int:
        """Return when the lap's time began: at its start, unless the game put its clock back."""
        return self.started_at_us - self.unseen_us

    @property
    def has_reliable_clock(self) -> bool:
        """Return whether the lap clock gives the time inside the lap.

        It does if it agrees better with the car than the frames' times, and began with the lap.
        """
        return self.zero_by_clock and not self.bits & JUMP_BACK and self.fit.clock_is_better

    def clock_fits(self, passed_us: int, clock_us: int) -> bool:
        """Return whether a clock that agrees with the car can belong to this lap.

        The clock may lack the time in which the car did not move.
        """
        return passed_us - self.still_us - _MOST_OFF_US <= clock_us <= passed_us + _MOST_OFF_US

    def driven(
        self,
        arrays: FrameArrays,
        frames: slice,
        tally: Tally,
        *,
        splits: tuple[Split, ...],
        marks: tuple[Passage, ...],
    ) -> "OpenLap":
        """Return this lap with more frames of a stretch, which ``tally`` summarizes."""
        speed, place = self.max_speed_kmh, self.max_speed_position
        if tally.max_speed_kmh > speed:
            fastest = int(arrays.speed_kmh[frames].argmax())
            speed, place = (
                tally.max_speed_kmh,
                round(float(arrays.normalized_position[frames][fastest]), 6),
            )
        return replace(
            self,
            bits=self.bits | tally.bits,
            frames=self.frames + frames.stop - frames.start,
            gaps=self.gaps + tally.holes,
            max_speed_kmh=speed,
            max_speed_position=place,
            last_sector=max(self.last_sector, tally.last_sector),
            still_us=self.still_us + tally.still_us,
            validity=tally.validity or self.validity,
            fit=self.fit.plus(tally.fit),
            splits=splits,
            marks=marks,
        )

    def going_on(self, after: "OpenLap") -> "OpenLap":
        """Return this lap with the frames of ``after``, which began only where a counter rose
        before the line.
        """
        faster = after if after.max_speed_kmh > self.max_speed_kmh else self
        passed = self.marks[-1].mark if self.marks else -1
        return replace(
            self,
            bits=self.bits | after.bits,
            frames=self.frames + after.frames,
            gaps=self.gaps + after.gaps,
            max_speed_kmh=faster.max_speed_kmh,
            max_speed_position=faster.max_speed_position,
            last_sector=max(self.last_sector, after.last_sector),
            still_us=self.still_us + after.still_us,
            validity=after.validity or self.validity,
            fit=self.fit.plus(after.fit),
            marks=(*self.marks, *(mark for mark in after.marks if mark.mark > passed)),
        )


@dataclass(frozen=True, slots=True)
class EndedLap:
    """A lap whose official time may still arrive.

    ``as_counted`` is the lap as it was when the counter ended it. It is None where the clock
    restarted at the line.
    """

    lap: Lap
    ended_at_us: int
    official_before_ms: int
    as_counted: OpenLap | None = None


@dataclass(frozen=True, slots=True, eq=False)
class EngineState:
    """The state that one batch of a session passes to the next.

    ``ahead`` is our lap number less the game's counter.
    """

    recent: FrameArrays
    open: OpenLap
    ended: EndedLap | None = None
    ahead: int = 0

    def renumbered(self, shift: int) -> "EngineState":
        """Return the state with every lap number raised by ``shift``."""
        ended = self.ended
        if ended:
            ended = replace(ended, lap=replace(ended.lap, lap_number=ended.lap.lap_number + shift))
        lap = replace(self.open, lap_number=self.open.lap_number + shift)
        return EngineState(self.recent, lap, ended, self.ahead + shift)
