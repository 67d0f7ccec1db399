"""Retries a transaction that the server ended because of a deadlock.

For rare writers among workers that write all the time. The rows that a worker locks, and their
order, depend on its batch.
"""

from collections.abc import Callable
from contextlib import suppress

from psycopg.errors import DeadlockDetected

_TRIES = 5


def retry_on_deadlock(transact: Callable[[], None]) -> None:
    """Run ``transact``, one whole transaction, until it succeeds. Raises DeadlockDetected if every
    try deadlocks.
    """
    for _ in range(_TRIES - 1):
        with suppress(DeadlockDetected):
            transact()
            return
    transact()
