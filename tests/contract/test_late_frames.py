"""Frames that come late: the gap that they fill, what is still missing, and the laps that were
timed without them.
"""

from typing import Any

import psycopg
import pytest

from ingest.batching.partition_log import Partition
from ingest.batching.write_batch import LateFrames
from ingest.errors import SessionWentOn
from ingest.store.partition_writer import PartitionWriter
from tests.bench.records import serialized_session
from tests.service.audit import assert_each_frame_once, laps_of
from tests.service.owner import Owner, Record, drove, rows, told

FRAMES = 19_000  # a lap out of the pits, and two flying ones
GAPS = "SELECT from_sequence, to_sequence, reason, resolved_at IS NOT NULL FROM gaps ORDER BY 1"


@pytest.fixture(scope="module")
def values() -> list[bytes]:
    return serialized_session(FRAMES)


def of(key: str, values: list[bytes]) -> list[Record]:
    return [(key.encode(), value) for value in values]


def time_again(owner: Owner, late: LateFrames) -> None:
    """As a worker does, when no more come."""
    _, engine_state = owner.store.time_again(late, owner.position, owner.fence)
    owner.sessions[late.session_key].engine_state = engine_state


# Within a lap; over the line; two lines and the lap between them; from the start; and up to the
# last that were read.
@pytest.mark.parametrize(
    ("first", "last"), [(8_000, 8_300), (6_400, 7_100), (5_000, 14_000), (0, 7_900), (100, 18_390)]
)
def test_laps_are_those_of_a_drive_without_a_gap(database, owner, values, first, last):
    """Live they were timed across the hole; with what came late they are timed again, and so is the
    lap being driven.
    """
    owner.write(*of("whole", values))
    owner.write(*of("holed", values[:first]), *of("holed", values[last:-600]))
    assert rows(database.url, GAPS) == [(first + 1, last, "missing", False)]
    assert laps_of(database.url, "holed") != laps_of(database.url, "whole")

    middle = (first + last) // 2
    (late,) = owner.write(*of("holed", values[first:middle])).late
    owner.write(*of("holed", values[middle:last]))
    assert owner.store.late_sessions() == [late]
    time_again(owner, late)
    owner.write(*of("holed", values[-600:]))

    assert laps_of(database.url, "holed") == laps_of(database.url, "whole")
    assert rows(database.url, GAPS) == [(first + 1, last, "missing", True)]
    assert owner.store.late_sessions() == []
    assert_each_frame_once(database.url, {"whole": FRAMES, "holed": FRAMES})


class MovedMeanwhile(PartitionWriter):
    """Another worker moves frames that waited for a locked chunk while the laps are being timed."""

    moves = ""  # of whom, once

    def _one(self, query: str, values: Any) -> tuple[Any, ...]:
        if self.moves and "sector_positions" in query:  # the frames were read just before
            with psycopg.connect(self.moves) as conn:
                conn.execute("UPDATE sessions SET late_from = least(late_from, last_frame_at)")
            self.moves = ""
        return super()._one(query, values)


def test_frames_that_are_moved_while_laps_are_timed_again_stay_late(database):
    with Owner(database.url, made=MovedMeanwhile) as owner:
        owner.write(*drove("a", 1, 2, 9))
        (late,) = owner.write(*drove("a", 5)).late
        owner.store.moves = database.url
        with pytest.raises(SessionWentOn):
            time_again(owner, late)
        assert owner.store.late_sessions() == [late]
        time_again(owner, late)
        assert owner.store.late_sessions() == []


def test_late_frames_wait_for_the_next_owner(database, owner, values):
    """A worker that dies between storing them and timing the laps leaves word."""
    owner.write(*of("whole", values))
    owner.write(*of("holed", values[:7_000]), *of("holed", values[8_000:]))
    owner.write(*of("holed", values[7_000:8_000]))

    with Owner(database.url) as successor:
        (late,) = successor.store.late_sessions()
        successor.store.time_again(late, successor.position, successor.fence)

    assert laps_of(database.url, "holed") == laps_of(database.url, "whole")


def test_session_that_moved_is_with_the_owners_of_its_new_partition(database, owner):
    """Its topic had got partitions, or its user a topic: who takes over there is who must time its
    laps again.
    """
    owner.write(*drove("a", 1, 2))
    moved_to = Partition("telemetry", 4)
    with Owner(database.url, moved_to) as other:
        other.write(*drove("a", 3, 6))
        other.write(*drove("a", 4, 5))

    with Owner(database.url, moved_to) as successor:
        assert [late.session_key for late in successor.store.late_sessions()] == ["a"]
    assert owner.store.late_sessions() == []


def test_frames_in_order_are_not_late(owner):
    assert owner.write(*drove("a", 1, 2)).late == ()
    assert owner.write(*drove("a", 5)).late == ()
    assert owner.write(*drove("a", 6, 7, 9)).late == ()
    assert [late.session_key for late in owner.write(*drove("a", 10, 4)).late] == ["a"]


def test_what_a_collector_sent_and_never_arrived_is_missing(database, owner):
    """No later frame would tell: the session is over, or its log was lost with its broker."""
    owner.write(*drove("a", 1, 2, 3), told("a", last_sequence=3))
    assert rows(database.url, GAPS) == []

    owner.write(told("a", last_sequence=7))
    assert rows(database.url, GAPS) == [(4, 7, "missing", False)]

    owner.write(told("a", last_sequence=7), *drove("a", 5, 9), told("a", last_sequence=9))
    assert rows(database.url, GAPS) == [(4, 7, "missing", False), (8, 8, "missing", False)]

    owner.write(*drove("a", 4, 6, 7))
    assert rows(database.url, GAPS) == [(4, 7, "missing", True), (8, 8, "missing", False)]


def test_what_a_collector_sent_is_not_missed_twice_by_two_owners(database, owner):
    owner.write(*drove("a", 1), told("a", last_sequence=7))
    with Owner(database.url) as successor:
        successor.write(told("a", last_sequence=7), *drove("a", 8))

    assert rows(database.url, GAPS) == [(2, 7, "missing", False)]


def test_session_of_which_no_frame_arrived_is_missed_too(database, owner):
    owner.write(told("a", user_id="anna", last_sequence=5))

    assert rows(database.url, GAPS) == [(1, 5, "missing", False)]


def test_collector_that_has_forgotten_the_facts_erases_none(database, owner):
    """It kept the frames for longer than the record that said what was driven."""
    owner.write(told("a", user_id="anna", game="ACC", track="Spa", last_sequence=1))
    owner.write(told("a", user_id="anna", last_sequence=3))

    assert rows(database.url, "SELECT game, track, last_sequence FROM sessions") == [
        ("ACC", "Spa", 3)
    ]


def test_facts_that_name_one_thing_erase_no_other(database, owner):
    """Nothing means unknown. The worker that heard both goes on so; the next one must know the
    same.
    """
    owner.write(
        told("a", game="ACC", track="Spa", car="gt3", track_length=7000, sector_count=3),
        *drove("a", 1),
    )
    owner.write(told("a", driver="Anna", track_length=7004))

    query = "SELECT game, track, car, driver, track_length_m, sector_count FROM sessions"
    assert rows(database.url, query) == [("ACC", "Spa", "gt3", "Anna", 7004, 3)]
    with Owner(database.url) as successor:
        successor.write(*drove("a", 2))
        assert successor.sessions["a"].scope == owner.sessions["a"].scope
        assert not successor.write(told("a", car="gt3", driver="Anna")).moved
