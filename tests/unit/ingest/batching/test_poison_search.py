"""One record that the database refuses is found by halves."""

from hypothesis import given
from hypothesis import strategies as st

from ingest.batching.poison_search import PoisonSearch


@given(st.integers(1, 300), st.sets(st.integers(0, 299)), st.integers(1, 64))
def test_every_refused_record_is_found_alone_and_the_rest_is_stored(count, bad, max_records):
    isolation = PoisonSearch(max_records)
    stored, condemned, position = [], [], 0

    while position < count:
        batch = range(position, min(position + isolation.limit, count))
        if isolation.poison == position:
            condemned.append(position)
        elif bad & set(batch):
            isolation.refused(position, len(batch))
            continue
        else:
            stored += batch
        isolation.stored()
        position = batch.stop

    assert condemned == sorted(b for b in bad if b < count)
    assert stored == [n for n in range(count) if n not in bad]


def test_all_is_as_before_when_the_culprit_is_gone():
    isolation = PoisonSearch(8)
    for _ in range(4):
        isolation.refused(0, isolation.limit)

    for _ in range(3):
        assert isolation.searching
        isolation.stored()

    assert not isolation.searching
    assert isolation.limit == 8
