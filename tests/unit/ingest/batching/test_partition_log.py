"""Batches of one partition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.batching.partition_log import Batch, Partition, PartitionLog, Records

TELEMETRY_3 = Partition("telemetry", 3)


def records(*offsets: int) -> Records:
    """Records whose value tells their offset."""
    return Records(
        [str(o).encode() for o in offsets],
        [b"car"] * len(offsets),
        np.array(offsets, dtype=np.int64),
    )


def log(position: int = 0, *, max_records: int = 1000, max_age_s: float = 0.25) -> PartitionLog:
    return PartitionLog(TELEMETRY_3, position, max_records=max_records, max_age_s=max_age_s)


def test_partition_and_batch_print_their_place():
    batch = Batch(TELEMETRY_3, 5, 9, records(5, 8))
    assert str(TELEMETRY_3) == "telemetry[3]"
    assert str(batch) == "telemetry[3] [5, 9) with 2 records"
    assert "b'8'" not in repr(batch)


def test_columns_of_records_are_equally_long():
    with pytest.raises(ValueError, match="2 values, 1 keys and 1 offsets"):
        Records([b"", b""], [None], np.array([1]))


def test_old_batch_is_due_even_if_small():
    """A slow car is on screen as soon as a fast one."""
    waiting = log()
    waiting.append(records(0), now=10.0)
    waiting.append(records(1), now=10.2)
    assert not waiting.due(now=10.2)
    assert waiting.due(now=10.25)


def test_full_batch_is_due_at_once():
    waiting = log(max_records=2)
    waiting.append(records(0, 1), now=10.0)
    assert waiting.due(now=10.0)


def test_nothing_is_due_where_nothing_waits():
    assert not log().due(now=1e9)


def test_nothing_is_due_while_a_batch_is_out():
    waiting = log(max_records=1)
    waiting.append(records(0, 1), now=0.0)
    batch = waiting.take()
    assert not waiting.due(now=100.0)
    waiting.mark_stored(batch)
    assert waiting.due(now=100.0)


def test_repeated_record_is_dropped():
    """A restarted worker reads some records twice; only the first counts."""
    waiting = log(7)
    assert waiting.append(records(5, 6, 7, 8), now=0.0) == 2
    assert waiting.append(records(7, 8, 9, 8, 9, 10), now=0.0) == 2
    assert waiting.take().records.values == [b"7", b"8", b"9", b"10"]


def test_skipped_offsets_leave_no_hole_between_batches():
    """Transactions and retention skip offsets; the fence compares where a batch starts with where
    the last one ended.
    """
    waiting = log()
    waiting.append(records(0, 4), now=0.0)
    first = waiting.take()
    waiting.mark_stored(first)
    waiting.append(records(100), now=0.0)
    second = waiting.take()
    assert (first.start, first.end, second.start, second.end) == (0, 5, 5, 101)


def test_batch_holds_no_more_than_the_limit():
    waiting = log(max_records=2)
    waiting.append(records(0, 1, 2), now=0.0)
    batch = waiting.take()
    assert batch.records.offsets.tolist() == [0, 1]
    assert (waiting.taken, waiting.position, waiting.waiting) == (2, 3, 1)


def test_rest_of_a_long_run_keeps_its_age():
    waiting = log(max_records=2)
    waiting.append(records(0, 1, 2), now=0.0)
    waiting.mark_stored(waiting.take())
    assert waiting.due(now=0.25)


def test_only_one_batch_is_out():
    waiting = log(max_records=1)
    waiting.append(records(0, 1), now=0.0)
    waiting.take()
    with pytest.raises(ValueError, match=r"telemetry\[3\]: the batch \[0, 1\) is not stored yet"):
        waiting.take()


def test_nothing_to_take():
    with pytest.raises(ValueError, match="no record waits at 12"):
        log(12).take()


def test_only_the_batch_that_is_out_can_be_stored():
    waiting = log()
    waiting.append(records(0), now=0.0)
    batch = waiting.take()
    with pytest.raises(ValueError, match=r"expected the batch \[0, 1\), got \[1, 2\)"):
        waiting.mark_stored(Batch(TELEMETRY_3, 1, 2, records(1)))
    waiting.mark_stored(batch)
    with pytest.raises(ValueError, match="expected the batch"):
        waiting.mark_stored(batch)


@given(
    start=st.integers(0, 50),
    runs=st.lists(st.lists(st.integers(0, 120), max_size=12), max_size=15),
    max_records=st.integers(1, 9),
    take_after=st.lists(st.booleans(), min_size=15, max_size=15),
)
def test_batches_tile_the_partition(start, runs, max_records, take_after):
    """Whatever Kafka repeats or skips: every batch starts where the last ended, and each new record
    is in one of them.
    """
    waiting = log(start, max_records=max_records)
    batches, expected, position = [], [], start

    def take() -> None:
        batches.append(waiting.take())
        assert waiting.stored <= waiting.taken <= waiting.position
        waiting.mark_stored(batches[-1])

    for run, is_time in zip(runs, take_after, strict=False):
        new = 0
        for offset in run:
            if offset >= position:
                expected.append(offset)
                position, new = offset + 1, new + 1
        assert waiting.append(records(*run), now=0.0) == new
        if is_time and waiting.waiting:
            take()
    while waiting.waiting:
        take()

    assert [o for b in batches for o in b.records.offsets.tolist()] == expected
    assert [v for b in batches for v in b.records.values] == [str(o).encode() for o in expected]
    edges = [start, *(b.end for b in batches)]
    assert [b.start for b in batches] == edges[:-1]
    assert edges[-1] == waiting.stored == waiting.taken == waiting.position == position
    for b in batches:
        assert 1 <= len(b.records) <= max_records
        assert b.start <= b.records.offsets[0]
        assert b.records.offsets[-1] == b.end - 1
