"""Which frames are sent again: those that were named, each once."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ingest.collectors.control.resend import merged

NUMBERS = st.integers(1, 60)


@given(st.lists(st.tuples(NUMBERS, NUMBERS).map(sorted).map(tuple), max_size=20))
def test_ranges_are_merged_to_ranges_that_are_apart(ranges):
    apart = merged(ranges)

    named = {n for first, last in ranges for n in range(first, last + 1)}
    assert [n for first, last in apart for n in range(first, last + 1)] == sorted(named)
    assert all(before[1] + 1 < after[0] for before, after in pairwise(apart))
