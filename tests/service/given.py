"""A game that writes down what it gave, in a collector of its own, and the store that is held to
it.

python -m tests.service.given FOLDER: the collector as `collect acc` starts it, but for the game,
until it is stopped or killed; the book is in FOLDER, the spool where SPOOL_DIR says. What the spool
has synced is in the book too.
"""

import itertools
import os
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from ingest.batching.sequence_set import SequenceSet
from ingest.collectors.delivery.records import OutgoingRecord
from ingest.collectors.games.interface import GameEvent, SessionBegan
from ingest.collectors.simulator.circuit import val_sarine
from ingest.collectors.simulator.frames import drive, facts
from ingest.collectors.spool import folder
from ingest.collectors.spool.writer import SegmentWriter
from tests.waiting import wait_until

SPEED = 5  # times real time
_AGO_MS = (
    3_600_000  # frames that are driven faster than they are timed must not be ahead of the clock
)


class BookedGame:
    """A session that never ends; each frame is in the book as given before the collector has it,
    and as taken after.
    """

    name = "Booked"
    counts: dict[str, int] = {}
    running = True

    def __init__(self, folder: Path, *, speed: float = SPEED, ago_ms: int = _AGO_MS) -> None:
        self._speed = speed
        self._key = f"booked-{os.getpid()}-{time.time_ns()}"
        self._started_at_ms = time.time_ns() // 1_000_000 - ago_ms
        self._frames = drive(val_sarine(), seed=os.getpid(), started_at_ms=self._started_at_ms)
        self._given_at = time.monotonic()
        self._given = 0
        self._book = os.open(folder / "book", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def poll(self, timeout_s: float) -> Sequence[GameEvent]:
        if not self._given:
            began: list[GameEvent] = [SessionBegan(self._facts())]
        else:
            began = []
            self._write("taken")
            self._given_at += 1 / 60 / self._speed
            time.sleep(max(0.0, self._given_at - time.monotonic()))
        self._given += 1
        self._write("given")
        return [*began, next(self._frames)]

    def close(self):
        self._write("taken")
        return []

    def _facts(self):
        return facts(
            val_sarine(),
            session_id=self._key,
            user_id="",
            driver="",
            started_at_ms=self._started_at_ms,
        )

    def _write(self, what: str) -> None:
        os.write(self._book, f"{what} {self._key} {self._given}\n".encode())


class BookedWriter(SegmentWriter):
    """Writes down, after each sync, up to which frame it was for sure."""

    book = -1  # an open file

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self._appended = 0

    def append(self, record: OutgoingRecord) -> None:
        super().append(record)
        self._appended = record.sequence or self._appended

    def sync(self) -> None:
        appended = self._appended
        super().sync()
        os.write(self.book, f"synced spool {appended}\n".encode())


@dataclass(frozen=True, slots=True)
class Book:
    """By session: how many frames the collector had for sure, and how many the game gave.

    ``synced``: how many of the newest session last through a power cut.
    """

    taken: dict[str, int]
    given: dict[str, int]
    synced: int

    @classmethod
    def read(cls, folder: Path) -> "Book":
        last: dict[str, dict[str, int]] = {
            what: defaultdict(int) for what in ("taken", "given", "synced")
        }
        path = folder / "book"
        for line in path.read_text().splitlines() if path.exists() else []:
            what, key, sequence = line.split()
            last[what][key] = int(sequence)
        return cls(dict(last["taken"]), dict(last["given"]), last["synced"]["spool"])


def stored(database_url: str, key: str) -> SequenceSet:
    """The sequences of a session that the store has, as its rows say, each once."""
    with psycopg.connect(database_url) as conn:
        rows = conn.execute(
            "SELECT sequence FROM telemetry JOIN sessions s ON s.id = session_id WHERE s.key = %s"
            " ORDER BY sequence",
            [key],
        ).fetchall()
    sequences = [sequence for (sequence,) in rows]
    assert len(set(sequences)) == len(sequences), f"session {key}: frames twice"
    return SequenceSet((sequence, sequence + 1) for sequence in sequences)


def open_gaps(database_url: str, key: str) -> list[tuple[int, int]]:
    """The holes that the store knows of."""
    with psycopg.connect(database_url) as conn:
        return conn.execute(
            "SELECT from_sequence, to_sequence FROM gaps JOIN sessions s ON s.id = session_id"
            " WHERE s.key = %s AND resolved_at IS NULL ORDER BY 1",
            [key],
        ).fetchall()


def await_last(database_url: str, key: str, sequence: int) -> None:
    """Until a frame is stored that is this far."""
    wait_until(
        lambda: stored(database_url, key).highest >= sequence, f"frame {sequence} of session {key}"
    )


def assert_nothing_lost(database_url: str, key: str, taken: int, given: int) -> None:
    """What the game gave is what the store has; of the one frame that was on its way into a killed
    collector, either.
    """
    await_last(database_url, key, taken)
    has = stored(database_url, key)
    assert has.holes() == open_gaps(database_url, key) == [], f"session {key}"
    assert taken <= has.highest <= given, f"session {key}: {taken} <= {has.highest} <= {given}"


def frames(count: int, *, ago_ms: int = _AGO_MS):
    """So many of a car, numbered by nobody yet."""
    started_at_ms = time.time_ns() // 1_000_000 - ago_ms
    return itertools.islice(drive(val_sarine(), seed=1, started_at_ms=started_at_ms), count)


if __name__ == "__main__":
    from serve.game_pc.follow import _collect

    BookedWriter.book = os.open(
        Path(sys.argv[1]) / "book", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600
    )
    folder.SegmentWriter = BookedWriter
    _collect(BookedGame(Path(sys.argv[1])), None, None)
