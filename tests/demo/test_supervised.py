"""The running system stays up: what is killed comes back by itself. Last, for the other tests want an undisturbed one."""

import json
import urllib.error
import urllib.request

import psutil
import psycopg
import pytest

from tests.waiting import wait_until


@pytest.mark.parametrize("killed", ["postgres -D", "kafka.Kafka", "gcs_server", "raylet"])
def test_a_service_that_is_killed_comes_back_and_frames_are_stored_again(demo, killed):
    service = main_process(demo.pid, killed)
    service.kill()
    service.wait()

    wait_until(lambda: main_process(demo.pid, killed), killed)
    wait_until(lambda: health(demo.page) == (200, "ok"), "health")
    before = wait_until(lambda: stored(demo.database_url), "the store")
    wait_until(lambda: stored(demo.database_url) > before + 100, "frames")


def main_process(root: int, command: str) -> psutil.Process | None:
    """The first of a service's processes: its guardian has its command line too, behind Python's."""
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
