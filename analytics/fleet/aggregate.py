"""Aggregates the laps of all drivers of the same car on the same track.

A `CarTrackAggregate` is a partial result, of one timesheet or of a million laps. Two of them merge
into a third. The module is pure. Rules: the division of the timesheets and the order of merging
change no result, ties included. Lap and mini-sector times are kept one by one (some hundred bytes a
lap), so that their percentiles are exact. Speeds are counted by whole km/h at each place.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from analytics.fleet.timesheet import PLACES, SPEEDS
from analytics.laps.best_laps import Category
from analytics.model.track_layout import MINI_SECTORS

Times = NDArray[np.int32]

#: The number of aggregates merged at once. Each lap is copied a few times, and few aggregates wait.
_AT_ONCE = 16


@dataclass(frozen=True, slots=True, order=True)
class Best:
    """The fastest time of a kind, with its driver, session and lap.

    Among equal times, the order of the other values decides. Any rule is acceptable if it is always
    the same.
    """

    time_ms: int
    driver: str
    session: str
    lap_number: int


@dataclass(frozen=True, slots=True)
class Sectors:
    """The best time of each sector, over ``laps`` laps whose sectors end at the same places."""

    laps: int
    bests: tuple[Best, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """The number of laps with each speed at each place.

    ``cells`` are place times `SPEEDS` plus km/h, in order, each once.
    """

    cells: NDArray[np.int64]
    laps: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class CarTrackAggregate:
    """The laps of one car on one track.

    ``laps`` laps ended, in ``sessions`` sessions. The other values are of the flying laps.
    ``times_ms`` holds one time for each lap, ascending. ``sectors`` are by layout: the source of
    the sectors and the version of the track. ``minis_ms`` are by that version, with a row for each
    lap, and 0 where a part was not seen whole.
    """

    laps: int
    sessions: int
    drivers: frozenset[str]
    times_ms: Times
    best: Best | None
    sectors: Mapping[str, Sectors]
    minis_ms: Mapping[int, Times]
    speeds: Counts

    @property
    def flying(self) -> int:
        """Return the number of flying laps."""
        return len(self.times_ms)


def field_of(timesheet: pa.Table) -> tuple[Category, CarTrackAggregate] | None:
    """Return the category and the aggregate of one session; None where no lap of it ended.

    The session is given as `analytics.fleet.timesheet.TIMESHEET`.
    """
    if not timesheet.num_rows:
        return None
    scope = Category(*(timesheet.column(name)[0].as_py() for name in ("game", "track", "car")))
    timed = pc.and_(
        pc.equal(timesheet.column("kind"), "flying"), pc.is_valid(timesheet.column("time_ms"))
    )
    flying = timesheet.filter(timed)
    times_ms = flying.column("time_ms").to_numpy().astype(np.int32)
    return scope, CarTrackAggregate(
        laps=timesheet.num_rows,
        sessions=1,
        drivers=frozenset(filter(None, timesheet.column("driver").unique().to_pylist())),
        times_ms=np.sort(times_ms),
        best=_best(flying, times_ms) if len(times_ms) else None,
        sectors=_sectors(flying),
        minis_ms=_minis(flying),
        speeds=_counted(flying.column("speed_kmh")),
    )


def merged(fields: Iterable[CarTrackAggregate]) -> CarTrackAggregate:
    """Merge all aggregates into one. Raises ValueError if there are none."""
    parts = list(fields)
    if not parts:
        raise ValueError("a field is made of fields, and there is none")
    sectors = _alike(part.sectors for part in parts)
    minis_ms = _alike(part.minis_ms for part in parts)
    return CarTrackAggregate(
        laps=sum(part.laps for part in parts),
        sessions=sum(part.sessions for part in parts),
        drivers=frozenset().union(*(part.drivers for part in parts)),
        times_ms=np.sort(np.concatenate([part.times_ms for part in parts])),
        best=min((part.best for part in parts if part.best), default=None),
        sectors={layout: _fastest(same) for layout, same in sectors.items()},
        minis_ms={version: np.concatenate(same) for version, same in minis_ms.items()},
        speeds=_summed([part.speeds for part in parts]),
    )


def fields(timesheets: Iterable[pa.Table]) -> dict[Category, CarTrackAggregate]:
    """Return the aggregates of all timesheets, which are read one by one."""
    piles: dict[Category, list[list[CarTrackAggregate]]] = defaultdict(list)
    for found in filter(None, map(field_of, timesheets)):
        _pile(piles[found[0]], found[1])
    every = {
        scope: merged(field for level in levels for field in level)
        for scope, levels in piles.items()
    }
    return dict(sorted(every.items(), key=lambda one: (one[0].game, one[0].track, one[0].car)))


def _pile(levels: list[list[CarTrackAggregate]], field: CarTrackAggregate, level: int = 0) -> None:
    """Add an aggregate to its level; a full level becomes one aggregate of the next level."""
    if len(levels) == level:
        levels.append([])
    levels[level].append(field)
    if len(levels[level]) == _AT_ONCE:
        whole = merged(levels[level])
        levels[level].clear()
        _pile(levels, whole, level + 1)


def _best(flying: pa.Table, times_ms: Times) -> Best:
    row = int(np.argmin(times_ms))
    driver, session, number = (
        flying.column(name)[row].as_py() for name in ("driver", "session", "lap_number")
    )
    return Best(int(times_ms[row]), driver, session, number)


def _sectors(flying: pa.Table) -> dict[str, Sectors]:
    """Return the best sectors of one session, by layout.

    The number of sectors is part of the layout.
    """
    source, track_version = (
        flying.column(name).to_pylist() for name in ("sector_source", "track_version")
    )
    times = flying.column("sector_times_ms").to_pylist()
    rows: dict[str, list[int]] = defaultdict(list)
    for i, (by, version, each) in enumerate(zip(source, track_version, times, strict=True)):
        if each:
            rows[_layout_of(len(each), by, version)].append(i)
    return {layout: _of_layout(flying, [times[i] for i in at], at) for layout, at in rows.items()}


def _layout_of(sectors: int, source: str, track_version: int) -> str:
    if source == "game":
        return f"{sectors} by the game"
    return f"{sectors} {source}, track version {track_version}"


def _of_layout(flying: pa.Table, times: list[list[int]], rows: list[int]) -> Sectors:
    laps = flying.take(rows)
    return Sectors(len(rows), tuple(_best(laps, column) for column in np.array(times, np.int32).T))


def _fastest(same: list[Sectors]) -> Sectors:
    bests = zip(*(one.bests for one in same), strict=True)
    return Sectors(sum(one.laps for one in same), tuple(min(each) for each in bests))


def _minis(flying: pa.Table) -> dict[int, Times]:
    whole = flying.filter(
        pc.equal(pc.list_value_length(flying.column("mini_sector_times_ms")), MINI_SECTORS)
    )
    if not whole.num_rows:
        return {}
    parts = pc.list_flatten(whole.column("mini_sector_times_ms")).fill_null(0).to_numpy()
    return {
        whole.column("track_version")[0].as_py(): parts.astype(np.int32).reshape(-1, MINI_SECTORS)
    }


def _counted(speeds: pa.ChunkedArray) -> Counts:
    kmh = pc.list_flatten(speeds).to_numpy().astype(np.int64).reshape(-1, PLACES + 1)
    cells, laps = np.unique(kmh + SPEEDS * np.arange(PLACES + 1), return_counts=True)
    return Counts(cells, laps)


def _summed(counts: list[Counts]) -> Counts:
    cells, where = np.unique(np.concatenate([one.cells for one in counts]), return_inverse=True)
    laps = np.zeros(len(cells), np.int64)
    np.add.at(laps, where, np.concatenate([one.laps for one in counts]))
    return Counts(cells, laps)


_Part = TypeVar("_Part")


def _alike(parts: Iterable[Mapping[str, _Part] | Mapping[int, _Part]]) -> dict[Any, list[_Part]]:
    """Return the values of each key, together."""
    together: dict[Any, list[_Part]] = defaultdict(list)
    for part in parts:
        for key, value in part.items():
            together[key].append(value)
    return together
