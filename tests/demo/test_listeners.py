"""Nobody else runs code here: what the running system listens on, and who is let in."""

import os
import subprocess
import sys
from pathlib import Path

import psutil

from serve.local.listeners import ListeningSocket, listening
from tests.demo.conftest import HOST
from tests.waiting import WITHIN_S, wait_until

JOIN = """
import sys, ray
ray.init(address=sys.argv[1], logging_level="error")
print("joined", ray.get(ray.remote(lambda: 1).remote()))
"""
LOOK = """
import sys
from ray._raylet import GcsClient
print("seen", GcsClient(address=sys.argv[1]).internal_kv_keys(b"", None, timeout=60))
"""


def test_nothing_is_open_to_other_machines(demo):
    assert_closed_to_others(demo.pid)


def assert_closed_to_others(pid: int) -> None:
    """Nothing of a running system listens beyond the loopback."""
    found = wait_until(lambda: with_haproxy(pid), "HAProxy")

    assert any("gcs_server" in one.command for one in found)
    assert [one for one in found if not one.on_loopback] == []


def with_haproxy(pid: int) -> list[ListeningSocket]:
    """All listeners, and none while HAProxy is being replaced."""
    found = listening(psutil.Process(pid))
    return found if any("haproxy" in one.command for one in found) else []


def test_haproxy_alone_listens_where_the_setting_wants_it(demo):
    """Whoever reached a replica there would get around TLS and the limits by address."""
    found = wait_until(lambda: with_haproxy(demo.pid), "HAProxy")

    (page,) = [one for one in found if one.host == HOST]
    assert "haproxy" in page.command
    assert any("ServeReplica" in one.command for one in found)


def test_ray_runs_nothing_that_nobody_uses(demo):
    """Each of them takes most of a second of CPU at a start, and two of them listen."""
    lines = [" ".join(one.cmdline()) for one in psutil.Process(demo.pid).children(recursive=True)]

    assert any("gcs_server" in line for line in lines)
    unused = ("dashboard.py", "autoscaler/_private/monitor.py", "log_monitor.py")
    assert [line for line in lines for name in unused if name in line] == []


def test_a_stranger_runs_no_code(demo):
    """Without the token, and with another one; with the token the same lines do run."""
    said = answers(demo.pid, JOIN)

    assert "joined 1" in said["right"].stdout, said["right"].stderr
    for name in ("without", "wrong"):
        assert said[name].returncode != 0
        assert "joined" not in said[name].stdout
        assert "token authentication" in said[name].stderr


def assert_lets_nobody_look(pid: int) -> None:
    """Ray's control store, which whoever joins asks first, answers nobody without its token."""
    said = answers(pid, LOOK)

    assert "seen" in said["right"].stdout, said["right"].stderr
    for name in ("without", "wrong"):
        assert said[name].returncode != 0
        assert "seen" not in said[name].stdout
        assert "InvalidAuthToken" in said[name].stderr


def answers(pid: int, lines: str) -> dict[str, "subprocess.CompletedProcess[str]"]:
    """What the lines say of this Ray: without a token, with a wrong and with the right one."""
    (gcs,) = [one for one in listening(psutil.Process(pid)) if "gcs_server" in one.command]
    given = {
        "without": {"RAY_AUTH_MODE": "disabled"},
        "wrong": {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64},
        "right": {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": token_file(processes_of(pid))},
    }
    running = {name: run(lines, gcs.port, **more) for name, more in given.items()}
    return {
        name: subprocess.CompletedProcess(name, *_ended(process))
        for name, process in running.items()
    }


def _ended(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    said, errors = process.communicate(timeout=WITHIN_S)
    return process.returncode, said, errors


def run(lines: str, port: int, **environment: str) -> "subprocess.Popen[str]":
    """A driver that wants something there.

    Without the second variable Ray makes the machine's address of 127.0.0.1, where nobody listens.
    """
    bare = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return subprocess.Popen(
        [sys.executable, "-c", lines, f"127.0.0.1:{port}"],
        env=bare | {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_token_is_in_no_command_line_environment_or_log(demo):
    assert_token_is_hidden(demo.pid)


def assert_token_is_hidden(pid: int) -> None:
    """The first two can be listed on the machine; the token's file is its user's alone."""
    processes = processes_of(pid)
    path = token_file(processes)
    token = Path(path).read_text()

    for one in processes:
        assert token not in environment(one).values()
        assert not any(token in argument for argument in one.cmdline())
    assert Path(path).stat().st_mode & 0o777 == 0o600
    logs = [*Path(path).parent.rglob("*.log"), *Path(path).parent.rglob("*.out")]
    assert any(one.name == "gcs_server.out" for one in logs)
    assert [one for one in logs if token.encode() in one.read_bytes()] == []


def processes_of(pid: int) -> list[psutil.Process]:
    return [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]


def token_file(processes: list[psutil.Process]) -> str:
    (path,) = {path for one in processes if (path := environment(one).get("RAY_AUTH_TOKEN_PATH"))}
    return path


def environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return {}
