"""Restarts the broker, the database and the Ray of this machine when they end unexpectedly.

Rule: the services that this command started run as long as the command. A failed start is retried
for ever, because a full disk may get room later. A stop of the command cancels a start in progress.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from ingest.backoff import Backoff
from ingest.cancellation import Cancelled, never
from ingest.errors import PurpleSectorError

_LOOK_EVERY_S = 0.2
_RETRY = Backoff(first_s=1.0, longest_s=30.0)


class Service(Protocol):
    """A service that can start again in its own place."""

    @property
    def running(self) -> bool:
        """Return whether its process runs."""

    def restart(self, *, cancelled: Cancelled) -> None:
        """Start it on the same port and data. Raises PurpleSectorError, also soon after it is
        ``cancelled``.
        """


@dataclass(slots=True)
class ServiceWatch:
    """A watched service, with the times of its end and its next start. Times are in seconds of any
    steady clock.
    """

    name: str
    service: Service
    cancelled: Cancelled = never
    down_since_s: float | None = None
    next_start_s: float = 0.0
    failures: int = 0

    def step(self, clock: Callable[[], float], report: Callable[[str], None]) -> None:
        """Check the service, and start it if it is down and its pause is over."""
        if self.service.running:
            return
        if self.down_since_s is None:
            self.down_since_s = clock()
            report(f"{self.name} has ended by itself, and is started again")
        if clock() >= self.next_start_s:
            self._start(clock, report)

    def _start(self, clock: Callable[[], float], report: Callable[[str], None]) -> None:
        try:
            self.service.restart(cancelled=self.cancelled)
        except (PurpleSectorError, OSError) as error:
            if not self.cancelled():
                self._put_off(error, clock(), report)
            return
        assert self.down_since_s is not None
        down_s = clock() - self.down_since_s
        report(f"{self.name} is back on its port and data, after {down_s:.1f} s")
        self.down_since_s, self.next_start_s, self.failures = None, 0.0, 0

    def _put_off(self, error: Exception, now_s: float, report: Callable[[str], None]) -> None:
        self.failures += 1
        self.next_start_s = now_s + _RETRY.pause_s(self.failures)
        if self.failures == 1:
            report(f"{self.name} does not start, and is tried until it does: {error}")


@contextmanager
def supervised(services: Mapping[str, Service], report: Callable[[str], None]) -> Iterator[None]:
    """Watch the running ``services`` until the block is left, in a thread for each. These threads
    call ``report``.
    """
    over = threading.Event()
    threads = [_watcher(name, service, over, report) for name, service in services.items()]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            # a start in progress is cancelled first, so that nothing starts after a stop
            thread.join()


def _watcher(
    name: str, service: Service, over: threading.Event, report: Callable[[str], None]
) -> threading.Thread:
    watch = ServiceWatch(name, service, over.is_set)
    return threading.Thread(
        target=_watch, args=(watch, over, report), name=f"watch-{name}", daemon=True
    )


def _watch(watch: ServiceWatch, over: threading.Event, report: Callable[[str], None]) -> None:
    while not over.wait(_LOOK_EVERY_S):
        watch.step(time.monotonic, report)
