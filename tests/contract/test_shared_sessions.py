"""One session's records on two partitions at once: two workers write it in turn, and the store
decides what is missing of it.
"""

import random
from contextlib import ExitStack

import pytest

from ingest.batching.partition_log import Partition
from ingest.batching.write_batch import LateFrames
from ingest.errors import SessionsChanged, SessionWentOn
from tests.bench.records import serialized_session
from tests.service.audit import assert_each_frame_once, laps_of
from tests.service.owner import Owner, Record, drove, rows, told

FRAMES = 13_000  # a lap out of the pits, a flying one, and the start of the next
OPEN_GAPS = "SELECT from_sequence, to_sequence FROM gaps WHERE resolved_at IS NULL"


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return [(b"shared", value) for value in serialized_session(FRAMES)]


def write(owner: Owner, *records: Record) -> None:
    """As a worker does: what its memory is too old for, it reads anew and does again."""
    try:
        owner.write(*records)
    except SessionsChanged:
        owner.store._conn.execute("ROLLBACK")
        owner.sessions.clear()
        owner.write(*records)


def settle(*owners: Owner) -> None:
    """Time again what is late, as workers do when no more frames come."""
    for owner in owners:
        for late in owner.store.late_sessions():
            owner.store.time_again(late, owner.position, owner.fence)


def test_worker_receives_that_another_writes_to_its_session(database, owner):
    with Owner(database.url, Partition("telemetry", 4)) as other:
        owner.write(*drove("a", 1, 2), *drove("b", 1))
        other.write(*drove("a", 3))
        assert other.shared == frozenset()
        ids = dict(rows(database.url, "SELECT key, id FROM sessions"))
        owner.write(*drove("a", 4), *drove("b", 2))

        assert owner.shared == {ids["a"]}
        assert "a" not in owner.sessions
        owner.write(*drove("a", 5))
        assert owner.shared == frozenset()


def test_gap_that_was_filled_while_it_was_written_down_is_none(database, owner):
    """The other worker's frames are committed between this one's look at what is there and the end
    of its transaction.
    """
    with Owner(database.url, Partition("telemetry", 4)) as other:
        owner.write(*drove("a", 1))
        chunk = owner.chunk(*drove("a", 4))
        with owner.store._conn.cursor() as cursor:
            cursor.execute("BEGIN")
            owner.store._copy_frames(chunk.frames)
            owner.store._save_the_rest(chunk)
            other.write(*drove("a", 2, 3))
            owner.store._advance_and_commit(chunk, owner.fence)

    assert rows(database.url, OPEN_GAPS) == []


def test_laps_are_not_written_over_what_came_meanwhile(database, owner, records):
    owner.write(*records[:7_000])
    with Owner(database.url, Partition("telemetry", 4)) as other:
        other.write(*records[7_500:8_000])
        other.write(*records[7_000:7_500])
        (late,) = other.store.late_sessions()
        owner.sessions.clear()

        one = _Interrupted(other, lambda: owner.write(*records[8_000:8_100]))
        with pytest.raises(SessionWentOn, match="'shared' went on"):
            one.time_again(late)
        assert [
            waits.session_key
            for waits in (*other.store.late_sessions(), *owner.store.late_sessions())
        ] == ["shared"]


class _Interrupted:
    """Times laps again while another worker writes: between the reading of the frames and the
    writing of the laps.
    """

    def __init__(self, owner: Owner, meanwhile) -> None:
        self._owner, self._meanwhile = owner, meanwhile

    def time_again(self, late: LateFrames) -> None:
        store = self._owner.store
        one = store._one

        def interrupted(query, values):
            row = one(query, values)
            if "line_position" in query:  # the course of the session: its frames have been read
                self._meanwhile()
            return row

        store._one = interrupted
        store.time_again(late, self._owner.position, self._owner.fence)


@pytest.mark.parametrize("seed", range(4))
def test_session_on_several_partitions_ends_with_whole_laps_and_no_false_gap(
    database, owner, records, seed
):
    """Each worker has a share of the frames, in its order; some have both. Whose turn it is, chance
    decides.
    """
    owner.write(*((b"whole", value) for _, value in records))
    chance = random.Random(seed)
    with ExitStack() as stack:
        workers = [
            stack.enter_context(Owner(database.url, Partition("telemetry", index)))
            for index in range(4, 6 + seed % 2)
        ]
        waiting = shares_of(records, len(workers), chance)
        while any(waiting):
            turn = chance.choice([n for n, share in enumerate(waiting) if share])
            taken = chance.randint(100, 900)
            write(workers[turn], *waiting[turn][:taken])
            waiting[turn] = waiting[turn][taken:]
            if chance.random() < 0.1:
                settle(*workers)
        settle(*workers)

    assert_each_frame_once(database.url, {"whole": FRAMES, "shared": FRAMES})
    assert rows(database.url, OPEN_GAPS) == []
    assert laps_of(database.url, "shared") == laps_of(database.url, "whole")


@pytest.mark.parametrize("run", [500, 1_900])
def test_session_that_goes_to_and_fro_between_two_partitions(database, owner, records, run):
    """In order, so that no frame is late: each worker sees a hole wherever the other one was at
    work.
    """
    owner.write(*((b"whole", value) for _, value in records))
    with (
        Owner(database.url, Partition("telemetry", 4)) as one,
        Owner(database.url, Partition("telemetry", 5)) as other,
    ):
        for start in range(0, FRAMES, run):
            write(other if start // run % 2 else one, *records[start : start + run])
        settle(one, other)

    assert_each_frame_once(database.url, {"whole": FRAMES, "shared": FRAMES})
    assert rows(database.url, OPEN_GAPS) == []
    assert laps_of(database.url, "shared") == laps_of(database.url, "whole")


def shares_of(records: list[Record], workers: int, chance: random.Random) -> list[list[Record]]:
    """The records in runs of some seconds, each by one worker, and every tenth run by two."""
    shares: list[list[Record]] = [[] for _ in range(workers)]
    start = 0
    while start < len(records):
        end = start + chance.randint(50, 700)
        for share in chance.sample(shares, 2 if chance.random() < 0.1 else 1):
            share += records[start:end]
        start = end
    return shares


def test_what_is_really_missing_stays_a_gap(database, owner):
    with Owner(database.url, Partition("telemetry", 4)) as other:
        owner.write(*drove("a", 1, 2, 5))
        other.write(*drove("a", 6, 9))
        owner.write(*drove("a", 3, 10))
        other.write(told("a", last_sequence=12))
    missing = {n for first, last in rows(database.url, OPEN_GAPS) for n in range(first, last + 1)}
    assert missing >= {4, 7, 8, 11, 12}
    assert rows(database.url, "SELECT received::text FROM sessions") == [("{[1,4),[5,7),[9,11)}",)]
