"""Tries a transaction again that the server ended because it and another waited for each other.

For who comes rarely, among workers that write all the time: what they take, and in which order, depends on their batch.
"""

from collections.abc import Callable
from contextlib import suppress

from psycopg.errors import DeadlockDetected

_TRIES = 5


def through_deadlocks(transact: Callable[[], None]) -> None:
    """Do ``transact``, one transaction as a whole, as often as it takes. Raises DeadlockDetected when it always ends so."""
    for _ in range(_TRIES - 1):
        with suppress(DeadlockDetected):
            transact()
            return
    transact()
