"""What is quick in the documentation, and its Python, run on the tests' broker and store."""

import io
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import redirect_stdout
from itertools import islice
from pathlib import Path

import pytest

from ingest.collectors.simulator.circuit import val_sarine
from ingest.collectors.simulator.frames import drive, facts
from ingest.embedded.broker import Broker
from ingest.telemetry_pb2 import TelemetryMessage
from tests.conftest import Database, Elsewhere
from tests.documented import Snippet, blocks_in, commands, words
from tests.paths import ROOT
from tests.service.owner import Owner
from tests.waiting import WITHIN_S

#: Those that read and write the services only, and end by themselves.
QUICK = [
    ["topics", "create"],
    ["topics", "describe"],
    ["database", "upgrade"],
    ["database", "status"],
    ["status"],
    ["dead-letters", "list", "--reason", "time", "--since", "2h"],
    ["laps", "recompute"],
    ["down"],
]
FRAMES_DRIVEN = 4_000
STARTED_AT_MS = 1_767_225_600_000


@pytest.fixture
def store(database: Database) -> str:
    """A store with a stint of each of the two drivers that the pages name, on their track."""
    for seed, name in enumerate(("alice", "bob"), 2):
        with Owner(database.url) as owner:
            owner.write(*stint(name, seed))
    return database.url


def stint(name: str, seed: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the records of some laps at 5 Hz."""
    track, begin = val_sarine(), STARTED_AT_MS
    told = facts(track, session_id=name, user_id=name, driver=name, started_at_ms=begin, rate_hz=5)
    told.track = "spa"
    yield name.encode(), TelemetryMessage(session=told, session_id=name).SerializeToString()
    frames = islice(drive(track, seed=seed, started_at_ms=begin, rate_hz=5), FRAMES_DRIVEN)
    for sequence, frame in enumerate(frames, 1):
        frame.sequence = sequence
        yield name.encode(), frame.SerializeToString()


def test_quick_commands_are_documented() -> None:
    documented = [one for snippet in commands() for one in words(snippet.text)]
    named = [one[1:] if one[0].endswith("purple-sector") else one for one in documented]
    assert [one for one in QUICK if one not in named] == []


def test_quick_commands_run(kafka: Broker | Elsewhere, database: Database, tmp_path: Path) -> None:
    mine = uuid.uuid4().hex
    own = {f"KAFKA_TOPIC_{name}": f"{name}-{mine}" for name in ("TELEMETRY", "COMMANDS", "LAPS")}
    own |= {"KAFKA_BROKERS": kafka.brokers, "DATABASE_URL": database.url}
    own |= {"PURPLE_SECTOR_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    failed = {}
    for arguments in QUICK:
        done = subprocess.run(
            [sys.executable, "-m", "serve.cli.main", *arguments],
            cwd=tmp_path,
            env=os.environ | own,
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
        )
        if done.returncode:
            failed[" ".join(arguments)] = done.stdout + done.stderr
    assert failed == {}


@pytest.mark.parametrize("block", blocks_in("python"), ids=lambda block: block.place)
def test_documented_python_runs(
    store: str, block: Snippet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", store)
    names: dict[str, object] = {}
    with redirect_stdout(io.StringIO()) as printed:
        exec(compile(block.text, block.page, "exec"), names)
    names.pop("catalog").close()  # type: ignore[attr-defined]
    assert "delta" in names or "alice" in printed.getvalue()
