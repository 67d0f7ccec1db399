"""Nobody else runs code here: what the running system listens on, and who is let in."""

import os
import subprocess
import sys
from pathlib import Path

import psutil

from serve.local.listeners import listening
from tests.waiting import WITHIN_S

JOIN = """
import sys, ray
ray.init(address=sys.argv[1], logging_level="error")
print("joined", ray.get(ray.remote(lambda: 1).remote()))
"""


def test_nothing_is_open_to_other_machines(demo):
    found = listening(psutil.Process(demo.pid))

    assert any("gcs_server" in one.command for one in found)
    assert any("haproxy" in one.command for one in found)
    assert [one for one in found if not one.on_loopback] == []


def test_ray_runs_nothing_that_nobody_uses(demo):
    """Each of them takes most of a second of CPU at a start, and two of them listen."""
    lines = [" ".join(one.cmdline()) for one in psutil.Process(demo.pid).children(recursive=True)]

    assert any("gcs_server" in line for line in lines)
    unused = ("dashboard.py", "autoscaler/_private/monitor.py", "log_monitor.py")
    assert [line for line in lines for name in unused if name in line] == []


def test_a_stranger_runs_no_code(demo):
    """Without the token, and with another one; with the token the same lines do run."""
    processes = [psutil.Process(demo.pid), *psutil.Process(demo.pid).children(recursive=True)]
    (gcs,) = [one for one in listening(processes[0]) if "gcs_server" in one.command]
    joining = {
        "without": join(gcs.port, RAY_AUTH_MODE="disabled"),
        "wrong": join(gcs.port, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="0" * 64),
        "right": join(gcs.port, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=token_file(processes)),
    }
    said = {name: one.communicate(timeout=WITHIN_S) for name, one in joining.items()}

    assert "joined 1" in said["right"][0], said["right"][1]
    for name in ("without", "wrong"):
        assert joining[name].returncode != 0
        assert "joined" not in said[name][0]
        assert "token authentication" in said[name][1]


def join(port: int, **environment: str) -> "subprocess.Popen[str]":
    """A driver that wants to run a function there.

    Without the second variable Ray makes the machine's address of 127.0.0.1, where nobody listens.
    """
    bare = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return subprocess.Popen(
        [sys.executable, "-c", JOIN, f"127.0.0.1:{port}"],
        env=bare | {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_token_is_in_no_command_line_and_no_environment(demo):
    """Both can be listed on the machine; the token's file is its user's alone."""
    processes = [psutil.Process(demo.pid), *psutil.Process(demo.pid).children(recursive=True)]
    path = token_file(processes)
    token = Path(path).read_text()

    for one in processes:
        assert token not in environment(one).values()
        assert not any(token in argument for argument in one.cmdline())
    assert Path(path).stat().st_mode & 0o777 == 0o600


def token_file(processes: list[psutil.Process]) -> str:
    (path,) = {path for one in processes if (path := environment(one).get("RAY_AUTH_TOKEN_PATH"))}
    return path


def environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return {}
