"""Whose turn it is when many partitions share a few threads."""

import math

from hypothesis import given
from hypothesis import strategies as st

from ingest.workers.schedule import Schedule


def schedule(*tasks: str, most_slow: int = 1) -> Schedule[str]:
    made: Schedule[str] = Schedule(most_slow=most_slow)
    for at, task in enumerate(tasks):
        made.add(task, at)
    return made


def test_who_waits_longest_is_first():
    turns = schedule("a", "b", "c")
    assert turns.next_at() == 0
    assert [turns.take(now=1) for _ in range(3)] == ["a", "b", None]
    assert turns.next_at() == 2


def test_a_task_has_one_turn_at_a_time():
    turns = schedule("a")
    assert turns.take(now=0) == "a"
    turns.no_later_than("a", 0)
    assert turns.take(now=9) is None
    assert turns.done("a", 50, slow=False)
    assert turns.take(now=9) == "a", "records that came meanwhile"


def test_records_that_come_later_change_nothing():
    turns = schedule("a", "b")
    assert not turns.no_later_than("a", 5)
    assert turns.next_at() == 0
    assert not turns.no_later_than("b", 0.5)
    assert turns.no_later_than("b", -1), "a wait for the first was too long"
    assert turns.take(now=0) == "b"


def test_slow_tasks_leave_threads_to_the_others():
    turns = schedule("s1", "s2", "s3", "quick", most_slow=1)
    for task in ("s1", "s2", "s3"):
        assert turns.take(now=3) == task
    for task in ("s1", "s2", "s3"):
        turns.done(task, 4, slow=True)
    assert [turns.take(now=9) for _ in range(3)] == ["quick", "s1", None]
    assert turns.next_at() == math.inf
    turns.done("s1", 10, slow=False)
    assert turns.take(now=9) == "s2"


def test_a_slow_task_is_not_woken_before_its_time():
    """A partition that fails has its pause."""
    turns = schedule("a")
    turns.take(now=0)
    turns.no_later_than("a", 1)
    turns.done("a", 5, slow=True)
    assert turns.next_at() == 5


def test_who_is_removed_has_no_other_turn():
    turns = schedule("a", "b")
    assert turns.take(now=1) == "a"
    assert turns.has_turn("a")
    for task in ("a", "b"):
        turns.remove(task)
    assert turns.take(now=9) is None
    assert not turns.done("a", 0, slow=False)
    assert "a" not in turns
    assert "b" not in turns


def test_who_has_ended_is_forgotten():
    turns = schedule("a")
    turns.take(now=0)
    assert not turns.done("a", None, slow=True)
    assert "a" not in turns
    turns.add("a", 1)
    turns.add("b", 1)
    assert [turns.take(now=1), turns.take(now=1)] == ["a", "b"], "it is not slow any more"


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 9), st.booleans()), max_size=60))
def test_no_task_is_lost_and_the_slow_are_few(steps):
    """Whatever happens, everybody has a turn again once the turns that are under way are done."""
    turns = schedule(*"abcd", most_slow=2)
    under_way: dict[str, bool] = {}
    slow: set[str] = set()
    for task, at, is_slow in steps:
        turns.no_later_than(task, at)
        if task in under_way:
            del under_way[task]
            (slow.add if is_slow else slow.discard)(task)
            assert turns.done(task, at, slow=is_slow)
        elif (taken := turns.take(now=at)) is not None:
            assert taken not in under_way
            under_way[taken] = taken in slow
        assert sum(under_way.values()) <= 2
    for task in under_way:
        turns.done(task, 0, slow=False)
    seen = []
    while (taken := turns.take(now=99)) is not None:
        seen.append(taken)
        turns.done(taken, 100, slow=False)
    assert sorted(seen) == list("abcd")
