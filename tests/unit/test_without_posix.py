"""Commands where the modules are missing that only POSIX systems have, as under Windows."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from ingest.collectors.simulator.circuit import val_sarine
from ingest.simulated_recordings import record
from tests.paths import ROOT

# The spool's lock has a way of its own under Windows, by `msvcrt`; it is loaded before the modules
# go.
_WITHOUT_POSIX = """
import contextlib, io, json, sys
import ingest.collectors.spool.atomic_files, analytics.fleet.batch
sys.modules.update(dict.fromkeys(("fcntl", "grp", "pwd", "resource", "termios")))
from serve.cli.main import main
for line in sys.argv[1:]:
    sys.argv = ["purple-sector", *json.loads(line)]
    code, told = 0, io.StringIO()
    with contextlib.redirect_stderr(told):
        try:
            main()
        except SystemExit as end:
            code = end.code
    print(json.dumps([code, told.getvalue()]))
"""


def _run(folder: Path, *commands: Sequence[str]) -> list[tuple[int, str]]:
    """Exit code and stderr of each command, in one process: its imports take a second of CPU."""
    environ = os.environ | {
        "PURPLE_SECTOR_HOME": str(folder),
        # No service has port 1.
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
    }
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_POSIX, *map(json.dumps, commands)],
        cwd=folder,
        env=environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found = [tuple(json.loads(line)) for line in done.stdout.splitlines()]
    assert len(found) == len(commands)
    return found


def test_commands_state_what_runs_here(tmp_path: Path) -> None:
    """No package brings fcntl, so none is recommended; what is recommended runs."""
    stint = tmp_path / "stint.parquet"
    start = datetime(2026, 5, 1, tzinfo=UTC)
    record(stint, val_sarine(), seed=1, laps=1, started_at=start, rate_hz=5)
    of_linux = (["demo"], ["up"], ["laps", "fleet", "results", "stint.parquet"])

    *done, exported = _run(tmp_path, *of_linux, ["export", "session", "stint.csv"])

    for arguments, (code, told) in zip(of_linux, done, strict=True):
        assert code == 1, arguments
        assert "this command runs on Linux and macOS only, and on Windows in WSL 2" in told
        assert "pip install" not in told
        assert "Traceback" not in told
    # Export gets as far as its database, which is not there.
    assert exported[0] == 1
    assert "127.0.0.1" in exported[1]
    assert "Linux" not in exported[1]
