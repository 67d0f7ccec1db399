"""Runs the storm: kills by the schedule, waits until the system has recovered, and writes the
ledger.
"""

import itertools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.soak import store
from tests.soak.cars import Car, given, taken
from tests.soak.kinds import STARTED_ANEW, Kind
from tests.soak.ledger import Kill, Ledger
from tests.soak.schedule import Firing, firing
from tests.soak.system import System, describe

QUIET_S = 30.0
_LOOK_EVERY_S = 0.1
_LEFT_WITHIN_S = 10.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What the storm is to do. ``patience_s``: a system that has not recovered by then does not by
    itself.
    """

    seed: int
    kinds: Sequence[Kind]
    minutes: float
    patience_s: float


@dataclass(frozen=True, slots=True)
class Former:
    """The process that was killed, and all of its kind that ran then."""

    pid: int
    of_its_kind: frozenset[psutil.Process]

    def replaced_by(self, now: Iterable[psutil.Process]) -> bool:
        """Whether one of these was started since."""
        return not self.of_its_kind.issuperset(now)


class Storm:
    """A system, its cars, and what is done to them. ``say`` prints a line for a person."""

    def __init__(self, folder: Path, plan: Plan, cars: int, say: Say) -> None:
        self.system = System(folder)
        self.cars = [Car(folder, f"car-{number}") for number in range(1, cars + 1)]
        self.ledger = Ledger(folder / "ledger.jsonl")
        self._plan, self._say = plan, say
        self._brokers = ""

    def start(self) -> None:
        """Start the system and the cars, and wait until frames of each are stored."""
        before = given(self.cars)
        self._begin_drive()
        self._await_recovery(before, self._plan.patience_s)

    def _begin_drive(self) -> None:
        running = self.system.start()
        self._brokers = running.brokers
        for car in self.cars:
            car.start(running)

    def run(self) -> None:
        """Kill until the time is over."""
        began, before_s = time.monotonic(), self.ledger.elapsed_s
        for number in itertools.count(self.ledger.next_number):
            now = firing(self._plan.seed, self._plan.kinds, number)
            time.sleep(now.pause_s)
            t_s = before_s + time.monotonic() - began
            if t_s >= self._plan.minutes * 60:
                return
            self._fire(now, t_s)

    def _fire(self, now: Firing, t_s: float) -> None:
        former = self._strike_in_time(now)
        if former is None:
            self._say(f"{t_s:7.1f} s  {now.kind}: none to kill")
            return
        killed_at = time.monotonic()
        self.ledger.killed(Kill(now.number, round(t_s, 3), self._plan.seed, now.kind, former.pid))
        self._replace(now)
        recovered = self._recovers(now.kind, former, self._plan.patience_s)
        recovered_s = round(time.monotonic() - killed_at, 3) if recovered else None
        left = [describe(process) for process in self._left_in_time()] if recovered else []
        self.ledger.recovered(recovered_s, left)
        self._say(
            f"{t_s:7.1f} s  {now.kind}: "
            + (f"recovered in {recovered_s} s" if recovered else "not recovered")
        )
        self.system.end_left()
        if not recovered:
            self._start_anew()

    def _recovers(self, kind: Kind, former: Former, within_s: float) -> bool:
        """Whether, in time, the process is replaced, and frames that were driven after that are
        stored.

        Workers outlive their raylet for a while: frames stored before another one runs are no sign
        of a recovery.
        """
        deadline = time.monotonic() + within_s
        while kind in STARTED_ANEW and not former.replaced_by(self.system.of_kind(kind)):
            if time.monotonic() > deadline:
                return False
            time.sleep(_LOOK_EVERY_S)
        return self._await_recovery(given(self.cars), deadline - time.monotonic())

    def _left_in_time(self) -> list[psutil.Process]:
        """What is left of a system that was replaced, once all of it had time to end."""
        deadline = time.monotonic() + _LEFT_WITHIN_S
        while (left := self.system.left()) and time.monotonic() < deadline:
            time.sleep(_LOOK_EVERY_S)
        return left

    def _strike_in_time(self, now: Firing) -> Former | None:
        """Kill a process of that kind as soon as there is one; None if there is none in time."""
        deadline = time.monotonic() + self._plan.patience_s
        while (former := self._strike(now)) is None and time.monotonic() < deadline:
            time.sleep(_LOOK_EVERY_S)
        return former

    def _strike(self, now: Firing) -> Former | None:
        others = frozenset(self.system.of_kind(now.kind))
        victim = self._victim(now)
        if victim is None:
            return None
        try:
            self._kill(now, victim)
        except psutil.NoSuchProcess:  # it was quicker
            return None
        return Former(victim.pid, others | {victim})

    def _victim(self, now: Firing) -> psutil.Process | None:
        if now.kind == Kind.UP:
            return psutil.Process(self.system.pid)
        if now.kind == Kind.COLLECTOR:
            return self._chosen_car(now).process
        found = self.system.of_kind(now.kind)
        return found[int(now.chance * len(found))] if found else None

    def _chosen_car(self, now: Firing) -> Car:
        return self.cars[int(now.chance * len(self.cars))]

    def _kill(self, now: Firing, victim: psutil.Process) -> None:
        """SIGKILL it, by whoever started it."""
        if now.kind == Kind.UP:
            self.system.kill()
        elif now.kind == Kind.COLLECTOR:
            self._chosen_car(now).kill()
        else:
            victim.kill()

    def _replace(self, now: Firing) -> None:
        """Start again what nobody but its user starts."""
        if now.kind == Kind.UP:
            self._follow(self.system.start().brokers)
        elif now.kind == Kind.COLLECTOR:
            self._chosen_car(now).start(self.system.addresses)

    def _follow(self, brokers: str) -> None:
        """Give each car a new collector where the brokers have another address: the old one would
        look for them in vain.
        """
        if brokers != self._brokers:
            self._say(f"the brokers moved from {self._brokers} to {brokers}")
            for car in self.cars:
                car.kill()
                car.start(self.system.addresses)
        self._brokers = brokers

    def _start_anew(self) -> None:
        """Stop all that is left of a system that did not recover, and go on with another one on its
        data.
        """
        self.system.stop()
        before = given(self.cars)
        self._follow(self.system.start().brokers)
        assert self._await_recovery(before, self._plan.patience_s), (
            "the system does not run after a new start either"
        )

    def _await_recovery(self, before: Mapping[str, int], within_s: float) -> bool:
        """Whether, in time, the page is healthy and frames of each car are stored that were driven
        after ``before``.
        """
        deadline = time.monotonic() + within_s
        while not (self.system.healthy() and self._stored_beyond(before)):
            if time.monotonic() > deadline:
                return False
            time.sleep(_LOOK_EVERY_S)
        return True

    def _stored_beyond(self, before: Mapping[str, int]) -> bool:
        books = [car.book.given for car in self.cars]
        stored = self._highest([key for book in books for key in book])
        return all(any(stored.get(key, 0) > before.get(key, 0) for key in book) for book in books)

    def _highest(self, keys: list[str]) -> Mapping[str, int]:
        running = self.system.running
        return store.highest(running.database_url, keys) if running else {}

    def settle(self) -> bool:
        """Drive on in quiet, stop the cars, and wait for all that they acknowledged; whether it is
        stored in time.
        """
        time.sleep(QUIET_S)
        self._await_all_stored()
        for car in self.cars:
            car.stop()
        return self._await_all_stored()

    def _await_all_stored(self) -> bool:
        wanted = taken(self.cars)
        deadline = time.monotonic() + self._plan.patience_s
        while any(self._highest(list(wanted)).get(key, 0) < count for key, count in wanted.items()):
            if time.monotonic() > deadline:
                return False
            time.sleep(_LOOK_EVERY_S)
        return True

    def close(self) -> None:
        """End everything that was started."""
        for car in self.cars:
            car.kill()
        self.system.stop()
        self.ledger.close()
