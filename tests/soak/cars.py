"""The storm's collectors: simulated cars that drive in real time, each in a process with a spool on
disk.

A process is the collector as `collect acc` runs it, but for the game, which is
tests.service.given's: that one writes into a book what it gave and what the collector acknowledged.
`collect simulate` keeps its spool in memory and has no next run.

python -m tests.soak.cars FOLDER: one such process; its book is in FOLDER, its spool where SPOOL_DIR
says.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import psutil

from analytics.store.instance import Instance
from ingest.embedded.process import Process
from tests.service.given import Book, BookedGame
from tests.soak.system import environment

_FLUSHED_WITHIN_S = 120.0


class Car:
    """A driver's place: its folder stays, its collector may be killed and replaced."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self._soak, self._folder = folder, folder / name
        self._collector: Process | None = None
        self._book, self._read_to = Book({}, {}, 0), 0
        self._folder.mkdir(exist_ok=True)

    @property
    def book(self) -> Book:
        """By session: the frames given and acknowledged so far, by all collectors of this car."""
        path = self._folder / "book"
        if path.exists():
            with path.open("rb") as file:
                file.seek(self._read_to)
                self._note(file.read())
        return self._book

    def _note(self, text: bytes) -> None:
        """Take in the whole lines of what the book has anew: half an hour of driving makes
        200,000.
        """
        lines, newline, _ = text.rpartition(b"\n")
        self._read_to += len(lines) + len(newline)
        for line in lines.decode().splitlines():
            what, key, sequence = line.split()
            counts = {"taken": self._book.taken, "given": self._book.given}
            if what in counts:
                counts[what][key] = int(sequence)

    @property
    def process(self) -> psutil.Process:
        """The collector's process."""
        assert self._collector is not None, f"{self.name} has no collector"
        return psutil.Process(self._collector.pid)

    def start(self, running: Instance) -> None:
        """Start a collector. It sends first what the one before it left in the spool."""
        addresses = {
            "KAFKA_BROKERS": running.brokers,
            "USER_ID": self.name,
            "SPOOL_DIR": str(self._folder / "spool"),
            "LOG_LEVEL": "WARNING",
        }
        settings = [
            f"{name}={value}" for name, value in environment(self._soak, **addresses).items()
        ]
        command = [
            "/usr/bin/env",
            "-i",
            *settings,
            sys.executable,
            "-m",
            "tests.soak.cars",
            str(self._folder),
        ]
        self._collector = Process.start(self.name, command, log_file=self._folder / "collector.log")

    def kill(self) -> None:
        """SIGKILL the collector."""
        if self._collector is not None:
            self._collector.kill()
            self._collector = None

    def stop(self) -> None:
        """Stop the collector, which waits until its frames are acknowledged."""
        if self._collector is not None:
            self._collector.stop(patience_s=_FLUSHED_WITHIN_S)
            self._collector = None


def given(cars: list[Car]) -> Mapping[str, int]:
    """How many frames each session of these cars was given."""
    return {key: count for car in cars for key, count in car.book.given.items()}


def taken(cars: list[Car]) -> Mapping[str, int]:
    """How many frames of each session its collector acknowledged."""
    return {key: count for car in cars for key, count in car.book.taken.items()}


def drive(folder: Path) -> None:
    """Drive until the process is stopped."""
    from serve.game_pc.follow import _collect

    _collect(BookedGame(folder, speed=1, ago_ms=0), None, None)


if __name__ == "__main__":
    drive(Path(sys.argv[1]))
