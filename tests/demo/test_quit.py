"""Ctrl-C ends the demo of the other tests, so this file is the last that has it."""

import os
import signal

import psutil

from analytics.store.instance import Instance
from serve.local.orphans import wait_for_end
from tests.waiting import WITHIN_S, wait_until


def test_a_taken_port_is_no_obstacle(demo, taken_port):
    assert not demo.page.endswith(f":{taken_port}/")


def test_ctrl_c_ends_every_process(demo, demo_home):
    started = [psutil.Process(demo.pid), *psutil.Process(demo.pid).children(recursive=True)]

    os.kill(demo.pid, signal.SIGINT)

    wait_until(lambda: Instance.find(demo_home) is None, "the end")
    wait_for_end(started, WITHIN_S)
    assert len(started) > 10
    assert [process for process in started if process.is_running()] == []
    assert not (demo_home / "running.json").exists()
