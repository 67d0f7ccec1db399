"""What runs beside a test until it is told to stop."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def meanwhile(run: Callable[[threading.Event], object]) -> Iterator[None]:
    """``run(stop)`` in a thread of its own; ``stop`` is set at the end of the block, which then
    waits for it to return.
    """
    stop = threading.Event()
    thread = threading.Thread(target=run, args=[stop])
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
