"""The search for secrets finds them, or it would be no guard."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests import canaries
from tests.paths import ROOT

CANARY = "canary-29c7d1e4"
LEAK = f'''
from tests.canaries import secret

def test_leak():
    print("a login by " + secret("{CANARY}"))
'''


@pytest.fixture(autouse=True)
def only_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canaries, "_SECRETS", {CANARY})


def test_file_with_a_secret_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b"\xff password=" + CANARY.encode())
    (tmp_path / "b.log").write_text("nothing")
    files = [*tmp_path.iterdir(), tmp_path / "gone.log"]
    assert canaries.files_with_one(files) == [tmp_path / "a.log"]


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="no /proc here")
def test_command_line_with_a_secret_is_found() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", "input()", CANARY], stdin=subprocess.PIPE
    ) as process:
        try:
            assert canaries.command_lines_with_one() == [process.pid]
        finally:
            process.kill()


def test_test_that_prints_a_secret_fails(tmp_path: Path) -> None:
    (tmp_path / "none.ini").write_text("[pytest]\n")
    (tmp_path / "test_leak.py").write_text(LEAK)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "tests.conftest"]
    command += ["-c", str(tmp_path / "none.ini"), "--rootdir", str(tmp_path), str(tmp_path)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "1 failed" in ran.stdout, ran.stdout + ran.stderr
    assert "a secret of a fixture" in ran.stdout
