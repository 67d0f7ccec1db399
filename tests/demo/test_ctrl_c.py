"""How a system ends that somebody stops. Before the other tests of the demo: beside theirs this one
takes twice as long.
"""

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from serve.local.orphans import wait_for_end
from tests.demo.conftest import running_demo
from tests.waiting import WITHIN_S


def test_ctrl_c_ends_every_process_and_a_taken_port_is_no_obstacle(tmp_path):
    with (
        somebody_listening() as port,
        running_demo(tmp_path, WS_PORT=str(port)) as (running, process),
    ):
        assert not running.page.endswith(f":{port}/")
        started = [
            psutil.Process(process.pid),
            *psutil.Process(process.pid).children(recursive=True),
        ]
        process.send_signal(signal.SIGINT)
        assert process.wait(WITHIN_S) == 0

    wait_for_end(started, WITHIN_S)
    assert len(started) > 10
    assert [process for process in started if process.is_running()] == []
    assert not (tmp_path / "running.json").exists()


@contextmanager
def somebody_listening() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]
