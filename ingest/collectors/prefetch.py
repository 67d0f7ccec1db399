"""Makes slow frames ahead of their time in another thread, so that each is ready when it is due."""

from collections.abc import Iterator
from concurrent.futures import Executor, Future
from itertools import islice
from typing import TypeVar

T = TypeVar("T")

#: Planning a simulated lap at its line takes some 25 ms, 80 on a busy machine. These frames last
#: far longer.
AHEAD_FRAMES = 60


def made_ahead(items: Iterator[T], executor: Executor, *, count: int = AHEAD_FRAMES) -> Iterator[T]:
    """Yield the same items in the same order; while ``count`` are used, ``executor`` makes the next
    ones.

    An exception from making an item is raised in that item's place, after the items before it.
    Nothing else may use ``items``.
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
