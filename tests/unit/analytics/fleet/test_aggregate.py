"""Partial results of a fleet: merged in any way they say the same, and their percentiles are those
of all laps.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
import pyarrow as pa
import pytest

from analytics.fleet.aggregate import CarTrackAggregate, field_of, fields, merged
from analytics.fleet.percentiles import (
    BANDS,
    bests,
    counted_percentiles,
    lap_bands,
    mini_bands,
    percentile,
    speed_bands,
)
from analytics.fleet.timesheet import PLACES, SPEEDS, TIMESHEET
from analytics.laps.best_laps import Category

SCOPE = Category("game", "track", "car")


def timesheet(
    session: int, laps: int, *, car: str = "car", kind: str = "flying", source: str = "game"
) -> pa.Table:
    """Laps whose sectors and mini-sectors add up, drawn from the session's number; times repeat, so
    that there are ties.
    """
    draw = np.random.default_rng(session)
    minis = draw.integers(3_900, 4_100, (laps, 25)).astype(np.int32)
    speeds = draw.integers(60, 280, (laps, PLACES + 1)).astype(np.uint16)
    number = range(1, laps + 1)
    rows = [
        {
            "game": "game",
            "track": "track",
            "car": car,
            "driver": f"driver {session % 4}",
            "session": f"session {session}",
            "lap_number": i,
            "kind": kind,
            "time_ms": int(mini.sum()) // 100 * 100,
            "sector_source": source,
            "track_version": 0,
            "sector_times_ms": [int(part.sum()) for part in np.split(mini, [8, 16])],
            "mini_sector_times_ms": mini.tolist(),
            "speed_kmh": speed if kind == "flying" else None,
        }
        for i, mini, speed in zip(number, minis, speeds, strict=True)
    ]
    return pa.Table.from_pylist(rows, TIMESHEET)


@cache
def stint() -> tuple[pa.Table, ...]:
    return tuple(timesheet(session, 12) for session in range(50))


def field(timesheets: Sequence[pa.Table]) -> CarTrackAggregate:
    return merged(found[1] for found in map(field_of, timesheets) if found)


def told(one: CarTrackAggregate) -> list[pa.Table]:
    return [table({SCOPE: one}) for table in (bests, lap_bands, mini_bands, speed_bands)]


def test_any_division_and_any_order_state_the_same() -> None:
    alone = [field([sheet]) for sheet in stint()]
    whole = told(merged(alone))
    for seed in (1, 4, 9):
        draw = np.random.default_rng(seed)
        order = draw.permutation(len(alone)).tolist()
        cuts = sorted(draw.choice(np.arange(1, len(order)), size=seed, replace=False).tolist())
        parts = [order[a:b] for a, b in zip([0, *cuts], [*cuts, len(order)], strict=True)]
        assert told(merged(merged(alone[i] for i in part) for part in parts)) == whole
        assert told(fields(stint()[i] for i in order)[SCOPE]) == whole


def test_lap_times_in_bands_are_those_that_numpy_finds_among_all() -> None:
    times = pa.concat_tables(stint()).column("time_ms").to_numpy()
    (row,) = lap_bands(fields(stint())).to_pylist()
    assert [row[f"p{q}_ms"] for q in BANDS] == np.percentile(
        times, BANDS, method="inverted_cdf"
    ).tolist()
    for laps in range(1, 45):
        ordered = np.sort(times[:laps])
        for q in (1, *BANDS, 100):
            assert percentile(ordered, q) == np.percentile(ordered, q, method="inverted_cdf")


def test_speeds_in_bands_are_those_that_numpy_finds_among_all() -> None:
    speeds = np.stack(pa.concat_tables(stint()).column("speed_kmh").to_pylist())
    laps, bands = counted_percentiles(field(stint()).speeds, BANDS)
    assert set(laps.tolist()) == {len(speeds)}
    assert (bands == np.percentile(speeds, BANDS, axis=0, method="inverted_cdf")).all()


def test_mini_sectors_in_bands_leave_out_what_was_not_seen() -> None:
    sheet = timesheet(1, 3)
    minis = sheet.column("mini_sector_times_ms").to_pylist()
    minis[0][4] = None
    at = sheet.column_names.index("mini_sector_times_ms")
    holed = sheet.set_column(at, TIMESHEET.field(at), pa.array(minis, TIMESHEET.field(at).type))
    rows = mini_bands(fields([holed])).to_pylist()
    assert [row["laps"] for row in rows] == [3] * 4 + [2] + [3] * 20
    assert rows[4]["best_ms"] == min(minis[1][4], minis[2][4])


def test_bests_add_up_and_name_who_drove_them() -> None:
    laps = pa.concat_tables(stint()).to_pylist()
    (row,) = bests(fields(stint())).to_pylist()
    fastest = min(
        laps, key=lambda lap: (lap["time_ms"], lap["driver"], lap["session"], lap["lap_number"])
    )
    assert [row[name] for name in ("best_ms", "driver", "session", "lap_number")] == [
        fastest[name] for name in ("time_ms", "driver", "session", "lap_number")
    ]
    sectors = np.array([lap["sector_times_ms"] for lap in laps])
    assert row["sector_bests_ms"] == sectors.min(axis=0).tolist()
    assert row["theoretical_ms"] == sectors.min(axis=0).sum()
    assert (
        row["mini_theoretical_ms"]
        == np.array([lap["mini_sector_times_ms"] for lap in laps]).min(axis=0).sum()
    )
    assert (row["sessions"], row["drivers"], row["laps"], row["flying"]) == (50, 4, 600, 600)


def test_sectors_compare_where_most_laps_have_them() -> None:
    """The game's sectors may end elsewhere than ours: a short one of ours is no best of theirs."""
    few = timesheet(7, 2, source="computed")
    (row,) = bests(fields([few, timesheet(8, 5), timesheet(9, 5)])).to_pylist()
    game = (
        pa.concat_tables([timesheet(8, 5), timesheet(9, 5)]).column("sector_times_ms").to_pylist()
    )
    assert row["sector_layout"] == "3 by the game"
    assert row["sector_bests_ms"] == np.array(game).min(axis=0).tolist()


def test_nobody_is_faster_than_the_theoretical_best() -> None:
    """An official time is not the sum of our sectors, and the fastest lap may have none in the
    layout that counts.
    """
    alone = timesheet(7, 1)
    (row,) = bests(fields([alone])).to_pylist()
    assert row["best_ms"] < sum(row["sector_bests_ms"])
    assert row["theoretical_ms"] == row["mini_theoretical_ms"] == row["best_ms"]


def test_only_flying_laps_are_compared() -> None:
    found = fields([timesheet(1, 4), timesheet(2, 3, kind="out"), timesheet(3, 0)])
    (row,) = bests(found).to_pylist()
    assert (row["sessions"], row["laps"], row["flying"]) == (2, 7, 4)
    assert row["session"] == "session 1"


def test_who_drove_no_flying_lap_has_no_best() -> None:
    found = fields([timesheet(1, 4, kind="out")])
    (row,) = bests(found).to_pylist()
    assert (row["laps"], row["flying"], row["best_ms"], row["theoretical_ms"]) == (4, 0, None, None)
    assert [table(found).num_rows for table in (lap_bands, mini_bands, speed_bands)] == [0, 0, 0]


def test_cars_are_distinguished() -> None:
    found = fields([timesheet(1, 4, car="b"), timesheet(2, 4, car="a"), timesheet(3, 4, car="b")])
    assert [(scope.car, one.flying) for scope, one in found.items()] == [("a", 4), ("b", 8)]


def test_the_fastest_speed_there_is_is_counted() -> None:
    sheet = timesheet(1, 1)
    at = sheet.column_names.index("speed_kmh")
    fast = pa.array([[SPEEDS - 1] * (PLACES + 1)], TIMESHEET.field(at).type)
    rows = speed_bands(fields([sheet.set_column(at, TIMESHEET.field(at), fast)])).to_pylist()
    assert {row["p95_kmh"] for row in rows} == {SPEEDS - 1}
    assert [rows[0]["place"], rows[-1]["place"]] == [0, 1]


def test_nothing_makes_no_field() -> None:
    assert fields([]) == {}
    with pytest.raises(ValueError, match="there is none"):
        merged([])
