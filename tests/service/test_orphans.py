"""Processes of a Ray whose owner was killed are ended, and nobody else's; the demo's cars end with
the demo.
"""

import os
import subprocess
import sys
import threading

import psutil
import pytest

from ingest.embedded.process import free_port
from serve.local.orphans import processes_of, sweep, wait_for_end, write_owner
from tests.waiting import wait_until

SLEEP = [
    sys.executable,
    "-c",
    "import sys, time; log = open(sys.argv[1] or '/dev/null'); print(flush=True); time.sleep(600)",
]


@pytest.fixture
def left_behind(tmp_path):
    """A process of a Ray in each of two folders, which end with the test."""
    started = []

    def start(name):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "raylet.log").touch()
        process = subprocess.Popen([*SLEEP, str(folder / "raylet.log")], stdout=subprocess.PIPE)
        process.stdout.readline()
        started.append(process)
        return folder, process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def ended() -> tuple[int, float]:
    """A process that is gone."""
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE
    )
    made = psutil.Process(process.pid).create_time()
    process.communicate()
    return process.pid, made


def test_what_a_killed_command_left_is_ended_with_its_folder(tmp_path, left_behind):
    folder, process = left_behind("ps-abandoned")
    pid, made = ended()
    (folder / "owner").write_text(f"{pid} {made}")

    assert sweep(tmp_path) == 1
    assert not psutil.pid_exists(process.pid)
    assert not folder.exists()


def test_what_belongs_to_a_running_command_is_left_alone(tmp_path, left_behind):
    folder, process = left_behind("ps-running")
    write_owner(folder)

    assert sweep(tmp_path) == 0
    assert process.poll() is None
    assert folder.exists()


def test_the_id_of_a_killed_command_may_be_another_process_today(tmp_path, left_behind):
    folder, _ = left_behind("ps-reused")
    (folder / "owner").write_text(f"{os.getpid()} 1000.0")

    assert sweep(tmp_path) == 1


@pytest.mark.parametrize("owner", [None, "", "x y", "1"])
def test_a_folder_that_names_no_owner_is_not_ours(tmp_path, left_behind, owner):
    folder, process = left_behind("ps-nobody")
    if owner is not None:
        (folder / "owner").write_text(owner)

    assert sweep(tmp_path) == 0
    assert process.poll() is None


def test_a_process_that_only_inherited_the_environment_is_left_alone(tmp_path):
    """The broker and the database of a command have it too, and outlive its Ray."""
    folder = tmp_path / "ps-ended"
    folder.mkdir()
    environment = os.environ | {"RAY_AUTH_TOKEN_PATH": f"{folder}/auth_token"}
    with subprocess.Popen([*SLEEP, ""], env=environment, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        assert processes_of(folder) == []
        process.kill()


def test_who_reads_a_log_is_left_alone(tmp_path, left_behind):
    folder, _ = left_behind("ps-read")
    with subprocess.Popen(
        ["tail", "-f", str(folder / "raylet.log")], stdout=subprocess.DEVNULL
    ) as reader:
        assert reader.pid not in [process.pid for process in processes_of(folder)]
        reader.kill()


def test_a_folder_that_is_a_link_is_not_ours(tmp_path, left_behind):
    folder, process = left_behind("elsewhere")
    pid, made = ended()
    (folder / "owner").write_text(f"{pid} {made}")
    (tmp_path / "ps-link").symlink_to(folder)

    assert sweep(tmp_path) == 0
    assert process.poll() is None


def test_an_id_that_is_a_thread_by_now_is_waited_for_no_longer():
    """A process that ended may have left its id to a thread of another one: to wait for that is an
    error of the system.
    """
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    try:
        wait_for_end([psutil.Process(thread.native_id)])
    finally:
        over.set()
        thread.join()


def test_what_ends_is_waited_for():
    with subprocess.Popen([*SLEEP, ""], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        seen = psutil.Process(process.pid)
        seen.kill()
        wait_for_end([seen])
        assert not seen.is_running()


CARS = """
import sys
from pathlib import Path
from serve.cli.main import simulated_cars

with simulated_cars(1, sys.argv[1], Path(sys.argv[2])) as cars:
    print(cars.pid, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize(
    "end", [subprocess.Popen.kill, lambda command: command.stdin.close()], ids=["killed", "ended"]
)
def test_simulated_cars_end_with_the_demo(tmp_path, end):
    arguments = [sys.executable, "-c", CARS, f"127.0.0.1:{free_port()}", str(tmp_path)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as command:
        cars = psutil.Process(int(command.stdout.readline()))
        # It waits for its brokers, and does not end by itself.
        wait_until(lambda: "simulate" in cars.cmdline() and cars.num_threads() > 1, "the collector")

        end(command)

        wait_until(lambda: not psutil.pid_exists(cars.pid), "the collector's end")
