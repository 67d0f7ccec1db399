"""Ray of `up`, with ingest and the page on it: they end together, and are started again together.

Ray restarts its workers, its replicas and its proxies itself. What it does not outlive on one machine is its control store (GCS) and
its raylet: a driver whose GCS is gone ends its whole process after a minute. `RayLifecycle` sees within a second that one of the two has
ended, and makes all of it anew, with pauses and for ever where Ray does not start. Meanwhile nobody answers on the page's port, for Ray
is its host: what happens is reported. Ingest goes on from what the store says, and the page comes back on its port.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import psutil

from ingest.embedded.process import Cancelled, never
from ingest.errors import PurpleSectorError
from serve.local.shutdown_signal import ShutdownSignal
from serve.local.supervision import ServiceWatch

#: Without these no Ray works, and nobody restarts them.
ESSENTIAL = ("gcs_server", "raylet")

Services = Callable[[], AbstractContextManager[Any]]


class RayLifecycle:
    """Enter `ray`, then `services` in it; call `keep_up` now and then from the same thread."""

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
        """Whether Ray was started, and its essential processes are there."""
        return bool(self._essential) and all(_is_there(process) for process in self._essential)

    @contextmanager
    def ray(self) -> Iterator[None]:
        """Start Ray; on leaving, stop the one that runs by then."""
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
        """Start Ray and the services again if Ray has ended, and the pause after a start that failed is over.

        Raises KeyboardInterrupt, with what was started by then left, where the shutdown signal comes meanwhile.
        """
        self._watch.step(clock, self._report)

    def restart(self, *, cancelled: Cancelled = never) -> None:
        """End what is left of Ray, and start it and the services. Raises PurpleSectorError, with nothing left running."""
        self._end()
        try:
            with self._shutdown.interrupting():
                self._enter_ray()
                if self._make:
                    self._services.enter_context(self._make())
        except Exception as error:  # what Ray and Serve raise has no narrower type
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
