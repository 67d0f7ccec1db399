"""Computes the standings of a fleet: the best times of each aggregate, and the bands of its laps.

The module is pure: it turns aggregates of `analytics.fleet.aggregate` into Arrow tables. Rule: a
percentile is the smallest value that at least that per cent of the laps do not exceed. It is
therefore a time that somebody drove. Percentiles of times are exact. Percentiles of speeds are in
whole km/h, hence within 0.5 km/h.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from analytics.fleet.aggregate import Best, CarTrackAggregate, Counts, Sectors, Times
from analytics.fleet.timesheet import PLACES, SPEEDS
from analytics.laps.best_laps import Category
from analytics.model.arrays import Integers

#: The percentiles of every band.
BANDS = (5, 25, 50, 75, 95)

_WHOSE = [("game", pa.string()), ("track", pa.string()), ("car", pa.string())]

#: One row for each track and car. Sector bests are of the layout that most laps have. Times are
#: None where nobody drove a flying lap. A theoretical best is the sum of sector bests, or of
#: mini-sector bests, but never slower than the best lap.
BESTS = pa.schema(
    [
        *_WHOSE,
        ("sessions", pa.int64()),
        ("drivers", pa.int64()),
        ("laps", pa.int64()),
        ("flying", pa.int64()),
        ("best_ms", pa.int32()),
        ("driver", pa.string()),
        ("session", pa.string()),
        ("lap_number", pa.int32()),
        ("sector_layout", pa.string()),
        ("sector_bests_ms", pa.list_(pa.int32())),
        ("sector_drivers", pa.list_(pa.string())),
        ("theoretical_ms", pa.int32()),
        ("mini_theoretical_ms", pa.int32()),
    ]
)

#: One row for each track and car: lap times.
LAP_BANDS = pa.schema([*_WHOSE, ("laps", pa.int64()), *((f"p{q}_ms", pa.int32()) for q in BANDS)])
#: One row for each track, car and mini-sector. There are 25 mini-sectors, numbered from 1.
MINI_BANDS = pa.schema(
    [
        *_WHOSE,
        ("mini_sector", pa.int32()),
        ("laps", pa.int64()),
        ("best_ms", pa.int32()),
        *((f"p{q}_ms", pa.int32()) for q in BANDS),
    ]
)
#: One row for each track, car and place. A place is a share of the lap since the line.
SPEED_BANDS = pa.schema(
    [
        *_WHOSE,
        ("place", pa.float64()),
        ("laps", pa.int64()),
        *((f"p{q}_kmh", pa.int32()) for q in BANDS),
    ]
)

Fields = Mapping[Category, CarTrackAggregate]


def bests(fields: Fields) -> pa.Table:
    """Return the best times and their drivers, as `BESTS`."""
    return pa.Table.from_pylist(
        [{**asdict(scope), **_bests(field)} for scope, field in fields.items()], BESTS
    )


def lap_bands(fields: Fields) -> pa.Table:
    """Return the percentiles of lap times, as `LAP_BANDS`."""
    driven = ((scope, field) for scope, field in fields.items() if field.flying)
    rows = [
        {**asdict(scope), "laps": field.flying, **_times_in_bands(field.times_ms)}
        for scope, field in driven
    ]
    return pa.Table.from_pylist(rows, LAP_BANDS)


def mini_bands(fields: Fields) -> pa.Table:
    """Return the percentiles of mini-sector times, as `MINI_BANDS`."""
    rows = (
        {**asdict(scope), **row}
        for scope, field in fields.items()
        for row in _minis_in_bands(_most_minis(field))
    )
    return pa.Table.from_pylist(list(rows), MINI_BANDS)


def speed_bands(fields: Fields) -> pa.Table:
    """Return the percentiles of speeds around the lap, as `SPEED_BANDS`."""
    tables = [
        _whose(scope, _speeds_in_bands(field.speeds))
        for scope, field in fields.items()
        if len(field.speeds.cells)
    ]
    return pa.concat_tables([SPEED_BANDS.empty_table(), *tables])


def percentile(ordered: Times, percent: int) -> int:
    """Return a percentile, from 1 to 100 per cent, of at least one value in ascending order."""
    return int(ordered[-(-percent * len(ordered) // 100) - 1])


def counted_percentiles(counts: Counts, percents: Iterable[int]) -> tuple[Integers, Integers]:
    """Return the number of laps at each place, and the percentiles of their speeds in km/h.

    The percentiles have one row for each per cent, and one column for each place.
    """
    table = np.zeros((PLACES + 1) * SPEEDS, np.int64)
    table[counts.cells] = counts.laps
    up_to = np.cumsum(table.reshape(PLACES + 1, SPEEDS), axis=1)
    laps = up_to[:, -1]
    least = (-(-percent * laps // 100) for percent in percents)
    return laps, np.array([np.argmax(up_to >= these[:, None], axis=1) for these in least])


def _bests(field: CarTrackAggregate) -> dict[str, Any]:
    best, minis_ms = field.best, _most_minis(field)
    layout, sectors = max(
        field.sectors.items(), key=lambda one: (one[1].laps, one[0]), default=("", Sectors(0, ()))
    )
    parts = [part.time_ms for part in sectors.bests]
    columns = [part for part in (column[column > 0] for column in minis_ms.T) if len(part)]
    return {
        "sessions": field.sessions,
        "drivers": len(field.drivers),
        "laps": field.laps,
        "flying": field.flying,
        "best_ms": best and best.time_ms,
        "driver": best and best.driver,
        "session": best and best.session,
        "lap_number": best and best.lap_number,
        "sector_layout": layout,
        "sector_bests_ms": parts,
        "sector_drivers": [part.driver for part in sectors.bests],
        "theoretical_ms": _no_slower(best, parts),
        "mini_theoretical_ms": _no_slower(
            best, [int(part.min()) for part in columns] if len(columns) == minis_ms.shape[1] else []
        ),
    }


def _no_slower(best: Best | None, parts_ms: list[int]) -> int | None:
    """Return the sum of the parts, but at most the best lap; None if either is missing.

    A lap that was driven is possible. The fastest lap need not have these parts, and its official
    time is not the sum of its parts.
    """
    return min(best.time_ms, sum(parts_ms)) if best and parts_ms else None


def _most_minis(field: CarTrackAggregate) -> Times:
    """Return the mini-sector times, a row for each lap, of the track version with the most laps."""
    none = np.zeros((0, 1), np.int32)
    return max(field.minis_ms.items(), key=lambda one: (len(one[1]), one[0]), default=(0, none))[1]


def _minis_in_bands(minis_ms: Times) -> list[dict[str, Any]]:
    columns = ((k, np.sort(column[column > 0])) for k, column in enumerate(minis_ms.T, 1))
    return [
        {"mini_sector": k, "laps": len(times), "best_ms": int(times[0]), **_times_in_bands(times)}
        for k, times in columns
        if len(times)
    ]


def _times_in_bands(ordered: Times) -> dict[str, int]:
    return {f"p{q}_ms": percentile(ordered, q) for q in BANDS}


def _speeds_in_bands(counts: Counts) -> pa.Table:
    laps, bands = counted_percentiles(counts, BANDS)
    named = {f"p{q}_kmh": band.astype(np.int32) for q, band in zip(BANDS, bands, strict=True)}
    return pa.table({"place": np.linspace(0, 1, PLACES + 1), "laps": laps, **named})


def _whose(scope: Category, table: pa.Table) -> pa.Table:
    facts = {name: pa.array([value] * len(table)) for name, value in asdict(scope).items()}
    return pa.table(
        {**facts, **dict(zip(table.column_names, table.columns, strict=True))}, schema=SPEED_BANDS
    )
