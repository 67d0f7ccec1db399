"""Starts, stops and restarts a service that is one child process in a folder of its own.

Knows no Kafka and no PostgreSQL: a subclass gives the command and checks readiness. Data stay in
the folder, so a service that was stopped or killed can start again on them.
"""

import signal
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

import structlog

from ingest.cancellation import Cancelled, never
from ingest.embedded.process import Process, Progress, ServiceUnavailable, User, quiet

log = structlog.get_logger()


class Stoppable(ABC):
    """Something to stop, which a ``with`` block does at its end."""

    @abstractmethod
    def stop(self) -> None:
        """End it in order."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class EmbeddedService(Stoppable):
    """Runs a server process in ``folder``. Use `start` of a subclass, then `stop`; or a ``with``
    block.

    ``changes`` describes ports that changed since the last start. The process runs as ``user``;
    None is ourselves.
    """

    service: ClassVar[str]
    log_name: ClassVar[str]
    ready_within_s: ClassVar[float]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    stopped_within_s: ClassVar[float] = 20.0

    def __init__(self, folder: Path, *, user: User | None = None) -> None:
        self.folder = folder
        self.changes = ""
        self._user = user
        self._process: Process | None = None

    @property
    def running(self) -> bool:
        """Return whether its process runs: it was not stopped and has not ended."""
        return self._process is not None and self._process.running

    @property
    def pid(self) -> int:
        """Return the server's process id. Raises ServiceUnavailable if it was stopped."""
        if self._process is None:
            raise ServiceUnavailable(self.service, f"the server on {self.folder} is stopped")
        return self._process.pid

    def stop(self) -> None:
        """End it in order, with all that it acknowledged on disk."""
        self._end()

    def kill(self) -> None:
        """End it as a crash would; `restart` recovers."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def restart(self, *, progress: Progress = quiet, cancelled: Cancelled = never) -> None:
        """Start it again on the same port and data, stopping it first if it runs."""
        self._end()
        self._launch(progress, cancelled)

    def _launch(self, progress: Progress, cancelled: Cancelled = never) -> None:
        log_file = self.folder / self.log_name
        process = Process.start(self.service, self._command(), log_file=log_file, user=self._user)
        self._process = process
        process.await_ready(
            self._answers,
            deadline_s=self.ready_within_s,
            progress=progress,
            cancelled=cancelled,
        )
        facts = {"pid": process.pid, "folder": str(self.folder)} | self._facts()
        log.info("service started", service=self.service, **facts)

    def _end(self) -> None:
        if self._process is not None:
            self._process.stop(self.stop_signal, patience_s=self.stopped_within_s)
            self._process = None

    @abstractmethod
    def _command(self) -> Sequence[str]:
        """Prepare the folder for a start, and return the program and its arguments."""

    @abstractmethod
    def _answers(self) -> bool:
        """Return whether it serves clients."""

    @abstractmethod
    def _facts(self) -> dict[str, object]:
        """Return what the log shows of it when it has started."""
