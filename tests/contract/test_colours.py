"""Colours in the store: one judge for the laps of all workers, whatever comes late, at once, or is
corrected.
"""

from dataclasses import replace

import psycopg

from analytics.laps.best_laps import Category
from analytics.model.lap import Lap, LapInProgress
from ingest.batching.partition_log import Partition
from ingest.batching.write_batch import FinishedLap, RunningLap
from tests.service.owner import STARTED_AT_MS, Owner, rows, told

SCOPE = Category("acc", "spa", "porsche")
BESTS = "SELECT owner, part, time_ms FROM bests WHERE part = 0 ORDER BY owner, time_ms DESC"


def lap(number: int, time_ms: int, *, at_s: float) -> Lap:
    thirds = (30_000, 30_000, time_ms - 60_000)
    started_at_us = STARTED_AT_MS * 1000 + int(at_s * 1e6)
    return Lap(
        number,
        started_at_us,
        started_at_us + 1000 * time_ms,
        time_ms,
        None,
        thirds,
        "game",
        (),
        100,
        0,
        200.0,
    )


def keep(owner: Owner, key: str, *laps: Lap) -> int:
    """Store laps that this session drove; when the first of them began."""
    facts = owner.chunk(told(key, game="acc", track="spa", car="porsche", user_id=key))
    timed = tuple(FinishedLap(owner.sessions[key].id, key, each) for each in laps)
    owner.store.write(replace(facts, laps=timed), owner.fence)
    owner.position = facts.end
    return min(each.started_at_us for each in laps)


def colours_of(url: str) -> dict[tuple[str, int], tuple[str, int]]:
    query = (
        "SELECT key, lap_number, colour, c.version FROM lap_colours c JOIN sessions s ON s.id ="
        " session_id"
    )
    return {(key, number): (colour, version) for key, number, colour, version in rows(url, query)}


def test_cars_of_two_workers_are_compared(database, owner):
    with Owner(database.url, Partition("telemetry", 4)) as other:
        owner.store.judge(SCOPE, keep(owner, "alice", lap(1, 90_000, at_s=0)))
        judged = other.store.judge(
            SCOPE, keep(other, "bob", lap(1, 91_000, at_s=10), lap(2, 89_000, at_s=101))
        )

    assert [(t.session_key, t.lap.lap_number, t.colours.lap) for t in judged] == [
        ("bob", 1, "green"),
        ("bob", 2, "purple"),
    ]
    assert colours_of(database.url)["alice", 1] == ("purple", 1)
    assert rows(database.url, BESTS) == [
        ("", 0, 90_000),
        ("", 0, 89_000),
        ("alice", 0, 90_000),
        ("bob", 0, 91_000),
        ("bob", 0, 89_000),
    ]


def test_late_lap_corrects_who_was_called_the_best(database, owner):
    owner.store.judge(SCOPE, keep(owner, "alice", lap(1, 90_000, at_s=100)))

    judged = owner.store.judge(SCOPE, keep(owner, "bob", lap(1, 89_000, at_s=0)))

    assert sorted((t.session_key, t.colours.lap, t.colours.version) for t in judged) == [
        ("alice", "green", 2),
        ("bob", "purple", 1),
    ]
    assert rows(database.url, "SELECT time_ms FROM bests WHERE owner = '' AND part = 0") == [
        (89_000,)
    ]


def test_lap_that_becomes_invalid_gives_the_record_back(database, owner):
    owner.store.judge(SCOPE, keep(owner, "alice", lap(1, 90_000, at_s=0)))
    first = lap(1, 80_000, at_s=100)
    owner.store.judge(SCOPE, keep(owner, "bob", first, lap(2, 89_000, at_s=180)))

    owner.store.judge(SCOPE, keep(owner, "bob", replace(first, flags=("invalid",))))

    assert colours_of(database.url) == {
        ("alice", 1): ("purple", 1),
        ("bob", 1): ("", 2),
        ("bob", 2): ("purple", 2),
    }
    assert rows(database.url, "SELECT time_ms FROM bests WHERE owner = 'bob' AND part = 0") == [
        (89_000,)
    ]


def test_scope_that_is_being_judged_is_left_for_later(database, owner):
    since_us = keep(owner, "alice", lap(1, 90_000, at_s=0))
    with psycopg.connect(database.url) as rival:
        lock = (
            "SELECT pg_advisory_xact_lock(hashtextextended(concat_ws(E'\\x1f', 'bests', 'acc',"
            " 'spa', 'porsche'), 0))"
        )
        rival.execute(lock)
        assert owner.store.judge(SCOPE, since_us) is None

    assert len(owner.store.judge(SCOPE, since_us)) == 1


def test_laps_that_a_worker_stored_and_did_not_judge_are_found_by_the_next(database, owner):
    since_us = keep(owner, "alice", lap(1, 90_000, at_s=0))
    with Owner(database.url) as successor:
        assert successor.store.unjudged() == {SCOPE: since_us}
        successor.store.judge(SCOPE, since_us)
        assert successor.store.unjudged() == {}
        keep(successor, "alice", replace(lap(1, 90_000, at_s=0), official_lap_time_ms=90_001))
        assert successor.store.unjudged() == {SCOPE: since_us}
        assert successor.store.judge(SCOPE, since_us) == []
        assert successor.store.unjudged() == {}


def test_lap_of_another_car_than_was_reported_first_gives_its_record_back(database, owner):
    """And is judged among its own."""
    owner.store.judge(SCOPE, keep(owner, "alice", lap(1, 90_000, at_s=0)))
    owner.store.judge(SCOPE, keep(owner, "bob", lap(1, 91_000, at_s=100)))
    assert colours_of(database.url)["bob", 1] == ("green", 1)

    owner.write(told("alice", car="audi"))
    unjudged = owner.store.unjudged()
    assert set(unjudged) == {SCOPE, Category("acc", "spa", "audi")}
    for scope, since_us in unjudged.items():
        owner.store.judge(scope, since_us)

    assert colours_of(database.url) == {("alice", 1): ("purple", 1), ("bob", 1): ("purple", 2)}
    assert rows(
        database.url, "SELECT car, owner, time_ms FROM bests WHERE part = 0 ORDER BY 1, 2"
    ) == [
        ("audi", "", 90_000),
        ("audi", "alice", 90_000),
        ("porsche", "", 91_000),
        ("porsche", "bob", 91_000),
    ]
    assert owner.store.unjudged() == {}


def test_session_and_its_records_stay_with_their_first_user(database, owner):
    owner.store.judge(SCOPE, keep(owner, "alice", lap(1, 90_000, at_s=0)))
    owner.write(told("alice", user_id="anna"))

    assert owner.store.unjudged() == {}
    assert rows(database.url, "SELECT user_id FROM sessions") == [("alice",)]
    assert rows(database.url, "SELECT owner FROM bests WHERE part = 0 ORDER BY 1") == [
        ("",),
        ("alice",),
    ]


def running(
    owner: Owner,
    key: str,
    *sectors_ms: int,
    at_s: float,
    source: str = "game",
    flags=(),
    ended_at_s=(),
) -> RunningLap:
    """A lap in progress; its session is told of, but no frame of it is stored."""
    facts = owner.chunk(told(key, game="acc", track="spa", car="porsche", user_id=key))
    owner.store.write(facts, owner.fence)
    owner.position = facts.end
    ends_us = tuple(STARTED_AT_MS * 1000 + int(ended * 1e6) for ended in ended_at_s)
    begun_us = STARTED_AT_MS * 1000 + int(at_s * 1e6)
    lap = LapInProgress(9, begun_us, sectors_ms, source, flags, ends_us)
    return RunningLap(owner.sessions[key].id, key, 0, lap)


def test_sectors_of_laps_in_progress_are_called_by_the_records_that_stood_when_they_ended(
    database, owner
):
    since_us = keep(owner, "alice", lap(1, 90_000, at_s=0))
    keep(owner, "bob", lap(1, 95_000, at_s=100))
    owner.store.judge(SCOPE, since_us)
    before = rows(database.url, "SELECT * FROM bests ORDER BY 1, 2, 3, 4, 5, 6, 7")

    called = owner.store.colour(
        [
            running(owner, "bob", 29_999, 30_000, at_s=500),
            running(owner, "carol", 30_000, 31_000, at_s=500),
            running(owner, "alice", 30_000, at_s=0),
            running(owner, "dave", 29_000, at_s=500, flags=("out",)),
            running(owner, "erin", 35_000, at_s=500, source="computed"),
            # Without his pause of a minute, he would have been there before Alice.
            running(owner, "frank", 30_500, at_s=-5, ended_at_s=(85.5,)),
        ]
    )

    assert [(each.session_key, *each.sector_colours) for each in called] == [
        ("bob", "purple", "yellow"),
        ("carol", "green", "green"),
        ("alice", "purple"),
        ("dave",),
        ("erin", "purple"),
        ("frank", "green"),
    ]
    assert rows(database.url, "SELECT * FROM bests ORDER BY 1, 2, 3, 4, 5, 6, 7") == before
    assert (
        owner.store.colour([running(owner, "dave", 29_000, at_s=500, flags=("out",))])[
            0
        ].sector_colours
        == ()
    )


def test_sectors_on_a_track_that_nobody_named_are_not_judged(owner):
    nameless = owner.chunk(told("a", user_id="a"))
    owner.store.write(nameless, owner.fence)
    lap_so_far = LapInProgress(2, STARTED_AT_MS * 1000, (30_000,), "game", ())

    (called,) = owner.store.colour([RunningLap(owner.sessions["a"].id, "a", 0, lap_so_far)])

    assert called.sector_colours == ()
