"""What a sender relies on in a spool, held by the one in memory and the one on disk."""

from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.collectors.delivery.records import OutgoingRecord
from ingest.collectors.spool.folder import SpoolFolder
from ingest.collectors.spool.memory import MemorySpool, SpooledSession
from tests.waiting import wait_until

SESSION = SpooledSession("s", "anna", "protobuf")


def in_memory(_):
    return MemorySpool(SESSION)


def on_disk(folder):
    """Segments of a few records, so that there are many."""
    return SpoolFolder(folder, max_bytes=10**8, keep_s=3600, segment_bytes=200).begin(SESSION)


@pytest.fixture(params=[in_memory, on_disk])
def spool(request, tmp_path):
    spool = request.param(tmp_path)
    yield spool
    spool.close()


def record(sequence):
    return OutgoingRecord(sequence, 1_000 + sequence, b"frame %d" % sequence)


def fill(spool, count, first=1):
    for sequence in range(first, first + count):
        spool.append(record(sequence))


def take_all(spool):
    return [taken.sequence for taken in iter(spool.take, None)]


def test_records_are_taken_as_they_were_appended(spool):
    spool.append(OutgoingRecord(0, 999, b"facts"))
    fill(spool, 50)

    assert [spool.take() for _ in range(51)] == [
        OutgoingRecord(0, 999, b"facts"),
        *map(record, range(1, 51)),
    ]
    assert spool.take() is None


def test_what_is_appended_later_is_taken_later(spool):
    for sequence in range(1, 60):
        spool.append(record(sequence))
        assert spool.take() == record(sequence)
        assert spool.take() is None


def test_facts_are_not_counted_as_frames(spool):
    spool.append(OutgoingRecord(0, 999, b"facts"))
    fill(spool, 2)
    assert spool.waiting == 2

    take_all(spool)
    spool.acknowledge()
    spool.acknowledge()
    assert spool.waiting == 1


def test_it_is_drained_when_all_is_acknowledged(spool):
    fill(spool, 20)
    assert not spool.drained
    take_all(spool)
    for _ in range(19):
        spool.acknowledge()
        assert not spool.drained
    spool.acknowledge()

    assert spool.drained
    assert spool.waiting == 0


def test_a_new_producer_takes_what_is_in_flight_again(spool):
    fill(spool, 5)
    for _ in range(4):
        spool.take()
    assert spool.acknowledge() == record(1)
    assert spool.in_flight == 3

    assert spool.rewind(1) == 1
    assert spool.take() == record(4)
    assert spool.rewind() == 3

    assert spool.in_flight == 0
    assert not spool.drained
    assert take_all(spool) == [2, 3, 4, 5]


def test_the_partition_is_known_when_it_is_written_down(spool):
    assert spool.partition is None
    spool.choose(7)

    wait_until(lambda: spool.partition is not None)
    assert spool.partition == 7


def test_a_spool_has_room_until_it_is_full():
    spool = MemorySpool(SESSION, 3)
    fill(spool, 2)
    assert spool.has_room
    fill(spool, 1, first=3)
    assert not spool.has_room

    spool.take()
    assert not spool.has_room
    spool.acknowledge()
    assert spool.has_room


def test_facts_that_change_while_a_spool_is_full_cost_no_frame():
    """They come whenever they do; nobody asks for room for them."""
    spool = MemorySpool(SESSION, 2)
    fill(spool, 2)
    spool.append(OutgoingRecord(0, 999, b"facts"))

    assert take_all(spool) == [1, 2, 0]


def test_a_game_waits_for_no_room_in_memory():
    """When it is full the newest frame takes the place of the one before; facts and what was taken
    stay.
    """
    spool = MemorySpool(SESSION, 4, for_game=True)
    spool.append(OutgoingRecord(0, 999, b"facts"))
    fill(spool, 9)
    assert spool.has_room
    assert (spool.waiting, spool.dropped) == (3, 6)
    assert take_all(spool) == [0, 1, 2, 9]

    fill(spool, 1, first=10)
    assert take_all(spool) == [10]


def test_a_spool_has_room_for_one_at_least():
    with pytest.raises(ValueError, match="at least 1, not 0"):
        MemorySpool(SESSION, 0)


@pytest.mark.parametrize("make", [in_memory, on_disk])
@settings(max_examples=25, deadline=None)
@given(steps=st.lists(st.sampled_from(["append", "take", "acknowledge", "rewind"]), max_size=80))
def test_whatever_happens_each_is_taken_once_and_in_order(tmp_path_factory, make, steps):
    spool, seen = (
        make(tmp_path_factory.mktemp("spool")),
        SimpleNamespace(appended=0, taken=[], acknowledged=0),
    )
    for step in steps:
        if step == "append":
            seen.appended += 1
            spool.append(record(seen.appended))
        elif step == "take" and (taken := spool.take()) is not None:
            seen.taken.append(taken.sequence)
        elif step == "acknowledge" and seen.acknowledged < len(seen.taken):
            seen.acknowledged += 1
            assert spool.acknowledge() == record(seen.acknowledged)
        elif step == "rewind":
            assert spool.rewind() == len(seen.taken) - seen.acknowledged
            del seen.taken[seen.acknowledged :]
        assert spool.waiting == seen.appended - seen.acknowledged
    seen.taken += take_all(spool)
    spool.close()

    assert seen.taken == list(range(1, seen.appended + 1))
