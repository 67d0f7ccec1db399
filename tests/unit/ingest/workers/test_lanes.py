"""Turns on a few threads: nobody waits for one who is stuck."""

import threading
import time
from collections.abc import Iterator

import pytest

from ingest.workers.lanes import Lanes
from tests.waiting import WITHIN_S, wait_until


class NoTools:
    """Threads here use no connection."""

    opened, closed = 0, 0

    def __init__(self) -> None:
        type(self).opened += 1

    def close(self) -> None:
        type(self).closed += 1


class Worker:
    """Counts its turns; a stuck one waits in each."""

    def __init__(self, *, every_s: float | None = 0.001, stuck: bool = False) -> None:
        self.turns, self.left = 0, 0
        self.failing = False
        self._every_s = every_s
        self.release = threading.Event()
        if not stuck:
            self.release.set()

    def turn(self, _: object) -> float | None:
        self.turns += 1
        assert self.release.wait(WITHIN_S)
        return None if self._every_s is None else time.monotonic() + self._every_s

    def leave(self) -> None:
        self.left += 1


class Crashes(Worker):
    """Ends each turn with an error that nobody foresaw."""

    def turn(self, tools: object) -> float | None:
        super().turn(tools)
        raise RuntimeError("a bug")


@pytest.fixture
def lanes() -> Iterator[Lanes]:
    NoTools.opened = NoTools.closed = 0
    lanes: Lanes = Lanes(NoTools, most=4)
    yield lanes
    lanes.stop(WITHIN_S)
    assert NoTools.opened == NoTools.closed


def test_many_have_turns_on_few_threads(lanes):
    workers = [Worker() for _ in range(50)]
    for worker in workers:
        lanes.add(worker)
    wait_until(lambda: min(worker.turns for worker in workers) > 5)
    assert NoTools.opened <= 4


@pytest.mark.parametrize("count", [1, 2, 3])
def test_pauses_end_while_nobody_else_has_a_turn(lanes, count):
    """The thread that watches the time began to when all tasks had their turn."""
    workers = [Worker(every_s=0.02) for _ in range(count)]
    for worker in workers:
        lanes.add(worker)
    wait_until(lambda: min(worker.turns for worker in workers) > 20)


def test_stuck_ones_stop_nobody(lanes):
    """Their last turns failed, so they leave half of the threads."""
    stuck, healthy = [Worker() for _ in range(8)], Worker()
    for worker in stuck:
        worker.failing = True
        lanes.add(worker)
    wait_until(lambda: min(worker.turns for worker in stuck) > 1)
    for worker in stuck:
        worker.release.clear()
    lanes.add(healthy)
    wait_until(lambda: healthy.turns > 20)
    for worker in stuck:
        worker.release.set()


def test_who_sleeps_is_woken(lanes):
    worker = Worker(every_s=1_000)
    lanes.add(worker)
    wait_until(lambda: worker.turns == 1)
    for turns in range(2, 20):
        lanes.wake(worker, time.monotonic())
        wait_until(lambda turns=turns: worker.turns == turns)


def test_who_has_ended_leaves_once(lanes):
    worker = Worker(every_s=None)
    lanes.add(worker)
    wait_until(lambda: not lanes.has(worker))
    assert (worker.turns, worker.left) == (1, 1)


def test_removing_waits_for_no_turn(lanes):
    """It leaves after the turn that is under way."""
    worker, sleeper = Worker(stuck=True), Worker(every_s=1_000)
    lanes.add(worker)
    lanes.add(sleeper)
    wait_until(lambda: worker.turns == 1 and sleeper.turns == 1)
    wait_until(lambda: lanes.remove(sleeper) or sleeper.left == 1)
    lanes.remove(worker)
    assert worker.left == 0
    worker.release.set()
    wait_until(lambda: worker.left == 1)
    assert worker.turns == 1


def test_a_bug_ends_no_thread(lanes):
    crashing, healthy = Crashes(), Worker()
    lanes.add(crashing)
    lanes.add(healthy)
    wait_until(lambda: crashing.turns > 1 and healthy.turns > 20)
