"""A Ray cluster of several nodes on this machine: each is a `ray start`, as it would be on a
machine of its own.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from ingest.embedded.process import free_ports
from serve.bridge.ray_environment import serve_environment
from tests.waiting import WITHIN_S, wait_until

_RAY = str(Path(sys.executable).with_name("ray"))
# Ray gives a node 30 s to start; on a busy machine that may be too little.
_TRIES = 4


class Node:
    """All that one ``ray start`` has started."""

    def __init__(
        self, name: str, arguments: list[str], folder: Path, environment: dict[str, str]
    ) -> None:
        node_manager, object_manager = free_ports(2)
        given = {
            "node-name": name,
            "node-manager-port": node_manager,
            "object-manager-port": object_manager,
            "object-store-memory": 80 * 2**20,
            # Zero: any that is free. By default they are the same for all nodes.
            "dashboard-agent-listen-port": 0,
            "min-worker-port": 0,
            "max-worker-port": 0,
        }
        self._output = folder / f"{name}.log"
        with self._output.open("wb") as output:
            self._ray = subprocess.Popen(
                [
                    _RAY,
                    "start",
                    "--block",
                    *arguments,
                    *(f"--{option}={value}" for option, value in given.items()),
                ],
                env=environment,
                stdout=output,
                stderr=output,
                cwd=folder,
            )

    def starts(self) -> bool:
        """Wait until it has, or has not."""
        wait_until(
            lambda: "Ray runtime started" in self._said() or self._ray.poll() is not None,
            "a node of Ray",
        )
        return self._ray.poll() is None

    def workers(self) -> dict[int, str]:
        """What its workers call themselves, by process: Ray names each after what it is, or does at
        the moment.
        """
        named = {}
        for process in self._processes():
            with suppress(psutil.Error):  # it has just ended
                named[process.pid] = " ".join(process.cmdline()[:1])
        return {pid: title for pid, title in named.items() if title.startswith("ray::")}

    def named(self, name: str) -> list[psutil.Process]:
        """Its processes of that name."""
        return [process for process in self._processes() if process.name() == name]

    def arguments(self) -> list[str]:
        """What the command lines of all its processes have."""
        found: list[str] = []
        for process in self._processes():
            with suppress(psutil.Error):  # it has just ended
                found += process.cmdline()
        return found

    def environments(self) -> list[str]:
        """What the environments of all its processes have."""
        found: list[str] = []
        for process in self._processes():
            with suppress(psutil.Error):  # it has just ended
                found += process.environ().values()
        return found

    def ports(self) -> list[int]:
        """The TCP ports that its processes listen on."""
        found: list[int] = []
        for process in self._processes():
            with suppress(psutil.Error):  # it has just ended
                found += [
                    socket.laddr.port
                    for socket in process.net_connections("tcp")
                    if socket.status == psutil.CONN_LISTEN
                ]
        return found

    def kill(self) -> None:
        """As if the power went: SIGKILL to every process of it."""
        processes = self._processes()
        for process in processes:
            process.kill()
        psutil.wait_procs(processes)
        self._ray.wait()

    def _processes(self) -> list[psutil.Process]:
        if self._ray.poll() is not None:
            return []
        ray = psutil.Process(self._ray.pid)
        return [ray, *ray.children(recursive=True)]

    def _said(self) -> str:
        return self._output.read_text()


class Cluster:
    """A head that does no work, as cluster.yaml has it, and the nodes that are added.

    ``environment`` is that of a user at the head: whose commands find this cluster and no other Ray
    of this machine. ``folder`` has the files of all ``nodes``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Nodes find one another by the machine's address, which a Ray of this process's own does
        # without.
        self._environment = (
            os.environ | serve_environment(folder) | {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1"}
        )
        self.nodes: list[Node] = []
        port, of_clients = free_ports(2)
        self.address = f"127.0.0.1:{port}"
        self.environment = self._environment | {
            "RAY_ADDRESS": self.address,
            "PURPLE_SECTOR_HOME": str(folder),
        }
        head = [
            "--head",
            f"--port={port}",
            f"--ray-client-server-port={of_clients}",
            f"--temp-dir={folder}",
        ]
        head += ["--include-dashboard=false", "--num-cpus=0"]
        self._start("head", head)

    def add(self, name: str) -> Node:
        """A node with one CPU, when it belongs to the cluster."""
        return self._start(name, [f"--address={self.address}", "--num-cpus=1"])

    def stop(self) -> None:
        for node in reversed(self.nodes):
            node.kill()

    def _start(self, name: str, arguments: list[str]) -> Node:
        for _ in range(_TRIES):
            node = Node(name, arguments, self.folder, self._environment)
            self.nodes.append(node)
            if node.starts():
                return node
        raise AssertionError(f"{name} did not start: {(self.folder / f'{name}.log').read_text()}")


@contextmanager
def run_cluster() -> Iterator[Cluster]:
    """A cluster for as long as the block lasts."""
    # Ray's sockets lie below this folder, and a socket's path has at most 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="ps-"))
    cluster = None
    try:
        cluster = Cluster(folder)
        yield cluster
    finally:
        if cluster:
            cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


def purple_sector(*arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """The command, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "serve.cli.main", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
    )
