"""What is entered at the same time is left, whatever becomes of the others."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from serve.local.concurrent_contexts import at_once

entered: list[str] = []


@contextmanager
def service(
    name: str, *, fails: bool = False, meet: threading.Barrier | None = None
) -> Iterator[str]:
    if meet:
        meet.wait(60)
    if fails:
        raise OSError(name)
    entered.append(name)
    try:
        yield name
    finally:
        if meet:
            meet.wait(60)
        entered.remove(name)


def test_contexts_are_entered_and_left_together_and_yield_in_order():
    """Each waits for the others: one after the other they would wait for ever."""
    meet = threading.Barrier(3)
    with at_once(*(service(name, meet=meet) for name in "abc")) as values:
        assert values == ["a", "b", "c"]
        assert sorted(entered) == ["a", "b", "c"]
    assert entered == []


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_where_one_fails_the_others_are_left(failing):
    contexts = (service(name, fails=i == failing) for i, name in enumerate("abc"))
    with pytest.raises(OSError, match="abc"[failing]), at_once(*contexts):
        pytest.fail("the block is not run")
    assert entered == []


def test_an_error_in_the_block_leaves_all():
    with pytest.raises(KeyError), at_once(service("a"), service("b")):
        raise KeyError
    assert entered == []


def test_the_first_is_entered_and_left_by_this_thread():
    """Signal handlers can be set in the main thread only."""
    seen = []

    @contextmanager
    def here() -> Iterator[None]:
        seen.append(threading.current_thread())
        yield
        seen.append(threading.current_thread())

    with at_once(here(), service("b")):
        pass
    assert seen == [threading.current_thread()] * 2


@pytest.fixture
def interrupt():
    """Interrupts the main thread, as Ctrl-C does."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, interrupted)
    yield lambda: os.kill(os.getpid(), signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)


def test_what_is_entered_after_an_interruption_is_left_too(interrupt):
    first_entered, interrupted = threading.Event(), threading.Event()

    @contextmanager
    def here() -> Iterator[None]:
        first_entered.set()
        try:
            yield
        finally:
            interrupted.set()

    @contextmanager
    def late() -> Iterator[None]:
        first_entered.wait(60)
        interrupt()
        # Where nobody waits for this one, the first context is left meanwhile.
        interrupted.wait(0.2)
        with service("late"):
            yield

    contexts = here(), late()  # kept: a context that is not left would end with its last reference
    with pytest.raises(KeyboardInterrupt), at_once(*contexts):
        pytest.fail("the block is not run")
    assert entered == []
