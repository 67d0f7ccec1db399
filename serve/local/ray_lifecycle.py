"""Restarts the Ray of `up`, together with ingest and the page on it, when it ends.

Ray restarts its workers, replicas and proxies itself. On one machine it does not outlive its
control store (GCS) or its raylet. A driver whose GCS is gone ends its whole process after a minute.
`RayLifecycle` detects within a second that one of the two has ended. It then starts everything
again. Where Ray does not start, it retries with backoff, for ever. Meanwhile nothing answers on the
page's port, because Ray hosts the page; the events are reported. Ingest resumes from the offsets in
the store, and the page returns on its port.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import psutil

from ingest.cancellation import Cancelled, never
from ingest.errors import PurpleSectorError
from serve.local.shutdown_signal import ShutdownSignal
from serve.local.supervision import ServiceWatch

#: Without these processes Ray does not work, and Ray does not restart them.
ESSENTIAL = ("gcs_server", "raylet")

Services = Callable[[], AbstractContextManager[Any]]


class RayLifecycle:
    """Runs Ray and the services on it. Enter `ray`, then `services`; call `keep_up` regularly from
    the same thread.
    """

    def __init__(
        self,
        start_ray: Callable[[], AbstractContextManager[Any]],
        report: Callable[[str], None],
        shutdown: ShutdownSignal,
    ) -> None:
        self._start_ray = start_ray
        self._report, self._shutdown = report, shutdown
        self._ray, self._services = ExitStack(), ExitStack()
        self._make: Services | None = None
        self._essential: list[psutil.Process] = []
        self._watch = ServiceWatch("Ray with ingest and the page", self)

    @property
    def running(self) -> bool:
        """Return whether Ray was started and its essential processes still run."""
        return bool(self._essential) and all(_is_there(process) for process in self._essential)

    @contextmanager
    def ray(self) -> Iterator[None]:
        """Start Ray. On leaving, stop the Ray that runs by then."""
        with self._ray:
            self._enter_ray()
            yield

    @contextmanager
    def services(self, make: Services) -> Iterator[None]:
        """Enter ``make()``, again after each restart of Ray."""
        self._make = make
        with self._services:
            self._services.enter_context(make())
            yield

    def keep_up(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start Ray and the services again if Ray has ended and the pause after a failed start is
        over.

        Raises KeyboardInterrupt where the shutdown signal comes meanwhile. By then it has left the
        contexts that it entered.
        """
        self._watch.step(clock, self._report)

    def restart(self, *, cancelled: Cancelled = never) -> None:
        """End the rest of Ray, and start Ray and the services. Raises PurpleSectorError, with
        nothing left running.
        """
        self._end()
        try:
            with self._shutdown.interrupting():
                self._enter_ray()
                if self._make:
                    self._services.enter_context(self._make())
        except Exception as error:  # exceptions of Ray and Serve have no narrower type
            self._end()
            if isinstance(error, PurpleSectorError):
                raise
            raise PurpleSectorError(str(error).partition("\n")[0] or repr(error)) from error

    def _end(self) -> None:
        with self._ray:  # left after the services
            self._services.close()
        self._essential = []

    def _enter_ray(self) -> None:
        self._ray.enter_context(self._start_ray())
        children = psutil.Process().children(recursive=True)
        self._essential = [_first(children, name) for name in ESSENTIAL]


def _first(children: list[psutil.Process], name: str) -> psutil.Process:
    for child in children:
        try:
            if child.name() == name:
                return child
        except psutil.NoSuchProcess:
            continue
    raise PurpleSectorError(f"Ray's {name} ended while starting")


def _is_there(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
