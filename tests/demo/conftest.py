"""The whole system as its users start it. It ends with these tests: beside it others would find a
machine that is busy.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import pytest

from analytics.store.instance import Instance
from ingest.embedded.process import free_ports
from tests.waiting import WITHIN_S

PURPLE_SECTOR = [sys.executable, "-m", "serve.cli.main"]
Popen: TypeAlias = "subprocess.Popen[str]"
#: An address that only the page has, of this machine as well.
HOST = "127.0.0.2"


@contextmanager
def running_demo(home: Path, **environment: str) -> Iterator[tuple[Instance, Popen]]:
    """``purple-sector demo`` as a process of its own, until SIGTERM."""
    with starting_demo(home, **environment) as process:
        yield _await(process, home, home / "demo.log"), process


@contextmanager
def starting_demo(home: Path, **environment: str) -> Iterator[Popen]:
    """``purple-sector demo`` from its first moment; what it prints is in ``demo.log``."""
    with (home / "demo.log").open("w") as log:
        process = subprocess.Popen(
            [*PURPLE_SECTOR, "demo"],
            env=settings_of(home) | environment,
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


def settings_of(home: Path) -> dict[str, str]:
    """The environment of a system with its state in ``home``, and of commands that find it."""
    (port,) = free_ports(1)
    return os.environ | {
        "PURPLE_SECTOR_HOME": str(home),
        "WS_HOST": HOST,
        "WS_PORT": str(port),
        "LOG_LEVEL": "WARNING",
    }


def purple_sector(*arguments: str, environment: dict[str, str]) -> str:
    """What the command prints, to its end; raises AssertionError where it fails."""
    done = subprocess.run(
        [*PURPLE_SECTOR, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _await(process: Popen, home: Path, said: Path) -> Instance:
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
def taken_port() -> Iterator[int]:
    """The port that the demo's page is meant to have, on which somebody else listens."""
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        yield taken.getsockname()[1]


@pytest.fixture(scope="package")
def demo(demo_home: Path, taken_port: int) -> Iterator[Instance]:
    """The addresses of a demo that runs, with one car. ``test_quit.py`` ends it."""
    with running_demo(demo_home, WS_PORT=str(taken_port)) as (running, _):
        yield running


@pytest.fixture
def page_url(demo: Instance) -> str:
    return demo.page
