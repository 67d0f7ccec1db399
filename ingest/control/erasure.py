"""Finishes deletions: erases the rows of deleted sessions, and has their scopes judged again.

A page deletes a session by one row, and any reader misses it at once. The rest is done here, for
all deletions, also those that another process began and did not finish. Does not depend on Ray;
`run` outlives databases.
"""

import threading

import psycopg
import structlog

from ingest.settings import DatabaseSettings
from ingest.store.removal.deletions import erase_deleted, judge_due

log = structlog.get_logger()

_LOOK_EVERY_S = 2.0
_WAIT_AFTER_FAILURE_S = 5.0
# The worker of the partition judges within five seconds and announces the laps. This is for
# partitions that have none.
_JUDGE_AFTER_S = 15.0


class Erasure:
    """Finishes deletions in a store. One instance is enough; two do no harm."""

    def __init__(self, database: DatabaseSettings) -> None:
        self._database = database
        self._failure = ""
        self._left = 0

    def run(self, stop: threading.Event) -> None:
        """Look for deletions and finish them until ``stop`` is set."""
        while not stop.is_set():
            try:
                self._look_until(stop)
            except psycopg.Error as failure:
                self._note(str(failure).partition("\n")[0])
            except Exception as failure:
                log.exception("erasing deleted sessions failed, will go on")
                self._note(repr(failure))
            stop.wait(_WAIT_AFTER_FAILURE_S)

    def _look_until(self, stop: threading.Event) -> None:
        with self._connection() as conn:
            while not stop.wait(_LOOK_EVERY_S):
                self._look(conn, stop)
                self._failure = ""

    def _look(self, conn: psycopg.Connection, stop: threading.Event) -> None:
        judge_due(conn, after_s=_JUDGE_AFTER_S)
        erased = erase_deleted(conn, stopped=stop.is_set)
        if erased.sessions or erased.left > self._left:
            log.info("deleted sessions erased", sessions=erased.sessions, left=erased.left)
        self._left = erased.left

    def _connection(self) -> psycopg.Connection:
        return psycopg.connect(
            self._database.url.get_secret_value(),
            autocommit=True,
            application_name="purple-sector erasure",
            connect_timeout=3,
            tcp_user_timeout=10_000,
        )

    def _note(self, failure: str) -> None:
        if failure != self._failure:
            log.warning("cannot erase deleted sessions, will try again", error=failure)
        self._failure = failure
