"""Builds the result of a lap: its times, sectors and mini-sectors, and the reasons why it does not
count.

It also builds the known part of that for a lap in progress. The module is pure, and uses the open
lap and the frames at the line. Rule: parts of a lap add up to it to the millisecond, or are left
out.
"""

from collections.abc import Sequence
from itertools import pairwise, takewhile

import numpy as np

from analytics.laps.crossing import clock_at_line_ms
from analytics.laps.frame_arrays import FrameArrays
from analytics.laps.frame_events import (
    FAR_SIDE,
    HOLE,
    IN_PIT,
    INVALID,
    JUMP,
    JUMP_BACK,
    LONG_HOLE,
    NOT_VALID,
    PIT_ENTRY,
)
from analytics.laps.state import EndedLap, OpenLap, Passage, Split
from analytics.model.arrays import Integers
from analytics.model.lap import Lap, LapInProgress, flags_of, in_order
from analytics.model.track_layout import TrackLayout

_SAME_MS = 5
# An official time belongs to this lap if it is this near to ours. In real recordings at 9 to 60 Hz,
# the worst is 0.14 s off. Where the line itself lay in a hole, ours is off by as much as the hole.
_FITS_MS, _FITS_PARTIAL_MS = 1_000, 10_000
#: The shortest time of a lap.
SHORTEST_LAP_MS = 10_000
# A longer time comes from a clock that was set, or from a session's name that was used again. It is
# not a lap time, and a column of the store might not hold it.
_LONGEST_LAP_MS = 86_400_000
# A clock that hardly ran since the first frame times nothing.
_LEAST_TIMED_MS = 1_000
# If the lap clock and the elapsed time differ by more than this, the game was paused.
_PAUSE_MS = 250
# The number of mini-sector marks that a lap may miss and still count as driven round. A short hole
# hides a mark, as does a position that the game holds.
_UNSEEN_MARKS = 2
# A game that counts laps this far from the track's line uses another line.
_OFF_LINE = 0.01

_REASON_OF_EVENT = (
    (LONG_HOLE, "frames_missing"),
    (JUMP, "position_jump"),
    (INVALID, "game_invalidated"),
    (JUMP_BACK, "put_back"),
)


def finished(
    lap: OpenLap, layout: TrackLayout, arrays: FrameArrays, i: int, bits: int, line_us: int
) -> Lap:
    """Return the lap that ended at ``line_us``, before frame ``i``.

    ``bits`` are the events between that frame and the one before.
    """
    reasons = _reasons(lap, layout, bits, ends_in_pit=bool(arrays.pit[i - 1] >= IN_PIT))
    flags = flags_of(reasons)
    by_clock_ms = _by_clock_ms(lap, arrays, i, line_us)
    lap_time_ms = _lap_time_ms(lap, arrays, i, line_us) if by_clock_ms is None else by_clock_ms
    # The marks of such a lap are by its clock, too.
    timed_us = 1000 * (lap_time_ms or 0)
    end_us = lap.clock_zero_us + timed_us if timed_us and lap.has_reliable_clock else line_us
    whole = "partial" not in flags and _ms(end_us - lap.clock_zero_us) == lap_time_ms
    official = _official_sectors_ms(lap, end_us) if whole else ()
    measured = whole and abs(lap.off_line or 0.0) <= _OFF_LINE
    computed = _between_marks_ms(lap, layout.sector_marks, end_us) if measured else ()
    minis = _between_marks_ms(lap, layout.mini_marks, end_us) if measured else ()
    computed = () if None in computed else computed
    source = "game" if official else "computed" if computed else ""
    return Lap(
        lap_number=lap.lap_number,
        started_at_us=lap.started_at_us,
        ended_at_us=line_us,
        lap_time_ms=lap_time_ms,
        official_lap_time_ms=None,
        sector_times_ms=official or _known(computed),
        sector_source=source,
        flags=flags,
        frames=lap.frames,
        gaps=lap.gaps + int(bool(bits & HOLE)),
        # A real of the store preserves this many digits.
        max_speed_kmh=round(lap.max_speed_kmh, 3),
        max_speed_position=lap.max_speed_position,
        reasons=in_order(reasons),
        computed_sector_times_ms=_known(computed),
        mini_sector_times_ms=minis,
        line_position=None
        if lap.off_line is None
        else round((layout.line + lap.off_line) % 1.0, 6),
        sector_positions=tuple(round(split.position, 6) for split in lap.splits),
        sector_ends_us=_sector_ends_us(lap, layout, source, line_us),
    )


def in_progress(lap: OpenLap, layout: TrackLayout) -> LapInProgress:
    """Return a lap in progress with its ended sectors, to the millisecond as it will have them.

    There are two exceptions. A lap that turns out partial has no sectors. If the game later skips a
    sector, the lap has measured sectors.
    """
    flags = flags_of(_seen(lap, lap.bits) | ({"through_pits"} if lap.bits & PIT_ENTRY else set()))
    official = _has_official_sectors(lap)
    source = "game" if official else "computed"
    ends = () if "partial" in flags else _sector_ends(lap, layout, source)
    return LapInProgress(
        lap_number=lap.lap_number,
        started_at_us=lap.started_at_us,
        sector_times_ms=_known(_parts_ms(lap.clock_zero_us, [end.at_us for end in ends])),
        sector_source=source,
        flags=flags,
        sector_ends_us=tuple(end.passed_us for end in ends),
    )


def official_ms(ended: EndedLap, reported_ms: Integers) -> int | None:
    """Return the official time of the lap that ended; None if no time belongs to it.

    This is the last time that fits ours and differs from the one before the line. Failing that, it
    is one that equals ours. Games first repeat the time of an older lap, write numbers that mean
    "none", and correct a time seconds later. Two laps may have the same time.
    """
    ours, lap = ended.lap.lap_time_ms, ended.lap
    reported_ms = reported_ms[(reported_ms > 0) & (reported_ms <= _LONGEST_LAP_MS)]
    if ours is not None:
        off = np.abs(reported_ms - ours)
        reported_ms = reported_ms[off <= (_FITS_PARTIAL_MS if "partial" in lap.flags else _FITS_MS)]
    changed = reported_ms[reported_ms != ended.official_before_ms]
    if not len(changed) and ours is not None and lap.official_lap_time_ms is None:
        changed = reported_ms[np.abs(reported_ms - ours) <= _SAME_MS]
    return int(changed[-1]) if len(changed) else None


def _reasons(lap: OpenLap, layout: TrackLayout, bits: int, *, ends_in_pit: bool) -> frozenset[str]:
    # A hole or a jump over the line belongs to both laps. All other events at the first frame after
    # the line belong to the next lap.
    happened = lap.bits | bits & (LONG_HOLE | JUMP)
    reasons = {*_seen(lap, happened), *_pit_reasons(happened, ends_in_pit=ends_in_pit)}
    # The recording began on a grid just before the line, where the game counted the lap. Most of
    # the lap was never driven.
    if not lap.timed_from_line and not lap.bits & FAR_SIDE:
        reasons.add("early_count")
    passed = {passage.mark for passage in lap.marks}
    unseen = sum(mark not in passed for mark in layout.mini_marks)
    if unseen > _UNSEEN_MARKS and (lap.timed_from_line or not reasons):
        reasons.add("marks_missed")
    return frozenset(reasons)


def _pit_reasons(happened: int, *, ends_in_pit: bool) -> list[str]:
    if ends_in_pit:
        return ["entered_pits"]
    return ["through_pits"] if happened & PIT_ENTRY else []


def _seen(lap: OpenLap, happened: int) -> frozenset[str]:
    """Return the reasons that already apply, regardless of the rest of the lap."""
    # An invalid flag left over from the lap before counts only if it lasts to the end. Such a flag
    # outlives its lap by up to 4 s (iRacing).
    invalid = {"game_invalidated"} if lap.validity == NOT_VALID else set()
    return lap.reasons | invalid | {reason for bit, reason in _REASON_OF_EVENT if happened & bit}


def _has_official_sectors(lap: OpenLap) -> bool:
    """Return whether the game reports sectors.

    Some games report sector 1 all around the lap, and some tracks have no other. Those sectors are
    measured.
    """
    return max(lap.last_sector, lap.last_sector_before) > 1 or (
        lap.last_sector == 1 and lap.last_sector_before == 0
    )


def _sector_ends_us(
    lap: OpenLap, layout: TrackLayout, source: str, line_us: int
) -> tuple[int, ...]:
    """Return when the sectors of a lap that ended at ``line_us`` ended; none without sectors."""
    if not source:
        return ()
    return (*(end.passed_us for end in _sector_ends(lap, layout, source)), line_us)


def _sector_ends(lap: OpenLap, layout: TrackLayout, source: str) -> Sequence[Split | Passage]:
    """Return the ends of sectors on the way, up to the first one that was not seen.

    The sectors are the game's or those of the track layout (`Lap.sector_source`).
    """
    if source == "game":
        return lap.splits
    if abs(lap.off_line or 0.0) > _OFF_LINE:
        return ()
    passed = {passage.mark: passage for passage in lap.marks}
    return [passed[mark] for mark in takewhile(passed.__contains__, layout.sector_marks)]


def _lap_time_ms(lap: OpenLap, arrays: FrameArrays, i: int, line_us: int) -> int | None:
    """Return the time from line to line, or the game's clock at the line.

    The clock is used if the lap began elsewhere or the game was paused. It may lack the time in
    which the car did not move. A clock that lacks more stood still itself.
    """
    passed_ms = _ms(line_us - lap.clock_zero_us)
    clock_ms = int(arrays.lap_clock_ms[i - 1]) + _ms(line_us - int(arrays.time[i - 1]))
    # A game that puts the car back puts its clock back.
    lacking_ms = passed_ms if lap.bits & JUMP_BACK else _ms(lap.still_us) + _PAUSE_MS
    reliable = passed_ms - lacking_ms <= clock_ms <= passed_ms + _PAUSE_MS
    if not lap.timed_from_line:
        is_lap = lap.first_clock_ms + _LEAST_TIMED_MS < clock_ms <= _LONGEST_LAP_MS
        return clock_ms if reliable and is_lap else None
    paused = reliable and SHORTEST_LAP_MS <= clock_ms < passed_ms - _PAUSE_MS
    lap_time_ms = clock_ms if paused else passed_ms
    return lap_time_ms if 0 < lap_time_ms <= _LONGEST_LAP_MS else None


def _by_clock_ms(lap: OpenLap, arrays: FrameArrays, i: int, line_us: int) -> int | None:
    """Return the lap clock at the line where frames arrive in bursts and the clock agrees with the
    car; else None.

    Where the frames' times only jitter, the times at the line are better than the car's position.
    For 13 iRacing laps, they are 2.2 ms off the game's time, not 9.9.
    """
    clock_ms = clock_at_line_ms(arrays, i) if lap.has_reliable_clock and lap.fit.in_bursts else None
    if clock_ms is None or not lap.clock_fits(line_us - lap.clock_zero_us, 1000 * clock_ms):
        return None
    return clock_ms if lap.first_clock_ms + _LEAST_TIMED_MS < clock_ms <= _LONGEST_LAP_MS else None


def _official_sectors_ms(lap: OpenLap, line_us: int) -> tuple[int, ...]:
    """Return the sectors that the game reported; none if one was missed."""
    if not lap.splits or len(lap.splits) + 1 != lap.last_sector:
        return ()
    return _known(_parts_ms(lap.clock_zero_us, [*(split.at_us for split in lap.splits), line_us]))


def _between_marks_ms(lap: OpenLap, marks: Sequence[int], line_us: int) -> tuple[int | None, ...]:
    passed = {passage.mark: passage.at_us for passage in lap.marks}
    return _parts_ms(lap.clock_zero_us, [*(passed.get(mark) for mark in marks), line_us])


def _parts_ms(start_us: int, ends_us: Sequence[int | None]) -> tuple[int | None, ...]:
    """Return the parts of a lap, rounded as the lap is, so that they add up to it.

    The parts on both sides of an unknown end are None.
    """
    ends_ms = [0, *(None if end is None else _ms(end - start_us) for end in ends_us)]
    return tuple(None if a is None or b is None else b - a for a, b in pairwise(ends_ms))


def _known(parts: Sequence[int | None]) -> tuple[int, ...]:
    return tuple(part for part in parts if part is not None)


def _ms(us: int) -> int:
    return (us + 500) // 1000
