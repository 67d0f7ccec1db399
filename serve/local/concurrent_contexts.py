"""Enters and leaves contexts at the same time, and waits for a call until it is cancelled."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any

from ingest.embedded.process import Cancelled
from ingest.errors import PurpleSectorError
from serve.daemon_thread import in_daemon_thread

_LOOK_EVERY_S = 0.1


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
    others = [pool.submit(call) for call in calls[1:]]
    try:
        first = calls[0]()
    finally:
        wait(others)
    return [first, *(other.result() for other in others)]


def unless_cancelled(call: Callable[[], None], cancelled: Cancelled) -> None:
    """Run ``call``, which nothing can interrupt, in a thread of its own.

    Raises the exceptions of ``call``. Raises PurpleSectorError where it is ``cancelled`` first, and
    leaves the thread running.
    """
    future = in_daemon_thread(call, name="unless-cancelled")
    while not wait([future], _LOOK_EVERY_S).done:
        if cancelled():
            raise PurpleSectorError("stopped while starting")
    future.result()
