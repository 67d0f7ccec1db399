"""Gives many partitions their turns on a few threads, each with a connection to the database.

A partition with nothing to do costs nothing. A thread and its connection begin when all others are
busy, and end when they were not needed for a minute.
"""

import math
import threading
import time
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import structlog

from ingest.codec.record_headers import HeaderReader
from ingest.settings import DatabaseSettings, KafkaSettings
from ingest.store.connection import StoreConnection
from ingest.store.partition_writer import SHARED_CONNECTION
from ingest.workers.schedule import Schedule

log = structlog.get_logger()

_SLOW_S = 1.0
_IDLE_S = 60.0


class Tools:
    """Holds what one turn uses at a time: a connection, and a reader of headers."""

    def __init__(
        self,
        kafka: KafkaSettings,
        database: DatabaseSettings,
        application: str = SHARED_CONNECTION,
    ) -> None:
        self.store = StoreConnection(database, application)
        self.headers = HeaderReader(kafka)

    def close(self) -> None:
        """Close what is open."""
        self.store.close()
        self.headers.close()


class Task(Protocol):
    """Describes what has turns."""

    @property
    def failing(self) -> bool:
        """Return whether the last turn failed."""

    def turn(self, tools: Tools) -> float | None:
        """Do what is due. Return the time of the next turn; None if there is none."""

    def leave(self) -> None:
        """Give back what it holds. Called once, after its last turn, and does not wait."""

    def __hash__(self) -> int: ...


K = TypeVar("K", bound=Task)


class Lanes(Generic[K]):
    """Threads for the turns of tasks: at most ``most``, and half of them for slow tasks."""

    def __init__(self, make_tools: Callable[[], Tools], *, most: int) -> None:
        self._make_tools = make_tools
        self._most = most
        self._lock = threading.Lock()
        self._schedule: Schedule[K] = Schedule(most_slow=max(1, most // 2))
        self._lanes: list[_Lane] = []
        self._idle: list[_Lane] = []
        self._watch: _Lane | None = None  # the one that waits for the next turn's time
        self._watches_until = math.inf
        self._stopping = False

    def add(self, task: K) -> None:
        """Give a task its first turn now."""
        with self._lock:
            self._schedule.add(task, time.monotonic())
            self._look_up()

    def remove(self, task: K) -> None:
        """Give a task no further turn. Does not wait for one that is under way."""
        with self._lock:
            had_turn, waits = self._schedule.has_turn(task), task in self._schedule
            self._schedule.remove(task)
        if waits and not had_turn:
            task.leave()

    def has(self, task: K) -> bool:
        """Return whether the task has further turns."""
        with self._lock:
            return task in self._schedule

    def wake(self, task: K, at: float) -> None:
        """Give a task its next turn no later than ``at``."""
        with self._lock:
            if self._schedule.no_later_than(task, at):
                self._look_up()

    def stop(self, within_s: float) -> None:
        """End all threads after their turns; wait for them so long."""
        deadline = time.monotonic() + within_s
        with self._lock:
            self._stopping = True
            lanes = list(self._lanes)
            for lane in lanes:
                lane.wake.notify()
        for lane in lanes:
            lane.thread.join(max(0.0, deadline - time.monotonic()))

    def _look_up(self) -> None:
        """Have the time of the next turn watched from now on."""
        if self._watch is not None:
            self._watch.wake.notify()
        elif self._idle:
            self._watch = self._idle.pop()
            self._watch.wake.notify()
        elif len(self._lanes) < self._most and not self._stopping:
            self._lanes.append(_Lane(self._lock, self._serve))

    def _serve(self, lane: "_Lane") -> None:
        tools = self._make_tools()
        try:
            while (task := self._next(lane)) is not None:
                self._give_turn(task, tools)
        finally:
            with self._lock:
                self._lanes.remove(lane)
            tools.close()

    def _give_turn(self, task: K, tools: Tools) -> None:
        began_at = time.monotonic()
        at: float | None = began_at + _SLOW_S
        try:
            at = task.turn(tools)
        except Exception:
            log.exception("a turn failed")
        finally:
            slow = task.failing or time.monotonic() > began_at + _SLOW_S
            if at is None:
                task.leave()  # before somebody may add it again
            with self._lock:
                stays = self._schedule.done(task, at, slow=slow)
            if not stays and at is not None:
                task.leave()

    def _next(self, lane: "_Lane") -> K | None:
        """Wait for a task whose turn it is; None if the thread is to end."""
        with self._lock:
            while not self._stopping:
                task = self._schedule.take(now=time.monotonic())
                if task is not None:
                    self._take_leave(lane)
                    return task
                if self._watch in (None, lane):
                    self._watch = lane
                    self._watches_until = self._schedule.next_at()
                    left_s = self._watches_until - time.monotonic()
                    lane.wake.wait(None if left_s == math.inf else max(0.0, left_s))
                elif not self._wait_idle(lane):
                    return None
            return None

    def _take_leave(self, lane: "_Lane") -> None:
        """Leave the watch to another thread, if there is one or may be."""
        if self._watch is lane:
            self._watch = None
        if self._watch is None and self._schedule.next_at() < math.inf:
            self._look_up()

    def _wait_idle(self, lane: "_Lane") -> bool:
        """Wait to be needed; return whether that was within a minute."""
        if self._watch is not None and self._schedule.next_at() < self._watches_until:
            self._watch.wake.notify()  # it does not know the next turn of this lane's last task
        self._idle.append(lane)
        lane.wake.wait(_IDLE_S)
        if lane in self._idle:
            self._idle.remove(lane)
            return self._stopping
        return True


class _Lane:
    """A thread, and the condition that wakes it."""

    def __init__(self, lock: threading.Lock, serve: Callable[["_Lane"], None]) -> None:
        self.wake = threading.Condition(lock)
        self.thread = threading.Thread(target=serve, args=[self], name="ingest lane", daemon=True)
        self.thread.start()
