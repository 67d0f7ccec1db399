"""The records that were read and not taken yet."""

import threading

import numpy as np
import pytest

from ingest.batching.inbox import Inbox
from ingest.batching.partition_log import Records, joined
from tests.waiting import WITHIN_S


def records(*offsets: int, value: bytes | None = b"1234") -> Records:
    return Records([value] * len(offsets), [b"k"] * len(offsets), np.array(offsets))


def inbox(**limits: int) -> Inbox:
    return Inbox(**({"full": 10, "room": 4, "full_bytes": 1_000} | limits))


def offsets(came) -> list[int]:
    return joined([one for _, one in came]).offsets.tolist() if came else []


def test_records_are_taken_in_order_with_the_time_when_they_came():
    box = inbox()
    box.put(records(1, 2, 3), now=1.0)
    box.put(records(4, 5), now=2.0)
    assert len(box) == 5
    came = box.take(4)
    assert [(at, one.offsets.tolist()) for at, one in came] == [(1.0, [1, 2, 3]), (2.0, [4])]
    assert offsets(box.take(4)) == [5]
    assert box.take(4) == []
    assert len(box) == 0


def test_it_is_full_by_records_and_has_room_again_at_half():
    box = inbox()
    box.put(records(*range(9)), now=0)
    assert not box.is_full
    box.put(records(9), now=0)
    assert box.is_full
    box.take(5)
    assert not box.is_full
    assert not box.has_room
    box.take(1)
    assert box.has_room


def test_it_is_full_by_bytes():
    """A few records of a megabyte are enough."""
    box = inbox(full_bytes=100)
    box.put(records(1, value=b"x" * 99), now=0)
    box.put(records(2, value=None), now=0)
    assert not box.is_full
    box.put(records(3, value=b"x"), now=0)
    assert box.is_full
    box.take(1)
    assert box.has_room


def test_bytes_are_none_when_all_is_taken():
    box = inbox(full_bytes=100)
    box.put(records(*range(7), value=b"x" * 30), now=0)
    while box.take(2):
        pass
    assert box.has_room
    box.put(records(8, value=b"x" * 99), now=0)
    assert not box.is_full


def test_a_failure_is_raised_until_it_is_cleared():
    box = inbox()
    box.put(records(1), now=0)
    box.fail(KeyError("lost"))
    for _ in range(2):
        with pytest.raises(KeyError):
            box.take(1)
    box.clear()
    assert box.take(1) == []


def test_taking_may_wait_for_the_first():
    box = inbox()
    threading.Timer(0.01, box.put, [records(7)], {"now": 0}).start()
    assert offsets(box.take(1, within_s=WITHIN_S)) == [7]
