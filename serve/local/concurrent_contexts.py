"""Enters and leaves contexts at the same time, and waits for a call until it is cancelled."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any


@contextmanager
def at_once(*contexts: AbstractContextManager[Any]) -> Iterator[list[Any]]:
    """Enter the contexts at the same time, and yield their values in order.

    This thread enters and leaves the first context. Each of the others has a thread of a pool.
    Where a context cannot be entered, or this thread is interrupted, the entered contexts are left
    and the error is raised.
    """
    stacks = [ExitStack() for _ in contexts]
    with ThreadPoolExecutor(len(contexts)) as pool:
        try:
            yield _results(
                pool,
                [
                    partial(stack.enter_context, one)
                    for stack, one in zip(stacks, contexts, strict=True)
                ],
            )
        finally:
            _results(pool, [stack.close for stack in stacks])


def _results(pool: ThreadPoolExecutor, calls: Sequence[Callable[[], Any]]) -> list[Any]:
    others: list[Future[Any]] = []
    try:
        for call in calls[1:]:
            others.append(pool.submit(call))  # one by one: an interruption keeps those so far
        first = calls[0]()
        wait(others)
    except BaseException:
        wait(others)  # a context that is entered later would never be left
        raise
    return [first, *(other.result() for other in others)]
