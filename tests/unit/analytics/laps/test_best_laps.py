"""Colours: purple, green and yellow by when a lap ended, whatever comes late or is corrected."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from analytics.laps.best_laps import (
    ALL_OWNERS,
    BestTime,
    Colours,
    Driven,
    LapPart,
    colour_against,
    judge,
)
from analytics.laps.engine import advance, sector_ended
from analytics.model.lap import Lap
from tests.unit.analytics.laps.test_odd_sessions import START_MS, Session, driven_back


def lap(
    number: int, time_ms: int, *, at_s: int, sectors: tuple[int, ...] = (), **changes: object
) -> Lap:
    """A flying lap that began ``at_s`` seconds after 1970."""
    flying = Lap(
        number,
        at_s * 1_000_000,
        at_s * 1_000_000 + 1000 * time_ms,
        time_ms,
        None,
        sectors,
        "game" if sectors else "",
        (),
        100,
        0,
        200.0,
    )
    return replace(flying, **changes)


def drove(owner: str, driven: Lap) -> Driven:
    return Driven(ord(owner[0]), owner, 0, driven)


def colours_of(laps: list[Driven]) -> dict[tuple[str, int], str]:
    return {(d.owner, d.lap.lap_number): told.lap for d, told in judge(laps, [], since_us=0)[0]}


def test_purple_is_best_of_all_green_own_best_yellow_the_rest():
    alice = [
        drove("alice", lap(n, time, at_s=100 * n))
        for n, time in ((1, 90_000), (2, 89_000), (3, 89_500))
    ]
    bob = [
        drove("bob", lap(n, time, at_s=100 * n + 50))
        for n, time in ((1, 95_000), (2, 94_000), (3, 88_000))
    ]

    assert colours_of(alice + bob) == {
        ("alice", 1): "purple",
        ("bob", 1): "green",
        ("alice", 2): "purple",
        ("bob", 2): "green",
        ("alice", 3): "yellow",
        ("bob", 3): "purple",
    }


def test_the_order_in_which_laps_are_received_does_not_matter():
    laps = [
        drove(who, lap(1, time, at_s=at))
        for who, time, at in (("a", 90_000, 1), ("b", 89_000, 2), ("c", 91_000, 3))
    ]

    assert (
        len({tuple(sorted(colours_of(list(order)).items())) for order in permutations(laps)}) == 1
    )


def test_what_counts_is_when_a_lap_ended():
    """Bob began first and was slower: Alice was purple when he was not done yet."""
    bob, alice = drove("bob", lap(1, 99_000, at_s=0)), drove("alice", lap(1, 90_000, at_s=5))

    assert colours_of([bob, alice]) == {("alice", 1): "purple", ("bob", 1): "green"}


def test_invalid_laps_have_no_colour_and_set_no_best():
    cut = drove("alice", lap(1, 70_000, at_s=0, flags=("invalid",)))
    untimed = drove("alice", lap(2, 0, at_s=100, lap_time_ms=None))

    assert colours_of([cut, untimed, drove("bob", lap(1, 90_000, at_s=200))]) == {
        ("bob", 1): "purple"
    }


def test_a_tie_is_no_record():
    first, second = (drove(who, lap(1, 90_000, at_s=at)) for who, at in (("alice", 0), ("bob", 50)))

    assert colours_of([first, second])["bob", 1] == "green"


def test_the_official_time_is_the_lap_time():
    told = drove("bob", lap(1, 90_001, at_s=50, official_lap_time_ms=89_999))

    assert colours_of([drove("alice", lap(1, 90_000, at_s=0)), told])["bob", 1] == "purple"


def test_sectors_have_colours_of_their_own():
    alice = drove("alice", lap(1, 90_000, at_s=0, sectors=(30_000, 40_000, 20_000)))
    bob = drove("bob", lap(1, 91_000, at_s=50, sectors=(29_000, 41_000, 21_000)))

    told = {d.owner: colours for d, colours in judge([alice, bob], [], since_us=0)[0]}

    assert told["alice"] == Colours("purple", ("purple",) * 3, 1)
    assert told["bob"] == Colours("green", ("purple", "green", "green"), 1)


def test_sectors_of_another_layout_are_not_compared():
    game = drove("alice", lap(1, 90_000, at_s=0, sectors=(30_000, 60_000)))
    measured = drove(
        "bob", lap(1, 95_000, at_s=50, sectors=(31_000, 64_000), sector_source="computed")
    )

    assert {d.owner: c for d, c in judge([game, measured], [], since_us=0)[0]}["bob"].sectors == (
        "purple",
    ) * 2


def test_a_late_lap_corrects_those_after_it():
    """And no others: version 2 says that they were told before."""
    early, late, after = (
        drove(who, lap(n, time, at_s=at))
        for who, n, time, at in (("a", 1, 92_000, 0), ("b", 1, 90_000, 200), ("c", 1, 91_000, 400))
    )
    told, records = judge([early, after], [], since_us=0)
    early, after = (replace(driven, assigned=colours) for driven, colours in told)
    since_us = late.lap.started_at_us
    standing = [record for record in records if record.set_at_us < since_us]

    corrected, records = judge([late, after], standing, since_us=since_us)

    assert after.assigned.lap == "purple"
    assert [(d.owner, c.lap, c.version) for d, c in corrected] == [
        ("b", "purple", 1),
        ("c", "green", 2),
    ]
    assert [r.session_id for r in records if r.owner == ALL_OWNERS] == [late.session_id]


def test_a_lap_that_became_invalid_loses_its_colour():
    assigned = Colours("purple", ("purple", "yellow"), 1)
    cut = replace(
        drove("alice", lap(1, 70_000, at_s=0, sectors=(30_000, 40_000), flags=("invalid",))),
        assigned=assigned,
    )

    ((_, colours),), records = judge([cut], [], since_us=0)

    assert (colours, records) == (Colours("", (), 2), [])


def test_records_from_before_stand():
    standing = [
        BestTime(ALL_OWNERS, LapPart(0), 85_000, 0, 7, 1),
        BestTime("alice", LapPart(0), 91_000, 0, 8, 1),
    ]

    ((_, colours),), records = judge([drove("alice", lap(4, 90_000, at_s=9))], standing, since_us=1)

    assert colours.lap == "green"
    assert [(r.owner, r.time_ms, r.lap_number) for r in records] == [("alice", 90_000, 4)]


def test_a_sector_of_a_lap_in_progress_is_called_what_it_will_be():
    """By the same rule: a tie is no record, and where nobody drove before one cannot be slower."""
    assert colour_against(29_999, of_all_ms=30_000, own_ms=31_000) == "purple"
    assert colour_against(30_000, of_all_ms=30_000, own_ms=31_000) == "green"
    assert colour_against(31_000, of_all_ms=30_000, own_ms=31_000) == "yellow"
    assert colour_against(31_000, of_all_ms=30_000, own_ms=None) == "green"
    assert colour_against(31_000, of_all_ms=None, own_ms=None) == "purple"


def spoiled(kind: str) -> list[Lap]:
    """Laps of 60, 55, 54 and 56 s. In the second the game stands for 60 s, or goes 10 s back."""
    session = driven_back(80.0, 10.0) if kind == "rewind" else Session()
    if kind == "pause":
        session["time_ms"] = session["time_ms"] + 60_000 * (session.t > 80)
    return session.timed()


def after(lap: Lap, seconds: float, *sectors_ms: int) -> Lap:
    """A lap in three sectors that begins so long after the start of another one."""
    begun_us, time_ms = lap.started_at_us + int(seconds * 1e6), sum(sectors_ms)
    return replace(
        lap,
        lap_number=1,
        started_at_us=begun_us,
        ended_at_us=begun_us + 1000 * time_ms,
        lap_time_ms=time_ms,
        official_lap_time_ms=None,
        sector_times_ms=sectors_ms,
        sector_ends_us=(),
    )


def test_a_sector_with_a_pause_in_it_ended_after_the_pause():
    """Bob ended his sectors and his lap while Alice's game stood, or just behind it: nobody had
    been faster yet. Start and time of Alice's lap would place hers before his.
    """
    paused = spoiled("pause")[1]
    alice, bob = drove("alice", paused), drove("bob", after(paused, 25, 18_500, 18_500, 18_500))

    assigned, records = judge([alice, bob], [], since_us=0)
    colours = {driven.owner: told for driven, told in assigned}

    assert paused.ended_at_us - paused.started_at_us == 114_999_000
    assert colours["bob"].lap == "purple"
    assert colours["bob"].sectors == ("green", "purple", "purple")
    assert colours["alice"].lap == "purple"
    assert colours["alice"].sectors == ("purple", "purple", "purple")
    set_at = {r.part.index: r.set_at_us for r in records if r.owner == "alice"}
    assert {k: round((at - paused.started_at_us) / 1e6, 1) for k, at in set_at.items()} == {
        1: 18.3,
        2: 96.7,
        3: 115.0,
        0: 115.0,
    }


def test_a_lap_that_went_back_sets_nothing_and_the_next_ends_where_the_engine_says():
    """Laps 3 and 4 end 10 s later than the times of all laps add up to."""
    laps = spoiled("rewind")
    bob = drove("bob", after(laps[2], -1.0, 18_500, 18_000, 18_300))
    driven = [drove("alice", lap) for lap in laps]

    assert colours_of([*driven, bob]) == {
        ("alice", 1): "purple",
        ("alice", 3): "purple",
        ("alice", 4): "yellow",
        ("bob", 1): "purple",
    }
    _, records = judge(driven, [], since_us=0)
    ends_us = [r.set_at_us for r in records if r.owner == ALL_OWNERS and r.part.index == 0]
    assert ends_us == [pytest.approx((START_MS + s * 1000) * 1000, abs=5_000) for s in (60, 179)]


@pytest.mark.parametrize("lag_s", [0.1, 1.0, 2.5, 4.0])
def test_a_lap_behind_an_invalid_one_has_its_colours_and_is_the_best(lag_s: float) -> None:
    """The flag outlives its lap by two frames, or by 1 to 4 s as iRacing's does."""
    session = Session()
    outlived = (session.t > 70) & (session.t < session.ends_s[1] + lag_s)
    session["validity"] = np.where(outlived, 2, 1)

    laps = session.timed()
    assigned, records = judge([drove("alice", lap) for lap in laps], [], since_us=0)

    assert colours_of([drove("alice", lap) for lap in laps]) == {
        ("alice", 1): "purple",
        ("alice", 3): "purple",
        ("alice", 4): "yellow",
    }
    assert assigned[1][1].sectors == ("purple",) * 3
    best = min((r for r in records if r.part.index == 0), key=lambda record: record.time_ms)
    assert (best.lap_number, best.time_ms) == (3, 54_000)


@pytest.mark.parametrize("lag_s", [0.1, 4.0])
def test_sectors_behind_an_invalid_lap_are_coloured_as_they_end(lag_s: float) -> None:
    session, state, running = Session(), None, []
    outlived = (session.t > 70) & (session.t < session.ends_s[1] + lag_s)
    session["validity"] = np.where(outlived, 2, 1)
    frames = session.frames()
    for start in range(0, len(frames), 40):
        before = state
        _, state = advance(frames.slice(start, 40), state)
        running += [lap for lap in [sector_ended(before, state)] if lap]

    flags = {(lap.lap_number, len(lap.sector_times_ms)): lap.flags for lap in running}
    assert flags[2, 1] == flags[2, 2] == ("invalid",)
    assert flags[3, 1] == flags[3, 2] == flags[4, 1] == ()
