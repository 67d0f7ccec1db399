"""Partitions over workers: each with one, evenly, and none moved without need."""

from hypothesis import given
from hypothesis import strategies as st

from ingest.batching.partition_log import Partition
from ingest.workers.assignment import SurplusTimer, spread, worker_count

TEN = [Partition("telemetry", i) for i in range(10)]


def owners(shares):
    return {p: worker for worker, share in shares.items() for p in share}


def test_ten_partitions_on_a_laptop_make_two_workers_of_five():
    shares = spread(TEN, ["a", "b"], {})

    assert [len(s) for s in shares.values()] == [5, 5]


def test_a_new_worker_takes_no_more_than_its_share():
    before = owners(spread(TEN, ["a", "b"], {}))

    after = owners(spread(TEN, ["a", "b", "c"], before))

    assert sum(before[p] != after[p] for p in TEN) == 3


def test_the_partitions_of_a_lost_worker_go_to_the_others():
    before = owners(spread(TEN, ["a", "b", "c"], {}))

    after = owners(spread(TEN, ["a", "b"], before))

    assert all(after[p] == before[p] for p in TEN if before[p] != "c")
    assert set(after.values()) == {"a", "b"}


def test_nobody_to_host_is_nobody():
    assert spread(TEN, [], {}) == {}


@given(st.sets(st.integers(0, 40)), st.sets(st.sampled_from("abcdefg"), min_size=1), st.data())
def test_every_partition_has_one_worker_and_shares_are_even(indexes, workers, data):
    partitions = [Partition("telemetry", i) for i in indexes]
    hosted = {p: data.draw(st.sampled_from("abcdefgxyz")) for p in partitions}

    shares = spread(partitions, sorted(workers), hosted)

    assert sorted(p.index for share in shares.values() for p in share) == sorted(indexes)
    sizes = [len(share) for share in shares.values()]
    assert max(sizes) - min(sizes) <= 1


def test_as_many_workers_as_cpus_unless_set():
    assert worker_count(10, per_worker=0, cpus=2) == 2
    assert worker_count(1, per_worker=0, cpus=8) == 1
    assert worker_count(10, per_worker=4, cpus=2) == 3
    assert worker_count(0, per_worker=0, cpus=2) == 0


def test_a_surplus_counts_when_it_has_lasted():
    """Ray 2.60 counts the CPUs of a killed node for some seconds: a cluster of two nodes had three
    workers for ever.
    """
    timer = SurplusTimer(grace_s=10)

    assert [timer.expired(running=3, wanted=2, now=now) for now in (0, 9, 10, 11)] == [
        False,
        False,
        True,
        False,
    ]
    assert not timer.expired(running=2, wanted=2, now=12)
    assert not timer.expired(running=3, wanted=2, now=13), (
        "a node that comes back takes the time back"
    )
    assert timer.expired(running=4, wanted=2, now=23)
    assert [timer.expired(running=3, wanted=2, now=now) for now in (24, 33)] == [False, True], (
        "one at a time"
    )
