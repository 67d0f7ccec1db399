"""Commands where the modules are missing that only POSIX systems have, as under Windows."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from ingest.collectors.simulator.circuit import val_sarine
from ingest.simulated_recordings import record
from tests.paths import ROOT

# The spool's lock has a way of its own under Windows, by `msvcrt`; it is loaded before the modules
# go.
_WITHOUT_POSIX = """
import sys
import ingest.collectors.spool.atomic_files, analytics.fleet.batch
sys.modules.update(dict.fromkeys(("fcntl", "grp", "pwd", "resource", "termios")))
from serve.cli.main import main
main()
"""


def _run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environ = os.environ | {
        "PURPLE_SECTOR_HOME": str(folder),
        # No service has port 1.
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
    }
    command = [sys.executable, "-c", _WITHOUT_POSIX, *arguments]
    root = ROOT
    return subprocess.run(
        command,
        cwd=folder,
        env=environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_commands_of_linux_state_what_runs_here(tmp_path: Path) -> None:
    """No package brings fcntl, so none is recommended."""
    stint = tmp_path / "stint.parquet"
    start = datetime(2026, 5, 1, tzinfo=UTC)
    record(stint, val_sarine(), seed=1, laps=1, started_at=start, rate_hz=5)

    for arguments in (("demo",), ("up",), ("laps", "fleet", "results", "stint.parquet")):
        done = _run(tmp_path, *arguments)

        assert done.returncode == 1, arguments
        assert "this command runs on Linux and macOS only, and on Windows in WSL 2" in done.stderr
        assert "pip install" not in done.stderr
        assert "Traceback" not in done.stderr


def test_commands_that_are_recommended_do_run(tmp_path: Path) -> None:
    """Export gets as far as its database, which is not there."""
    done = _run(tmp_path, "export", "session", "stint.csv")

    assert done.returncode == 1
    assert "127.0.0.1" in done.stderr
    assert "Linux" not in done.stderr
