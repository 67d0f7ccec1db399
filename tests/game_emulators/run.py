"""Games for tests to follow: in a thread of the test, or in a process of their own, which can be
killed and measured.
"""

import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.game_emulators.game import Game, play
from tests.game_emulators.ledger import Written, read_ledger


class InThread:
    """A game that plays in this process."""

    def __init__(self, game: Game) -> None:
        self.game = game
        self._commands: queue.Queue[str] = queue.Queue()

    def apply_command(self, command: str) -> None:
        """Returns when the game has done it."""
        self._commands.put(command)
        self._commands.join()


@contextmanager
def in_thread(game: Game) -> Iterator[InThread]:
    """``game``, playing in real time until the end of the block."""
    running, stop = InThread(game), threading.Event()
    thread = threading.Thread(target=play, args=(game, running._commands, stop), name="game")
    thread.start()
    try:
        yield running
    finally:
        stop.set()
        thread.join()


@dataclass(slots=True)
class InProcess:
    """A game that plays in a process of its own."""

    process: "subprocess.Popen[str]"
    addresses: dict[
        str, str
    ]  # what it said of itself: "shared memory", "remote telemetry", "broadcasting"
    ledger: Path

    def apply_command(self, command: str) -> None:
        """Returns when the game has done it. After ``kill`` the process is gone."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        if command != "kill" and answer != f"done: {command}":
            raise ValueError(answer or "the game has ended")
        if command == "kill":
            self.process.wait(10)

    def port(self, of: str) -> int:
        """Of ``remote telemetry`` or ``broadcasting``."""
        return int(self.addresses[of].rpartition(":")[2])

    @property
    def cpu_s(self) -> float:
        """That it has used so far."""
        times = psutil.Process(self.process.pid).cpu_times()
        return times.user + times.system

    def written(self) -> list[Written]:
        """All that it has shown so far."""
        return list(read_ledger(self.ledger))


@contextmanager
def in_process(name: str, folder: Path, *options: str) -> Iterator[InProcess]:
    """``acc`` or ``ac`` with the options of `python -m tests.game_emulators`; pages and ledger are
    in ``folder``.
    """
    ledger = folder / "ledger"
    command = [
        sys.executable,
        "-m",
        "tests.game_emulators",
        name,
        "--folder",
        str(folder),
        "--ledger",
        str(ledger),
        *options,
    ]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield InProcess(process, _addresses(process), ledger)
    finally:
        process.terminate()
        process.wait(10)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def _addresses(process: "subprocess.Popen[str]") -> dict[str, str]:
    assert process.stdout is not None
    said = {}
    for line in process.stdout:
        if line.strip() == "playing":
            return said
        what, _, where = line.strip().partition(": ")
        said[what] = where
    raise RuntimeError(f"the game did not start, exit code {process.wait(10)}")
