"""`purple-sector up` as a process of its own, and the processes below it. Touches nothing else on
this machine.
"""

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path

import psutil

from analytics.store.instance import Instance
from ingest.embedded.process import free_port
from serve.local.orphans import wait_for_end
from tests.paths import ROOT
from tests.soak.kinds import Kind, kind_of
from tests.waiting import WITHIN_S, wait_until

# They would lead to services that are somebody else's.
_NOT_OURS = (
    "KAFKA_BROKERS",
    "KAFKA_REPLICATION",
    "DATABASE_URL",
    "RAY_ADDRESS",
    "SPOOL_DIR",
    "USER_ID",
)
_HEALTH_WITHIN_S = 2.0


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Return the environment of a process of the storm, whose system has its state below
    ``folder``.
    """
    kept = {name: value for name, value in os.environ.items() if name not in _NOT_OURS}
    return kept | {"PURPLE_SECTOR_HOME": str(folder / "home"), "PYTHONPATH": str(ROOT)} | more


class System:
    """The system with its data below ``folder``, on ports of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._home = folder, folder / "home"
        self._page_port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._seen: set[psutil.Process] = set()

    @property
    def pid(self) -> int:
        """The process id of the command."""
        assert self._process is not None, "the system has not been started"
        return self._process.pid

    @property
    def running(self) -> Instance | None:
        """The system's addresses; None while it does not run."""
        return Instance.find(self._home)

    @property
    def addresses(self) -> Instance:
        """The same of a system that runs. Raises AssertionError."""
        running = self.running
        assert running is not None, f"the system does not run; {self._folder / 'up.log'} says why"
        return running

    def start(self) -> Instance:
        """Start `up` and wait until it is. Raises AssertionError where it ends instead."""
        self._home.mkdir(parents=True, exist_ok=True)
        self._end_former()
        with (self._folder / "up.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "serve.cli.main", "up"],
                env=environment(self._folder, WS_PORT=str(self._page_port)),
                cwd=self._folder,  # no .env of somebody's is read
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(self._up, "the system", within_s=WITHIN_S)
        return self.addresses

    def _end_former(self) -> None:
        """Stop the system of a storm that was killed itself: it holds the folder's lock, so it is
        ours.
        """
        if former := self.running:
            os.kill(former.pid, signal.SIGTERM)
            wait_until(
                lambda: self.running is None, "the end of the former system", within_s=WITHIN_S
            )

    def _up(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (
            f"purple-sector up ended; {self._folder / 'up.log'} says why"
        )
        running = self.running
        return running is not None and running.pid == self._process.pid

    def of_kind(self, kind: Kind) -> list[psutil.Process]:
        """The processes of this kind below `up`, in the order of their process ids."""
        found = [process for process in self.look() if _kind(process) == kind]
        return sorted(found, key=lambda process: process.pid)

    def look(self) -> list[psutil.Process]:
        """The processes below `up` now. They are remembered: what is left of them at the end is
        ended.
        """
        try:
            below = psutil.Process(self.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        self._seen.update(below)
        return below

    def kill(self) -> None:
        """SIGKILL the command alone, as a crash would."""
        assert self._process is not None
        self.look()
        self._process.kill()
        self._process.wait()

    def left(self) -> list[psutil.Process]:
        """Processes that once ran below `up` and still run, but not below it."""
        below = set(self.look())
        return [process for process in self._seen if process not in below and _alive(process)]

    def stop(self) -> list[str]:
        """Stop the command politely; return what it left behind, which is ended too."""
        if self._process is None:
            return []
        self.look()
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        wait_for_end(self._seen, 5)
        return self.end_left()

    def end_left(self) -> list[str]:
        """End what was left behind, and name it."""
        left = self.left()
        names = [describe(process) for process in left]
        end(left)
        return names

    def healthy(self) -> bool:
        """Whether /api/health of the page answers 200."""
        if (running := self.running) is None:
            return False
        try:
            with urllib.request.urlopen(
                f"{running.page}api/health", timeout=_HEALTH_WITHIN_S
            ) as answer:
                return bool(answer.status == 200)
        except (OSError, ValueError, urllib.error.URLError):
            return False


def describe(process: psutil.Process) -> str:
    """Name a process for a person."""
    try:
        line = " ".join(process.cmdline()).strip()
        return f"{process.pid} ({line[:60] or process.name()})"
    except psutil.Error:
        return str(process.pid)


def end(processes: Iterable[psutil.Process]) -> None:
    """SIGKILL these, each only if it is still the one that it was."""
    processes = list(processes)
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    wait_for_end(processes, WITHIN_S)


def _kind(process: psutil.Process) -> Kind | None:
    try:
        return kind_of(process.name(), process.cmdline())
    except psutil.Error:
        return None


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
