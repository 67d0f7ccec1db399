"""The running system stays up: what is killed comes back by itself. Last, for the other tests want
an undisturbed one.
"""

import json
import os
import signal
import urllib.error
import urllib.request

import psutil
import psycopg
import pytest

from analytics.store.instance import Instance
from serve.local.orphans import wait_for_end
from tests.waiting import WITHIN_S, wait_until


@pytest.mark.parametrize("killed", ["postgres -D", "kafka.Kafka", "gcs_server", "raylet"])
def test_a_service_that_is_killed_comes_back_and_frames_are_stored_again(demo, killed):
    service = main_process(demo.pid, killed)
    service.kill()
    service.wait()

    wait_until(lambda: main_process(demo.pid, killed), killed)
    wait_until(lambda: health(demo.page) == (200, "ok"), "health")
    before = wait_until(lambda: stored(demo.database_url), "the store")
    wait_until(lambda: stored(demo.database_url) > before + 100, "frames")


def test_a_stop_does_not_wait_for_a_restart_of_ray(demo, demo_home):
    """The last of all, for it ends the demo."""
    said = demo_home / "demo.log"
    lines = len(said.read_text())
    started = psutil.Process(demo.pid).children(recursive=True)
    main_process(demo.pid, "raylet").kill()
    wait_until(
        lambda: "Ray with ingest and the page has ended" in said.read_text()[lines:], "the restart"
    )

    os.kill(demo.pid, signal.SIGTERM)

    wait_until(lambda: Instance.find(demo_home) is None, "the end")
    assert "is back" not in said.read_text()[lines:]
    wait_for_end(started, WITHIN_S)
    assert [process for process in started if process.is_running()] == []


def main_process(root: int, command: str) -> psutil.Process | None:
    """The first of a service's processes: its guardian has its command line too, behind
    Python's.
    """
    for process in psutil.Process(root).children(recursive=True):
        try:
            line, name = " ".join(process.cmdline()), process.name()
        except psutil.Error:
            continue
        if command in line and not name.startswith("python"):
            return process
    return None


def health(page: str) -> tuple[int, str] | None:
    try:
        with urllib.request.urlopen(f"{page}api/health", timeout=30) as answer:
            return answer.status, json.load(answer)["status"]
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.reason
    except OSError:
        return None


def stored(url: str) -> int:
    try:
        with psycopg.connect(url, connect_timeout=5) as conn:
            ((frames,),) = conn.execute("SELECT coalesce(sum(frames), 0)::bigint FROM sessions")
            return int(frames)
    except psycopg.OperationalError:
        return 0
