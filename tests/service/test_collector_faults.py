"""Whatever happens to a collector, its disk and its network: what the game gave is in the store, or
a row says that it is not.

One broker and one database for all of it, and sessions of their own for each fault, which counts by
session and sequence. `python -m tests.service.collector_faults` does the same more often.
"""

import pytest

from ingest.embedded.process import ServiceUnavailable
from tests.conftest import fresh_database
from tests.service.collector_faults import course


@pytest.fixture(scope="module")
def faults(tmp_path_factory, database_server):
    try:
        with (
            fresh_database(database_server) as database,
            course(tmp_path_factory.mktemp("faults"), database.url, seed=1) as faults,
        ):
            yield faults
    except ServiceUnavailable as missing:
        pytest.skip(f"no broker: {missing}")


def test_ten_minutes_without_a_broker(faults):
    faults.broker_away()


def test_a_network_that_ends_in_the_middle_of_a_batch(faults):
    faults.cut_mid_batch(8)


def test_a_producer_that_is_of_no_use_any_more(faults):
    faults.producer_fatal(2)


def test_a_clock_that_steps_back_an_hour(faults):
    faults.clock_back()


def test_a_disk_that_is_full(faults):
    """What was lost is a row, and it is as many frames as the collector says."""
    faults.disk_full()


def test_a_disk_that_dies(faults):
    faults.disk_dies()


def test_a_collector_that_is_killed_at_random_moments(faults):
    faults.kills(4)


def test_a_pc_that_loses_its_power(faults):
    """What was synced is there, without a hole; how soon that is depends on the disk."""
    faults.power_cuts(1)
