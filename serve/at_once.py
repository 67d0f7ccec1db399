"""Enter contexts at the same time, and leave them at the same time."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any


@contextmanager
def at_once(*contexts: AbstractContextManager[Any]) -> Iterator[list[Any]]:
    """Yield what the contexts yield, in their order. The first one is entered and left by this thread, the others by one each.

    Where one cannot be entered, or this thread is interrupted, those that are entered by then are left, and the error is raised.
    """
    stacks = [ExitStack() for _ in contexts]
    with ThreadPoolExecutor(len(contexts)) as pool:
        try:
            yield _results(
                pool, [partial(stack.enter_context, one) for stack, one in zip(stacks, contexts, strict=True)]
            )
        finally:
            _results(pool, [stack.close for stack in stacks])


def _results(pool: ThreadPoolExecutor, calls: Sequence[Callable[[], Any]]) -> list[Any]:
    others = [pool.submit(call) for call in calls[1:]]
    try:
        first = calls[0]()
    finally:
        wait(others)
    return [first, *(other.result() for other in others)]
