"""Frames leave in order, and only when the broker has them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.collectors.delivery.in_flight import InFlightWindow, OutgoingRecord


def record(sequence):
    return OutgoingRecord(sequence, 1000 + sequence, b"frame")


def filled(count, *, capacity=10):
    outbox = InFlightWindow(capacity)
    for sequence in range(1, count + 1):
        outbox.add(record(sequence))
    return outbox


def test_a_record_leaves_when_it_is_confirmed():
    outbox = filled(2)
    outbox.sent()

    assert len(outbox) == 2
    assert outbox.confirm() == record(1)
    assert outbox.frames() == [2]


def test_it_is_full_of_what_is_unsent_and_what_is_in_flight():
    outbox = filled(3, capacity=3)
    outbox.sent()
    assert outbox.full

    outbox.confirm()
    assert not outbox.full


def test_a_new_producer_starts_at_the_last_confirmed_record():
    outbox = filled(4)
    for _ in range(3):
        outbox.sent()
    outbox.confirm()

    assert outbox.rewind() == 2
    assert [r.sequence for r in outbox.unsent] == [2, 3, 4]


def test_facts_are_not_counted_as_frames():
    outbox = filled(1)
    outbox.add(record(0))

    assert len(outbox) == 2
    assert outbox.frames() == [1]


def test_capacity_is_at_least_one():
    with pytest.raises(ValueError, match="at least 1, not 0"):
        InFlightWindow(0)


@given(st.lists(st.sampled_from(["add", "sent", "confirm", "rewind"]), max_size=200))
def test_whatever_happens_frames_are_confirmed_once_and_in_order(steps):
    outbox, added, confirmed = InFlightWindow(1000), 0, []
    for step in steps:
        if step == "add":
            added += 1
            outbox.add(record(added))
        elif step == "sent" and outbox.unsent:
            outbox.sent()
        elif step == "confirm" and outbox.in_flight:
            confirmed.append(outbox.confirm().sequence)
        elif step == "rewind":
            outbox.rewind()

    assert confirmed + outbox.frames() == list(range(1, added + 1))
