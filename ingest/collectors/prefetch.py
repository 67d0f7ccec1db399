"""Frames that take long to make are made ahead of their time, in another thread, so that the one that is due is there."""

from collections.abc import Iterator
from concurrent.futures import Executor, Future
from itertools import islice
from typing import TypeVar

T = TypeVar("T")

#: A simulated lap is planned at its line in some 25 ms, 80 on a busy machine: far less than these frames last.
AHEAD_FRAMES = 60


def made_ahead(items: Iterator[T], executor: Executor, *, count: int = AHEAD_FRAMES) -> Iterator[T]:
    """The same items in the same order; while ``count`` are used, ``executor`` makes the next ones.

    What making one raises is raised in its place, after the items before it. ``items`` is used by nobody else.
    """
    chunk: Future[tuple[list[T], Exception | None]] = executor.submit(_make, items, count)
    while True:
        made, failure = chunk.result()
        if len(made) == count:
            chunk = executor.submit(_make, items, count)
        yield from made
        if failure is not None:
            raise failure
        if len(made) < count:
            return


def _make(items: Iterator[T], count: int) -> tuple[list[T], Exception | None]:
    made: list[T] = []
    try:
        made.extend(islice(items, count))
    except Exception as failure:  # raised where the item would be used
        return made, failure
    return made, None
