"""What is cancelled is not waited for, and a program that is cancelled is ended."""

import sys
import threading
from pathlib import Path

import psutil
import pytest

from ingest.cancellation import Stopped, run_to_end, unless_cancelled
from ingest.embedded.cache import filled
from tests.waiting import wait_until

_WITH_A_CHILD = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open(sys.argv[1], "w").write(f"{child.pid}\\n")
child.wait()
"""


def test_a_call_that_is_cancelled_is_not_waited_for():
    over = threading.Event()
    with pytest.raises(Stopped):
        unless_cancelled(over.wait, lambda: True)
    over.set()


def test_a_call_that_is_not_cancelled_ends_with_what_it_raises():
    done = []
    unless_cancelled(lambda: done.append(1), lambda: False)
    assert done == [1]


def test_a_call_that_times_out_by_itself_raises_that():
    def times_out() -> None:
        raise TimeoutError("a proxy")

    with pytest.raises(TimeoutError, match="a proxy"):
        unless_cancelled(times_out, lambda: False)


def test_a_program_that_ends_returns_its_code_and_output():
    done = run_to_end([sys.executable, "-c", "print('out'); raise SystemExit('err')"])
    assert (done.returncode, done.stdout, done.stderr) == (1, "out\n", "err\n")


def test_a_program_that_is_cancelled_ends_with_its_children(tmp_path: Path):
    pid_file = tmp_path / "pid"
    command = [sys.executable, "-c", _WITH_A_CHILD, str(pid_file)]
    with pytest.raises(Stopped):
        run_to_end(
            command, cancelled=lambda: pid_file.exists() and pid_file.read_text().endswith("\n")
        )
    wait_until(lambda: not _runs(int(pid_file.read_text())), "the end of its child")


def _runs(pid: int) -> bool:
    """Return whether the process is there, and not only waits for its parent to see its end."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_wait_for_another_process_that_fills_a_folder_is_cancelled(tmp_path: Path):
    folder, filling, over = tmp_path / "kafka", threading.Event(), threading.Event()

    def fill(_: Path) -> None:
        filling.set()
        over.wait(60)

    first = threading.Thread(target=filled, args=(folder, fill))
    first.start()
    filling.wait(60)
    with pytest.raises(Stopped):
        filled(folder, lambda _: pytest.fail("it is being filled"), cancelled=lambda: True)
    over.set()
    first.join()
    assert folder.is_dir()
