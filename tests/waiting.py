"""Waiting for what comes about by itself, and no longer than it is worth."""

import time
from collections.abc import Callable
from typing import TypeVar

# Only what fails waits this long, and a machine that is many times as busy as usual is no failure.
WITHIN_S = 300.0

Answer = TypeVar("Answer")


def wait_until(
    holds: Callable[[], Answer], what: str = "it", *, within_s: float = WITHIN_S
) -> Answer:
    """The first answer of ``holds`` that is true; ``what`` names it where none is in time."""
    deadline = time.monotonic() + within_s
    while not (answer := holds()):
        assert time.monotonic() < deadline, f"{what} did not come about within {within_s:g} s"
        time.sleep(0.02)
    return answer
