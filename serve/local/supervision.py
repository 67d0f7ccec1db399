"""Restarts the broker, the database and the Ray of this machine when they end by themselves.

The rule: what this command started is there while the command runs. A start that fails is tried again, for ever: a full
disk has room one day. A start that is under way when the command is stopped is cancelled.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from ingest.embedded.process import Cancelled, never
from ingest.errors import PurpleSectorError

_LOOK_EVERY_S = 0.2
_LONGEST_PAUSE_S = 30.0


class Service(Protocol):
    """A service with a place of its own, which it is started on again."""

    @property
    def running(self) -> bool:
        """Whether its process is there."""

    def restart(self, *, cancelled: Cancelled) -> None:
        """Start it on the same port and data. Raises PurpleSectorError, soon also where it is ``cancelled`` meanwhile."""


def pause_s(failures: int) -> float:
    """Seconds until the next start after so many starts that failed: none, then 1, 2, 4 and at most 30."""
    # The exponent is bounded too: after 1,025 failures, which is a night, the power would exceed a float.
    return min(2.0 ** min(failures - 1, 10), _LONGEST_PAUSE_S) if failures else 0.0


@dataclass(slots=True)
class ServiceWatch:
    """One service: since when it is down, and when it is started next. Times are in seconds of any steady clock."""

    name: str
    service: Service
    cancelled: Cancelled = never
    down_since_s: float | None = None
    next_start_s: float = 0.0
    failures: int = 0

    def step(self, clock: Callable[[], float], report: Callable[[str], None]) -> None:
        """Look at the service, and start it if it is down and its pause is over."""
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
            if self.cancelled():
                return
            self.failures += 1
            self.next_start_s = clock() + pause_s(self.failures)
            if self.failures == 1:
                report(f"{self.name} does not start, and is tried until it does: {error}")
            return
        assert self.down_since_s is not None
        report(f"{self.name} is back on its port and data, after {clock() - self.down_since_s:.1f} s")
        self.down_since_s, self.next_start_s, self.failures = None, 0.0, 0


@contextmanager
def supervised(services: Mapping[str, Service], report: Callable[[str], None]) -> Iterator[None]:
    """Watch ``services``, which run, in a thread for each until the block is left; ``report`` is called from there."""
    over = threading.Event()
    threads = [
        threading.Thread(
            target=_watch,
            args=(ServiceWatch(name, service, over.is_set), over, report),
            name=f"watch-{name}",
            daemon=True,
        )
        for name, service in services.items()
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()  # a start that is under way is cancelled first, so that nothing is started behind a stop


def _watch(watch: ServiceWatch, over: threading.Event, report: Callable[[str], None]) -> None:
    while not over.wait(_LOOK_EVERY_S):
        watch.step(time.monotonic, report)
