"""The whole system as its users start it. It ends with these tests: beside it others would find a
machine that is busy.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from analytics.store.instance import Instance
from ingest.embedded.process import free_ports
from tests.waiting import WITHIN_S


@contextmanager
def running_demo(
    home: Path, **environment: str
) -> Iterator[tuple[Instance, "subprocess.Popen[str]"]]:
    """``purple-sector demo`` as a process of its own, until Ctrl-C."""
    with starting_demo(home, **environment) as process:
        yield _await(process, home, home / "demo.log"), process


@contextmanager
def starting_demo(home: Path, **environment: str) -> Iterator["subprocess.Popen[str]"]:
    """``purple-sector demo`` from its first moment; what it prints is in ``demo.log``."""
    (port,) = free_ports(1)
    settings = {
        "PURPLE_SECTOR_HOME": str(home),
        "WS_PORT": str(port),
        "LOG_LEVEL": "WARNING",
    } | environment
    with (home / "demo.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "serve.cli.main", "demo"],
            env=os.environ | settings,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            # whoever starts tests in the background has Ctrl-C ignored by all of them
            process.terminate()
        process.wait(WITHIN_S)


def _await(process: "subprocess.Popen[str]", home: Path, said: Path) -> Instance:
    deadline = time.monotonic() + WITHIN_S
    while (running := Instance.find(home)) is None:
        assert process.poll() is None, f"the demo ended:\n{said.read_text()}"
        assert time.monotonic() < deadline, f"the demo is not up:\n{said.read_text()}"
        time.sleep(0.1)
    return running


@pytest.fixture(scope="package")
def demo_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state folder of the demo that `demo` runs; what it prints is in its ``demo.log``."""
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="package")
def demo(demo_home: Path) -> Iterator[Instance]:
    """The addresses of a demo that runs, with one car."""
    with running_demo(demo_home) as (running, _):
        yield running


@pytest.fixture
def page_url(demo: Instance) -> str:
    return demo.page
