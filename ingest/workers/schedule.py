"""Decides whose turn it is when many tasks share a few threads.

Pure: time is an argument, in seconds of a steady clock.
"""

import heapq
import itertools
import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


@dataclass(slots=True)
class _Turn:
    slow: bool
    next_by: float = math.inf
    removed: bool = False


class Schedule(Generic[T]):
    """Tasks with the time of their next turn. A task has one turn at a time.

    Tasks whose last turn was slow have at most ``most_slow`` turns at a time. So they leave threads
    to the others.
    """

    def __init__(self, *, most_slow: int) -> None:
        self._most_slow = most_slow
        self._at: dict[T, float] = {}
        self._turns: dict[T, _Turn] = {}
        self._slow: set[T] = set()
        # By slowness. An entry holds as long as `_at` has its time.
        self._heaps: dict[bool, list[tuple[float, int, T]]] = {False: [], True: []}
        self._counter = itertools.count()

    def __contains__(self, task: T) -> bool:
        return task in self._at or task in self._turns

    def has_turn(self, task: T) -> bool:
        """Return whether the task was taken and is not done."""
        return task in self._turns

    def add(self, task: T, at: float) -> None:
        """Add a task, with the time of its first turn."""
        self._at[task] = at
        heapq.heappush(self._heaps[task in self._slow], (at, next(self._counter), task))

    def remove(self, task: T) -> None:
        """Remove a task. One that has its turn gets no other."""
        self._at.pop(task, None)
        self._slow.discard(task)
        if task in self._turns:
            self._turns[task].removed = True

    def no_later_than(self, task: T, at: float) -> bool:
        """Give a task its turn by this time. Return whether a wait until `next_at` is too long
        now.
        """
        if task in self._turns:
            turn = self._turns[task]
            turn.next_by = min(turn.next_by, at)
            return False
        if at >= self._at.get(task, -math.inf):
            return False
        sooner = at < self.next_at()
        self.add(task, at)
        return sooner

    def take(self, *, now: float) -> T | None:
        """Return the task that waits longest for its turn; None if none may have one."""
        quick, slow = self._first(slow=False), self._first_slow()
        if min(quick, slow) > now:
            return None
        is_slow = slow < quick
        _, _, task = heapq.heappop(self._heaps[is_slow])
        del self._at[task]
        self._turns[task] = _Turn(is_slow)
        return task

    def done(self, task: T, at: float | None, *, slow: bool) -> bool:
        """End a task's turn, and plan its next; None is never. Return whether it stays."""
        turn = self._turns.pop(task)
        if turn.removed or at is None:
            self.remove(task)
            return False
        (self._slow.add if slow else self._slow.discard)(task)
        self.add(task, at if slow else min(at, turn.next_by))
        return True

    def next_at(self) -> float:
        """Return the time of the next turn; inf if none is known."""
        return min(self._first(slow=False), self._first_slow())

    def _first_slow(self) -> float:
        turns = sum(turn.slow for turn in self._turns.values())
        return self._first(slow=True) if turns < self._most_slow else math.inf

    def _first(self, *, slow: bool) -> float:
        heap = self._heaps[slow]
        while heap and (
            self._at.get(heap[0][2]) != heap[0][0] or slow != (heap[0][2] in self._slow)
        ):
            heapq.heappop(heap)
        return heap[0][0] if heap else math.inf
