"""Two that wait for each other, of whom the server ends the one that a test is about.

The locks are taken by hand. The policies of the Community edition take theirs in workers of the
server, at moments that no test can choose.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
from psycopg.errors import DeadlockDetected

from tests.service.owner import rows
from tests.waiting import WITHIN_S, wait_until


def goes_on_after_a_deadlock(
    url: str, work: Callable[[], object], *, first: str, then: str
) -> bool:
    """Have ``work`` and somebody who does ``first`` and ``then`` wait for each other; False where
    he was ended, and not ``work``.

    Each has the server look once, a second after he began to wait: on a busy machine that finds
    something with him only.
    """
    with psycopg.connect(url) as somebody, ThreadPoolExecutor(1) as pool:
        somebody.execute(first.encode())
        working = pool.submit(work)
        wait_until(lambda: waiting_for_locks(url) == 1)
        try:
            somebody.execute(then.encode())
        except DeadlockDetected:
            return False
        finally:
            somebody.rollback()
            working.result(WITHIN_S)
    return True


def waiting_for_locks(url: str) -> int:
    """How many connections to the database do."""
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname ="
        " current_database()"
    )
    return int(rows(url, query)[0][0])
