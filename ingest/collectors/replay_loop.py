"""Runs the replay loop: takes frames, waits until each is due and sends it, until the end or a
stop.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

from ingest.collectors.delivery.statistics import Statistics
from ingest.collectors.pacing import Pace
from ingest.telemetry_pb2 import TelemetryFrame

#: The longest wait before the loop checks again whether to stop. An acknowledgement may also wait
#: unread this long.
STEP_S = 0.1


class Destination(Protocol):
    """Interface of the destination of frames; a Sender implements it."""

    @property
    def has_room(self) -> bool:
        """Return whether the next frame is taken without a wait."""

    @property
    def statistics(self) -> Statistics:
        """Return the counts so far."""

    def send(self, frame: TelemetryFrame) -> None:
        """Send a frame with the next sequence."""

    def poll(self, timeout_s: float) -> None:
        """Produce what is due; wait at most ``timeout_s``."""


def collect(
    frames: Iterable[TelemetryFrame],
    sender: Destination,
    *,
    speed: float = 1.0,
    stop: Callable[[], bool],
    pace: Pace | None = None,
    report: Callable[[Statistics], None] = lambda _: None,
    report_every_s: float = 10.0,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Send the frames, ``speed`` times as fast as they were driven (0: as fast as possible), until
    ``stop()``.

    ``pace`` gives the due time of each frame, instead of ``speed``. By default the first frame is
    due as soon as it is there. Frames whose time is over when this begins are late, and go out
    without a wait. ``report`` gets the statistics every ``report_every_s`` and at the end. The
    sender stays open: close it to wait for the records that are in flight.
    """
    report_at = clock() + report_every_s
    for frame in frames:
        pace = pace or Pace(frame.timestamp, clock(), speed)
        _await_turn(frame, pace, sender, stop=stop, clock=clock, sleep=sleep)
        if stop():
            break
        sender.send(frame)
        if clock() >= report_at:
            report(sender.statistics)
            report_at = clock() + report_every_s
    report(sender.statistics)


def _await_turn(
    frame: TelemetryFrame,
    pace: Pace,
    sender: Destination,
    *,
    stop: Callable[[], bool],
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> None:
    while not stop() and (wait_s := pace.wait_s(frame.timestamp, now=clock())) > 0:
        sender.poll(0)
        sleep(min(wait_s, STEP_S))
    while not stop() and not sender.has_room:
        sender.poll(STEP_S)


@contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
    """Make ``stop()`` true at the first Ctrl-C or SIGTERM; a second one acts as ever.

    Use it as ``with stop_on_signals() as stop:``. It works only in the main thread, as Python's
    signals do.
    """
    requested = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def request_stop(_: int, __: FrameType | None) -> None:
        requested.set()
        restore()

    for number in before:
        signal.signal(number, request_stop)
    try:
        yield requested.is_set
    finally:
        restore()
