"""Runs a service as a child process: its log file, its readiness, and its stop.

Knows no Kafka and no PostgreSQL. Each process has a session of its own, so Ctrl-C in a terminal
reaches us and not it. A guardian (`ingest.embedded.guardian`) ends it when we end for any reason.
Works on Linux and macOS.

Rule: a process started here is stopped here, by its own process id and never by a name.
"""

import contextlib
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ingest.cancellation import Cancelled, never
from ingest.errors import PurpleSectorError

_GUARDIAN = Path(__file__).with_name("guardian.py")

# Above those of Ray's workers, below those of outgoing connections on Linux (32,768) and macOS
# (49,152).
_LISTENING_PORTS = (20_000, 32_768)
_PORTS_TRIED = 100
# Not the shared generator. Processes that seed it alike (property tests do) would get the same
# ports.
_SYSTEM_RANDOM = random.SystemRandom()


class ServiceUnavailable(PurpleSectorError):
    """A service is not available or did not start. ``log_file``, if there is one, has its own
    messages.
    """

    def __init__(self, service: str, reason: str, log_file: Path | None = None) -> None:
        super().__init__(f"{service}: {reason}" + (f"; its log is {log_file}" if log_file else ""))
        self.service = service
        self.reason = reason
        self.log_file = log_file


@dataclass(frozen=True, slots=True)
class Step:
    """Current step of a service that somebody waits for. Only fetching has sizes."""

    service: str
    doing: str
    done_bytes: int = 0
    total_bytes: int = 0

    def __str__(self) -> str:
        size = (
            f" {self.done_bytes / 1e6:.0f} of {self.total_bytes / 1e6:.0f} MB"
            if self.total_bytes
            else ""
        )
        return f"{self.service}: {self.doing}{size}"


Progress = Callable[[Step], None]


def quiet(step: Step) -> None:
    """Ignore progress."""


def free_ports(count: int) -> list[int]:
    """Return different TCP ports of the loopback that nobody listens on, by requesting each from
    the kernel.

    They are below those that the kernel gives to outgoing connections. Any connection can take one
    of those in the seconds until a service binds it.
    """
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            _bind_somewhere(probe)
        return [int(probe.getsockname()[1]) for probe in probes]


def _bind_somewhere(probe: socket.socket) -> None:
    for port in _SYSTEM_RANDOM.sample(range(*_LISTENING_PORTS), _PORTS_TRIED):
        with contextlib.suppress(OSError):
            return probe.bind(("127.0.0.1", port))
    return probe.bind(("127.0.0.1", 0))


def free_port() -> int:
    """Return one of `free_ports`."""
    return free_ports(1)[0]


@dataclass(frozen=True, slots=True)
class User:
    """User and group ids that a process runs as."""

    uid: int
    gid: int


class Process:
    """One running service process. ``pid`` is the service's own; its guardian is our child."""

    def __init__(
        self, name: str, pid: int, guardian: "subprocess.Popen[str]", log_file: Path
    ) -> None:
        self.name = name
        self.pid = pid
        self.log_file = log_file
        self._guardian = guardian

    @classmethod
    def start(
        cls,
        name: str,
        command: Sequence[str],
        *,
        log_file: Path,
        user: User | None = None,
        folder: Path = Path("/"),
        environment: Mapping[str, str] | None = None,
    ) -> Self:
        """Start ``command`` in ``folder`` and append its output to ``log_file``. Returns before it
        is ready.
        """
        run_as = ("-", "-") if user is None else (str(user.uid), str(user.gid))
        with log_file.open("ab") as log:
            guardian = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_GUARDIAN), *run_as, *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=folder,
                env=environment,
                start_new_session=True,
            )
        assert guardian.stdout is not None
        with guardian.stdout as answer:
            pid = answer.readline()
        process = cls(name, int(pid or 0), guardian, log_file)
        if not pid:
            process.wait(5.0)
            raise process.failure(f"{command[0]} could not be run")
        return process

    @property
    def running(self) -> bool:
        """Return whether the service, or any process that it started, is still there."""
        return self._guardian.poll() is None

    def stop(self, polite: signal.Signals = signal.SIGTERM, *, patience_s: float = 20.0) -> bool:
        """End it by ``polite``, by SIGKILL after ``patience_s``; return when none of its processes
        is left.

        Returns True if it ended without being killed.
        """
        self._send(polite)
        if self.wait(patience_s):
            return True
        self.kill()
        return False

    def kill(self) -> None:
        """SIGKILL it and all that it started, as a crash would; return when none of its processes
        is left.
        """
        self._send(signal.SIGKILL)
        self._guardian.wait()
        self._close()

    def wait(self, patience_s: float) -> bool:
        """Return whether it ended on its own within ``patience_s``."""
        try:
            self._guardian.wait(patience_s)
        except subprocess.TimeoutExpired:
            return False
        self._close()
        return True

    def await_ready(
        self,
        answers: Callable[[], bool],
        *,
        deadline_s: float,
        progress: Progress = quiet,
        cancelled: Cancelled = never,
    ) -> None:
        """Call ``answers`` until it returns True.

        Raises ServiceUnavailable, with no process left running, if the service ends, the deadline
        passes or it is cancelled.
        """
        progress(Step(self.name, "starting"))
        gives_up_at = time.monotonic() + deadline_s
        try:
            while not answers():
                self._check_start(cancelled)
                if time.monotonic() > gives_up_at:
                    raise self.failure(f"gave no answer for {deadline_s:.0f} s")
                time.sleep(0.02)
        except BaseException:
            self.kill()
            raise
        progress(Step(self.name, "ready"))

    def _check_start(self, cancelled: Cancelled) -> None:
        if not self.running:
            raise self.failure(f"ended while starting (status {self._guardian.returncode})")
        if cancelled():
            raise self.failure("was stopped while starting")

    def failure(self, reason: str) -> ServiceUnavailable:
        """Build the error for ``reason``, with the last lines that the service logged."""
        lines = (
            self.log_file.read_text(errors="replace").splitlines()[-3:]
            if self.log_file.exists()
            else []
        )
        return ServiceUnavailable(self.name, " | ".join([reason, *lines]), self.log_file)

    def _send(self, number: signal.Signals) -> None:
        pipe = self._guardian.stdin
        # A guardian that is just ending no longer reads. Then there is no process left to signal.
        with contextlib.suppress(BrokenPipeError, ValueError):
            if pipe is not None:
                print(int(number), file=pipe, flush=True)

    def _close(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            if self._guardian.stdin is not None:
                self._guardian.stdin.close()
