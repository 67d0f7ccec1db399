"""The loop of every collector: take a frame, wait until it is due, send it, until the frames end or somebody stops it."""

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

#: The longest wait before looking again whether to stop; also how long an acknowledgement may lie unread.
STEP_S = 0.1


class Destination(Protocol):
    """Where frames go: a Sender."""

    @property
    def has_room(self) -> bool: ...
    @property
    def statistics(self) -> Statistics: ...
    def send(self, frame: TelemetryFrame) -> None: ...
    def poll(self, timeout_s: float) -> None: ...


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
    """Send the frames, ``speed`` times as fast as they were driven (0: as fast as possible), until ``stop()``.

    ``pace`` says when each is due, instead of ``speed``; by default the first is due once it is there. Frames of a time that
    is over when this begins are late, and are sent without a wait.
    ``report`` gets the statistics every ``report_every_s`` and at the end. The sender stays open: close it to wait for
    what is on its way.
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
    """``with stop_on_signals() as stop:`` the first Ctrl-C or SIGTERM makes ``stop()`` true; a second acts as ever.

    For the main thread, as Python's signals are.
    """
    asked = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def ask(_: int, __: FrameType | None) -> None:
        asked.set()
        restore()

    for number in before:
        signal.signal(number, ask)
    try:
        yield asked.is_set
    finally:
        restore()
