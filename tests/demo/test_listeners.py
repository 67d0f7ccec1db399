"""Nobody else runs code here: what the running system listens on, and who is let in."""

import os
import subprocess
import sys
from pathlib import Path

import psutil

from serve.local.listeners import listening

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
    """Without the token, and with another one."""
    (gcs,) = [one for one in listening(psutil.Process(demo.pid)) if "gcs_server" in one.command]
    address = f"127.0.0.1:{gcs.port}"
    bare = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    for wrong in (
        {"RAY_AUTH_MODE": "disabled"},
        {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64},
    ):
        refused = subprocess.run(
            [sys.executable, "-c", JOIN, address],
            env=bare | wrong | {"RAY_NUM_REDIS_GET_RETRIES": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert refused.returncode != 0
        assert "joined" not in refused.stdout


def test_the_token_is_in_no_command_line_and_no_environment(demo):
    """Both can be listed on the machine; the token's file is its user's alone."""
    processes = [psutil.Process(demo.pid), *psutil.Process(demo.pid).children(recursive=True)]
    (token_file,) = {
        path for one in processes if (path := environment(one).get("RAY_AUTH_TOKEN_PATH"))
    }
    token = Path(token_file).read_text()

    for one in processes:
        assert token not in environment(one).values()
        assert not any(token in argument for argument in one.cmdline())
    assert Path(token_file).stat().st_mode & 0o777 == 0o600


def environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return {}
