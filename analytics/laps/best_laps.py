"""Computes the colours of laps and sectors, and the records that they set.

Purple is faster than every driver before, green is faster than one's own best before, yellow is
neither. Only drivers of the same car on the same track of the same game compare: classes of cars
are not known. Rules: the order is that in which parts of laps ended, not that in which they
arrived. Only flying laps are judged, in all their parts. A tie is no record. The module is pure,
and the store keeps the records. After late data or a correction, only the parts that ended later
are judged again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from analytics.model.lap import Lap, sector_ends_us

PURPLE, GREEN, YELLOW = "purple", "green", "yellow"

#: The owner of a record over all drivers.
ALL_OWNERS = ""


@dataclass(frozen=True, slots=True)
class Category:
    """A game, a track and a car whose laps compare with each other."""

    game: str
    track: str
    car: str


@dataclass(frozen=True, slots=True)
class LapPart:
    """A part of a lap: index 0 is the lap itself, from 1 on its sectors.

    Sectors compare only if they end at the same places, which ``layout`` names.
    """

    index: int
    layout: str = ""


@dataclass(frozen=True, slots=True)
class Colours:
    """The colours of a lap and its sectors. A lap that is not judged has none.

    ``version`` counts how often they were published, from 1.
    """

    lap: str = ""
    sectors: tuple[str, ...] = ()
    version: int = 0


@dataclass(frozen=True, slots=True)
class Driven:
    """A lap to be judged, with its owner and the colours published last.

    ``owner`` drove it in session ``session_id``, on version ``track_version`` of the track.
    """

    session_id: int
    owner: str
    track_version: int
    lap: Lap
    assigned: Colours = Colours()

    @property
    def counts(self) -> bool:
        """Return whether the lap may set records."""
        return not self.lap.flags and self.lap.lap_time_ms is not None

    @property
    def ended_at_us(self) -> int:
        """Return when the car crossed the line. A correction of the official time does not move
        this moment.
        """
        return self.lap.ended_at_us


@dataclass(frozen=True, slots=True)
class BestTime:
    """A record: when it was set, ``owner`` (or ALL_OWNERS) had driven nothing as fast."""

    owner: str
    part: LapPart
    time_ms: int
    set_at_us: int
    session_id: int
    lap_number: int


@dataclass(frozen=True, slots=True)
class _Run:
    """A part of a lap: its time, and when it ended."""

    driven: Driven
    part: LapPart
    time_ms: int
    ended_at_us: int


def judge(
    laps: Iterable[Driven], standing: Iterable[BestTime], *, since_us: int
) -> tuple[list[tuple[Driven, Colours]], list[BestTime]]:
    """Return the colours that differ from those published last, and all records set from
    ``since_us`` on.

    ``laps`` are all that ended at or after ``since_us``, ``standing`` the records from before it. A
    part of a lap that ended before keeps its colour.
    """
    best: dict[tuple[str, LapPart], int] = {}
    for record in standing:
        _beats(best, record.owner, record.part, record.time_ms)
    judged = list(laps)
    runs = sorted(
        (run for driven in judged for run in _runs(driven) if run.ended_at_us >= since_us),
        key=lambda run: (run.ended_at_us, run.driven.session_id, run.part.index),
    )
    colours: dict[tuple[int, int, int], str] = {}
    records: list[BestTime] = []
    for run in runs:
        set_by = [
            owner
            for owner in (ALL_OWNERS, run.driven.owner)
            if _beats(best, owner, run.part, run.time_ms)
        ]
        colours[_place(run.driven, run.part.index)] = _colour(set_by)
        records += [_record(owner, run) for owner in set_by]
    answers = ((driven, _reassigned(driven, colours)) for driven in judged)
    return [
        (driven, assigned) for driven, assigned in answers if assigned != driven.assigned
    ], records


def colour_against(time_ms: int, *, of_all_ms: int | None, own_ms: int | None) -> str:
    """Return the colour of a part of a lap in progress, against the best times from before it
    ended.

    A best time is None where nobody has set one yet.
    """
    if _is_record(time_ms, of_all_ms):
        return PURPLE
    return GREEN if _is_record(time_ms, own_ms) else YELLOW


def layout_of(source: str, track_version: int) -> str:
    """Return the sector layout of a `Lap.sector_source`: the game's, or that of this version of the
    track.
    """
    return source if source == "game" else f"{source} {track_version}"


def _beats(best: dict[tuple[str, LapPart], int], owner: str, part: LapPart, time_ms: int) -> bool:
    if not _is_record(time_ms, best.get((owner, part))):
        return False
    best[owner, part] = time_ms
    return True


def _is_record(time_ms: int, before_ms: int | None) -> bool:
    return before_ms is None or time_ms < before_ms


def _colour(set_by: list[str]) -> str:
    return PURPLE if ALL_OWNERS in set_by else GREEN if set_by else YELLOW


def _record(owner: str, run: _Run) -> BestTime:
    return BestTime(
        owner,
        run.part,
        run.time_ms,
        run.ended_at_us,
        run.driven.session_id,
        run.driven.lap.lap_number,
    )


def _runs(driven: Driven) -> list[_Run]:
    if not driven.counts:
        return []
    lap = driven.lap
    layout = layout_of(lap.sector_source, driven.track_version)
    parts = zip(lap.sector_times_ms, sector_ends_us(lap), strict=True)
    sectors = [
        _Run(driven, LapPart(k, layout), time_ms, ended_at_us)
        for k, (time_ms, ended_at_us) in enumerate(parts, 1)
    ]
    return [*sectors, _Run(driven, LapPart(0), lap.time_ms or 0, driven.ended_at_us)]


def _reassigned(driven: Driven, colours: Mapping[tuple[int, int, int], str]) -> Colours:
    """Return the colours after this judgement. Parts that it did not judge keep theirs.

    The version rises if any colour changes.
    """
    assigned, sectors = driven.assigned, len(driven.lap.sector_times_ms) if driven.counts else 0
    before = [*assigned.sectors, *[""] * sectors][:sectors]
    lap = colours.get(_place(driven, 0), assigned.lap if driven.counts else "")
    now = tuple(colours.get(_place(driven, k), colour) for k, colour in enumerate(before, 1))
    return (
        assigned
        if (lap, now) == (assigned.lap, assigned.sectors)
        else Colours(lap, now, assigned.version + 1)
    )


def _place(driven: Driven, index: int) -> tuple[int, int, int]:
    return driven.session_id, driven.lap.lap_number, index
