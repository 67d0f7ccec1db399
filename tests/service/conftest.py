"""A Ray cluster for the tests that want one."""

from collections.abc import Iterator

import pytest

from serve.local import run_ray


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """Ray on this machine, and this process connected to it."""
    with run_ray(lambda _: None):
        yield
