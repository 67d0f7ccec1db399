"""Ray of `up`, with ingest and the page on it: they end together, and are started again together.

Ray restarts its workers, its replicas and its proxies itself. What it does not outlive on one machine is its control store (GCS) and
its raylet: a driver whose GCS is gone ends its whole process after a minute. `RayPart` sees within a second that one of the two has
ended, and makes all of it anew. Ingest goes on from what the store says, and the page comes back on its port.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import psutil

#: Without these no Ray works, and nobody restarts them.
ESSENTIAL = ("gcs_server", "raylet")

Services = Callable[[], AbstractContextManager[Any]]


class RayPart:
    """Enter `ray`, then `services` in it; call `keep_up` now and then from the same thread."""

    def __init__(self, start_ray: Callable[[], AbstractContextManager[Any]], report: Callable[[str], None]) -> None:
        self._start_ray = start_ray
        self._report = report
        self._ray, self._services = ExitStack(), ExitStack()
        self._make: Services | None = None
        self._essential: list[psutil.Process] = []

    @property
    def running(self) -> bool:
        """Whether Ray's essential processes are there."""
        return all(_is_there(process) for process in self._essential)

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

    def keep_up(self) -> None:
        """Start Ray and the services again if Ray has ended. Raises PurpleSectorError where it does not start."""
        if self.running:
            return
        gone = ", ".join(
            name for name, process in zip(ESSENTIAL, self._essential, strict=True) if not _is_there(process)
        )
        self._report(f"Ray ended by itself ({gone} is gone); it is started again, with ingest and the page")
        self._services.close()
        self._ray.close()
        self._enter_ray()
        if self._make:
            self._services.enter_context(self._make())
        self._report("ingest and the page are back")

    def _enter_ray(self) -> None:
        self._ray.enter_context(self._start_ray())
        children = psutil.Process().children(recursive=True)
        self._essential = [_first(children, name) for name in ESSENTIAL]


def _first(children: list[psutil.Process], name: str) -> psutil.Process:
    return next(child for child in children if child.name() == name)


def _is_there(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
