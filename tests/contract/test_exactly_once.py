"""Exactly once is a claim about rivals and cut connections; that the harness finds mistakes is
shown in tests/service/test_rivals.py.
"""

import pytest

from ingest.store.partition_writer import PartitionWriter
from tests.service.rivals import NoGrip, fight

SECONDS = 4.0
SEED = 7


@pytest.mark.parametrize("store", [PartitionWriter, NoGrip])
def test_rivals_with_cut_connections_store_each_frame_once(database, store):
    verdict = fight(database.url, [store, store], duration_s=SECONDS, seed=SEED)

    assert verdict.exactly_once, verdict
    # Or else nothing was tried.
    assert verdict.position > 100
    assert verdict.cuts > 10
    assert verdict.takeovers > 10
