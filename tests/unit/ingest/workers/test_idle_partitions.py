"""Which idle partitions need a worker again."""

import pytest

from ingest.batching.partition_log import Partition
from ingest.workers.idle_partitions import IdlePartition, to_wake

ANNA = Partition("telemetry-user-anna", 0)
BEN = Partition("telemetry-user-ben", 0)


def test_a_partition_whose_log_ends_where_it_did_stays_idle():
    idle = {ANNA: IdlePartition(7, 100.0), BEN: IdlePartition(0, 100.0)}

    assert to_wake(idle, {ANNA: 7, BEN: 0}, now=1.0) == set()


@pytest.mark.parametrize("end", [8, 6, 0])
def test_a_log_that_grew_or_shrank_needs_a_worker(end):
    idle = {ANNA: IdlePartition(7, 100.0), BEN: IdlePartition(3, 100.0)}

    assert to_wake(idle, {ANNA: end, BEN: 3}, now=1.0) == {ANNA}


def test_a_log_that_does_not_answer_waits():
    assert to_wake({ANNA: IdlePartition(7, 100.0)}, {}, now=99.0) == set()


def test_every_partition_gets_a_worker_in_time():
    idle = {ANNA: IdlePartition(7, 100.0), BEN: IdlePartition(3, 101.0)}

    assert to_wake(idle, {ANNA: 7, BEN: 3}, now=100.0) == {ANNA}


def test_a_partition_at_an_unknown_place_needs_a_worker():
    assert to_wake({ANNA: IdlePartition(None, 100.0)}, {ANNA: 0}, now=1.0) == {ANNA}
