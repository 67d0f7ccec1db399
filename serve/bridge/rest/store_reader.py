"""Reads the store for REST, through a small pool of connections that only read by default."""

from collections.abc import Callable
from typing import Any, TypeVar

import psycopg
from psycopg_pool import ConnectionPool

from ingest.errors import PurpleSectorError
from ingest.settings import DatabaseSettings
from serve.store_errors import translate_database_errors

T = TypeVar("T")

_CONNECTIONS = 4
_WAIT_S = 2.0


class StoreReader:
    """Runs queries on the store. ``open`` it before the first query, and ``close`` it."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self._address = settings.address
        self._pool = ConnectionPool(
            settings.url.get_secret_value(),
            min_size=0,
            max_size=_CONNECTIONS,
            timeout=_WAIT_S,
            open=False,
            kwargs={
                "connect_timeout": 2,
                "options": "-c statement_timeout=5000 -c default_transaction_read_only=on",
            },
        )

    def open(self) -> None:
        """Allow connections; none is made before it is needed."""
        self._pool.open()

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()

    def reachable(self) -> bool:
        """Return whether the database answers within seconds."""
        try:
            self.query(lambda conn: conn.execute("SELECT 1"))
        except PurpleSectorError:
            return False
        return True

    def query(self, run: Callable[[psycopg.Connection[Any]], T]) -> T:
        """Return what ``run`` reads.

        Raises StoreUnavailable, SchemaOutdated, NotAllowed, LicenceLost.
        """
        with translate_database_errors(self._address), self._pool.connection() as conn:
            return run(conn)

    def change(self, run: Callable[[psycopg.Connection[Any]], T]) -> T:
        """Return what ``run`` returns, which changes the store in one transaction.

        Raises what `query` raises.
        """

        def writing(conn: psycopg.Connection[Any]) -> T:
            conn.execute("SET TRANSACTION READ WRITE")
            return run(conn)

        return self.query(writing)
