"""Who was fastest when: the colours of laps and sectors, and the records that they set.

Purple is faster than everybody before, green than oneself before, yellow neither. Everybody is who drove the same car on the same
track of the same game: classes of cars are not known. Rules: what counts is when a part of a lap ended, not when it was heard of;
only flying laps are judged, in all their parts; a tie is no record. Pure: the store keeps records, so that what comes late or is
corrected has only what ended after it judged again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate

from analytics.model.lap import Lap

PURPLE, GREEN, YELLOW = "purple", "green", "yellow"

#: Whose a record is that nobody of all has beaten.
EVERYBODY = ""


@dataclass(frozen=True, slots=True)
class Category:
    """What is compared with each other."""

    game: str
    track: str
    car: str


@dataclass(frozen=True, slots=True)
class LapPart:
    """What of a lap: 0 is the lap itself, from 1 on its sectors. Sectors compare only if they end at the same places: ``layout``."""

    index: int
    layout: str = ""


@dataclass(frozen=True, slots=True)
class Colours:
    """Of a lap and its sectors; a lap that is not judged has none. ``version`` counts how often they were told, from 1."""

    lap: str = ""
    sectors: tuple[str, ...] = ()
    version: int = 0


@dataclass(frozen=True, slots=True)
class Driven:
    """A lap as it is judged: ``owner`` drove it in session ``session_id``, on version ``course`` of the track, and so it was told."""

    session_id: int
    owner: str
    course: int
    lap: Lap
    told: Colours = Colours()

    @property
    def counts(self) -> bool:
        """Whether it may set records."""
        return not self.lap.flags and self.lap.lap_time_ms is not None

    @property
    def ended_at_us(self) -> int:
        """When the car crossed the line; the official time may be corrected, but the car was there then."""
        return self.lap.ended_at_us


@dataclass(frozen=True, slots=True)
class BestTime:
    """A time that ``owner``, or EVERYBODY, had not beaten when it was set."""

    owner: str
    part: LapPart
    time_ms: int
    set_at_us: int
    session_id: int
    lap_number: int


@dataclass(frozen=True, slots=True)
class _Run:
    """A part of a lap: how long it took, and when it ended."""

    driven: Driven
    part: LapPart
    time_ms: int
    ended_at_us: int


def judge(
    laps: Iterable[Driven], standing: Iterable[BestTime], *, since_us: int
) -> tuple[list[tuple[Driven, Colours]], list[BestTime]]:
    """The colours that are not as they were told, and all records that were set from ``since_us`` on.

    ``laps`` are all that ended at or after it, ``standing`` the records from before it. What ended before keeps its colour.
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
        set_by = [owner for owner in (EVERYBODY, run.driven.owner) if _beats(best, owner, run.part, run.time_ms)]
        colours[_place(run.driven, run.part.index)] = _colour(set_by)
        records += [_record(owner, run) for owner in set_by]
    answers = ((driven, _told_again(driven, colours)) for driven in judged)
    return [(driven, told) for driven, told in answers if told != driven.told], records


def colour_against(time_ms: int, *, of_all_ms: int | None, own_ms: int | None) -> str:
    """The colour of a part of a lap in progress, against the best times from before it ended; None: there is none yet."""
    if _is_record(time_ms, of_all_ms):
        return PURPLE
    return GREEN if _is_record(time_ms, own_ms) else YELLOW


def layout_of(source: str, course: int) -> str:
    """The layout of sectors of this `Lap.sector_source`: the game's, or those of this version of the track."""
    return source if source == "game" else f"{source} {course}"


def _beats(best: dict[tuple[str, LapPart], int], owner: str, part: LapPart, time_ms: int) -> bool:
    if not _is_record(time_ms, best.get((owner, part))):
        return False
    best[owner, part] = time_ms
    return True


def _is_record(time_ms: int, before_ms: int | None) -> bool:
    return before_ms is None or time_ms < before_ms


def _colour(set_by: list[str]) -> str:
    return PURPLE if EVERYBODY in set_by else GREEN if set_by else YELLOW


def _record(owner: str, run: _Run) -> BestTime:
    return BestTime(owner, run.part, run.time_ms, run.ended_at_us, run.driven.session_id, run.driven.lap.lap_number)


def _runs(driven: Driven) -> list[_Run]:
    if not driven.counts:
        return []
    lap = driven.lap
    layout = layout_of(lap.sector_source, driven.course)
    ends = accumulate(lap.sector_times_ms)
    sectors = [
        _Run(driven, LapPart(k, layout), time_ms, lap.started_at_us + 1000 * end_ms)
        for k, (time_ms, end_ms) in enumerate(zip(lap.sector_times_ms, ends, strict=True), 1)
    ]
    return [*sectors, _Run(driven, LapPart(0), lap.time_ms or 0, driven.ended_at_us)]


def _told_again(driven: Driven, colours: Mapping[tuple[int, int, int], str]) -> Colours:
    """As far as it was judged now; what was not keeps what it had. The version moves where anything does."""
    told, sectors = driven.told, len(driven.lap.sector_times_ms) if driven.counts else 0
    before = [*told.sectors, *[""] * sectors][:sectors]
    lap = colours.get(_place(driven, 0), told.lap if driven.counts else "")
    now = tuple(colours.get(_place(driven, k), colour) for k, colour in enumerate(before, 1))
    return told if (lap, now) == (told.lap, told.sectors) else Colours(lap, now, told.version + 1)


def _place(driven: Driven, index: int) -> tuple[int, int, int]:
    return driven.session_id, driven.lap.lap_number, index
