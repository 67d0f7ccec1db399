"""A Ray cluster, which ends with these tests: beside it others would find a machine that is
busy.
"""

from collections.abc import Iterator

import pytest

from serve.local.ray_cluster import run_ray
from tests.cluster.nodes import Cluster, run_cluster


@pytest.fixture(scope="package")
def ray_cluster() -> Iterator[None]:
    """Ray on this machine, and this process connected to it."""
    with run_ray(lambda _: None):
        yield


@pytest.fixture(scope="package")
def cluster() -> Iterator[Cluster]:
    """The head of a cluster that this process does not belong to. Tests add nodes, and take them
    away again.
    """
    with run_cluster() as cluster:
        yield cluster
