"""Ends waits early: for a call that nothing can interrupt, and for a command of another program."""

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from typing import Any

from ingest.errors import PurpleSectorError

#: Returns whether the caller no longer wants the result.
Cancelled = Callable[[], bool]

_LOOK_EVERY_S = 0.1


def never() -> bool:
    """Cancel nothing."""
    return False


class Stopped(PurpleSectorError):
    """A start that is no longer wanted."""

    def __init__(self) -> None:
        super().__init__("stopped while starting")


def in_daemon_thread(call: Callable[[], object], *, name: str) -> "Future[None]":
    """Start ``call`` in a daemon thread; the future gets its end or its exception."""
    future: Future[None] = Future()
    threading.Thread(target=_fulfil, args=(future, call), name=name, daemon=True).start()
    return future


def unless_cancelled(call: Callable[[], object], cancelled: Cancelled) -> None:
    """Run ``call``, which nothing can interrupt, in a thread of its own.

    Raises the exceptions of ``call``. Raises Stopped where it is ``cancelled`` first, and leaves
    the thread running.
    """
    future = in_daemon_thread(call, name="unless-cancelled")
    while not wait([future], _LOOK_EVERY_S).done:
        if cancelled():
            raise Stopped
    future.result()


def run_to_end(
    command: Sequence[str], *, cancelled: Cancelled = never, **options: Any
) -> "subprocess.CompletedProcess[str]":
    """Run ``command``, and return its exit code and output. ``options`` are those of Popen.

    Raises Stopped where it is ``cancelled`` first, with none of its processes left running. Raises
    OSError where the program cannot be run.
    """
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdout=pipe, stderr=pipe, text=True, start_new_session=True, **options
    ) as process:
        while True:
            try:
                output, errors = process.communicate(timeout=_LOOK_EVERY_S)
            except subprocess.TimeoutExpired:
                if not cancelled():
                    continue
                os.killpg(process.pid, signal.SIGKILL)
                raise Stopped from None
            return subprocess.CompletedProcess(command, process.returncode, output, errors)


def _fulfil(future: "Future[None]", call: Callable[[], object]) -> None:
    try:
        call()
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(None)
