"""`up` stays up: what is killed comes back by itself, health says so meanwhile, and `down` leaves
nothing. Last, for the demo of the other tests has ended by then.

The tests are of one system and in order: the first looks, the last ends it.
"""

import contextlib
import json
import signal
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import psycopg
import pytest

from analytics.store.instance import Instance
from serve.local.orphans import wait_for_end
from tests.demo.conftest import PURPLE_SECTOR, Popen, purple_sector, settings_of
from tests.demo.test_listeners import (
    assert_closed_to_others,
    assert_lets_nobody_look,
    assert_token_is_hidden,
)
from tests.meanwhile import meanwhile
from tests.service.audit import assert_each_frame_once, wait_for_frames
from tests.service.loop import filled, small_disk
from tests.waiting import WITHIN_S, wait_until

OK = (200, "ok")


@dataclass(frozen=True)
class RunningUp:
    """`up --detach` with its data in ``data``, and one collector that knows its broker's address
    from the start.
    """

    instance: Instance
    home: Path
    data: Path
    environment: dict[str, str]
    car: Popen

    @property
    def said(self) -> str:
        return (self.home / "up.log").read_text(errors="replace")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("up")


@pytest.fixture(scope="module")
def data(home: Path, service_folder: Path) -> Iterator[Path]:
    """A disk of 700 MB, or a folder where none can be mounted."""
    with contextlib.ExitStack() as stack:
        folder = service_folder / "up"
        try:
            stack.enter_context(small_disk(folder, megabytes=700))
        except pytest.skip.Exception:
            folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
        yield folder


@pytest.fixture(scope="module")
def up(home: Path, data: Path) -> Iterator[RunningUp]:
    environment = settings_of(home)
    purple_sector("up", "--detach", "--data", str(data), environment=environment)
    instance = Instance.find(home)
    assert instance is not None
    with collector(home, environment) as car:
        try:
            yield RunningUp(instance, home, data, environment, car)
        finally:
            purple_sector("down", environment=environment)


@contextlib.contextmanager
def collector(home: Path, environment: dict[str, str]) -> Iterator[Popen]:
    with (home / "car.log").open("w") as log:
        car = subprocess.Popen(
            [*PURPLE_SECTOR, "collect", "simulate"],
            env=environment,
            stdout=log,
            stderr=subprocess.DEVNULL,
            text=True,
        )
    try:
        yield car
    finally:
        car.kill()
        car.wait()


def test_nothing_of_up_is_open_to_anybody_else(up):
    assert_closed_to_others(up.instance.pid)
    assert_lets_nobody_look(up.instance.pid)
    assert_token_is_hidden(up.instance.pid)


@pytest.mark.parametrize("killed", ["postgres -D", "kafka.Kafka", "gcs_server", "raylet"])
def test_a_service_that_is_killed_comes_back_and_frames_are_stored_again(up, killed):
    """The parent of `up --detach` is process 1. A driver of Ray ends with its raylet there, unless
    it is prevented.
    """
    wait_until(lambda: stored(up.instance.database_url), "the first frames")
    service = main_process(up.instance.pid, killed)
    with health_of(up.instance.page) as health:
        service.kill()
        service.wait()
        wait_until(lambda: main_process(up.instance.pid, killed), killed)
        wait_until(health.was_bad_and_is_ok, "health")

    assert health.shown[0] == OK
    if killed in REFUSALS:  # Ray's own processes take the page with them
        assert REFUSALS[killed] in health.shown
    before = stored(up.instance.database_url)
    wait_until(lambda: stored(up.instance.database_url) > before + 100, "frames")
    assert Instance.find(up.home) == up.instance


#: What health shows while the service is away.
REFUSALS = {
    "postgres -D": (503, "no answer from the store"),
    "kafka.Kafka": (503, "no answer from the broker"),
}


def test_a_full_disk_is_said_and_ends_when_there_is_room(up):
    if not up.data.is_mount():
        pytest.skip("no small disk can be mounted")
    with health_of(up.instance.page) as health:
        with filled(up.data):
            wait_until(lambda: REFUSALS["kafka.Kafka"] in health.shown, "the refusal")
        wait_until(health.was_bad_and_is_ok, "health")
    before = stored(up.instance.database_url)
    wait_until(lambda: stored(up.instance.database_url) > before + 100, "frames")


def test_each_frame_of_the_collector_is_stored_once_after_all_of_it(up):
    up.car.send_signal(signal.SIGTERM)
    assert up.car.wait(WITHIN_S) == 0
    first, *_, last = (up.home / "car.log").read_text().splitlines()
    session = first.removeprefix("session ").partition(":")[0]
    statistics = json.loads(last)

    assert statistics["framesPublished"] == statistics["framesCollected"] > 500
    expected = {session: statistics["framesPublished"]}
    wait_for_frames(up.instance.database_url, expected)
    assert_each_frame_once(up.instance.database_url, expected)


def test_down_does_not_wait_for_a_restart_of_ray_and_leaves_nothing(up):
    """The last of all, for it ends the system."""
    lines = len(up.said)
    started = psutil.Process(up.instance.pid).children(recursive=True)
    main_process(up.instance.pid, "raylet").kill()
    wait_until(lambda: "Ray with ingest and the page has ended" in up.said[lines:], "the restart")

    assert purple_sector("down", environment=up.environment) == "stopped\n"

    assert "is back" not in up.said[lines:]
    wait_for_end(started, WITHIN_S)
    assert [process for process in started if process.is_running()] == []
    assert not (up.home / "running.json").exists()


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


@dataclass
class Health:
    """What /api/health showed, each change once: status and sentence; (0, "") for no answer."""

    shown: list[tuple[int, str]] = field(default_factory=list)

    def was_bad_and_is_ok(self) -> bool:
        return len(self.shown) > 1 and self.shown[-1] == OK

    def look(self, page: str) -> None:
        seen = health(page)
        if not self.shown or self.shown[-1] != seen:
            self.shown.append(seen)


@contextlib.contextmanager
def health_of(page: str) -> Iterator[Health]:
    """Look at the health of the page all the time, from when it is well."""
    wait_until(lambda: health(page) == OK, "health")
    seen = Health()
    seen.look(page)

    def look(stop: threading.Event) -> None:
        while not stop.wait(0.02):
            seen.look(page)

    with meanwhile(look):
        yield seen


def health(page: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"{page}api/health", timeout=30) as answer:
            return answer.status, json.load(answer)["status"]
    except urllib.error.HTTPError as refusal:
        with contextlib.suppress(ValueError):
            return refusal.code, json.load(refusal)["status"]
        return refusal.code, ""
    except OSError:
        return 0, ""


def stored(url: str) -> int:
    try:
        with psycopg.connect(url, connect_timeout=5) as conn:
            ((frames,),) = conn.execute("SELECT coalesce(sum(frames), 0)::bigint FROM sessions")
            return int(frames)
    except psycopg.OperationalError:
        return 0
