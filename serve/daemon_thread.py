"""Runs a call that nothing can interrupt in a thread that ends with the process."""

import threading
from collections.abc import Callable
from concurrent.futures import Future


def in_daemon_thread(call: Callable[[], object], *, name: str) -> "Future[None]":
    """Start ``call`` in a daemon thread; the future gets its end or its exception."""
    future: Future[None] = Future()
    threading.Thread(target=_fulfil, args=(future, call), name=name, daemon=True).start()
    return future


def _fulfil(future: "Future[None]", call: Callable[[], object]) -> None:
    try:
        call()
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(None)
