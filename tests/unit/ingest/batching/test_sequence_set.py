"""The set of a session's stored sequences."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingest.batching.sequence_set import SequenceSet

# Close together, so that ranges meet and overlap; and as far as a sequence can go.
NUMBERS = st.one_of(st.integers(1, 60), st.integers(2**62 - 30, 2**62))
ARRAYS = st.lists(st.lists(NUMBERS, max_size=40), max_size=6)
RANGES = st.lists(
    st.tuples(st.integers(1, 60), st.integers(-3, 20)).map(lambda r: (r[0], r[0] + r[1])),
    max_size=6,
)


def array(numbers) -> np.ndarray:
    return np.array(list(numbers), dtype=np.int64)


def test_undisturbed_session_is_one_range():
    stored = SequenceSet()
    for start in range(1, 1001, 100):
        assert stored.unseen(array(range(start, start + 100))).all()
        stored.add(array(range(start, start + 100)))
    assert stored.to_multirange() == "{[1,1001)}"
    assert stored.holes() == []
    assert stored.highest == 1000


def test_resent_frames_are_seen():
    """A restarted collector sends its spool again."""
    stored = SequenceSet([(1, 501)])
    assert stored.unseen(array([499, 500, 501, 501, 502])).tolist() == [
        False,
        False,
        True,
        False,
        True,
    ]


def test_missing_frames_are_a_hole_until_they_arrive():
    stored = SequenceSet([(1, 501), (600, 602)])
    assert stored.holes() == [(501, 599)]
    stored.add(array(range(501, 600)))
    assert stored.holes() == []
    assert stored.ranges == [(1, 602)]


def test_the_frames_before_the_first_are_a_hole():
    assert SequenceSet([(4, 5)]).holes() == [(1, 3)]


def test_empty_set():
    stored = SequenceSet()
    stored.add(array([]))
    assert (stored.to_multirange(), stored.holes(), stored.highest, len(stored)) == ("{}", [], 0, 0)
    assert stored.unseen(array([])).tolist() == []
    assert SequenceSet.from_multirange("{}") == stored


@pytest.mark.parametrize(
    "text", ["", "[1,5)", "{(1,5)}", "{[1,5]}", "{[1,)}", "{[1,5),}", "{[1,5)[6,7)}"]
)
def test_other_forms_of_multirange_are_refused(text):
    with pytest.raises(ValueError, match="multirange: expected ranges like"):
        SequenceSet.from_multirange(text)


@given(initial=RANGES, arrays=ARRAYS)
@example(initial=[], arrays=[[2**62], [2**62 - 1, 2**62]])
def test_it_is_a_set(initial, arrays):
    """Python's set is the model, for any order, repeats and overlaps."""
    stored = SequenceSet(initial)
    model = {n for start, end in initial for n in range(start, end)}
    for numbers in arrays:
        new, seen = [], set(model)
        for n in numbers:
            new.append(n not in seen)
            seen.add(n)
        assert stored.unseen(array(numbers)).tolist() == new
        stored.add(array(numbers))
        model |= set(numbers)
        assert all(n in stored for n in numbers)
        assert stored.unseen(array(sorted(model))).sum() == 0
    assert len(stored) == len(model)
    assert {n for start, end in stored.ranges for n in range(start, end)} == model
    assert stored.highest == max(model, default=0)
    assert all(
        end < start for (_, end), (start, _) in zip(stored.ranges, stored.ranges[1:], strict=False)
    )
    assert SequenceSet.from_multirange(stored.to_multirange()) == stored


@given(RANGES)
def test_holes_are_what_is_missing(ranges):
    stored = SequenceSet(ranges)
    missing = {n for first, last in stored.holes() for n in range(first, last + 1)}
    assert missing == {n for n in range(1, stored.highest) if n not in stored}
