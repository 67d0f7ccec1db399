"""Opens connections of ingest to the store, and keeps one open for whoever writes next."""

from contextlib import suppress
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from ingest.errors import StoreUnavailable
from ingest.settings import DatabaseSettings
from ingest.store.schema.edition import refuse_lost_licence


def connect(settings: DatabaseSettings, application: str) -> psycopg.Connection[Any]:
    """Return a connection that ``application`` names. Raises StoreUnavailable.

    Raises LicenceLost if the database would refuse every frame.
    """
    try:
        conn = psycopg.connect(
            settings.url.get_secret_value(),
            autocommit=True,
            application_name=application,
            connect_timeout=3,
            keepalives_idle=5,
            keepalives_interval=2,
            keepalives_count=3,
            tcp_user_timeout=10_000,
            options="-c lock_timeout=5s -c idle_in_transaction_session_timeout=10s",
        )
        return _licensed(conn)
    except psycopg.Error as error:
        reason = str(error).partition("\n")[0]
        raise StoreUnavailable(settings.address, reason) from error


def _licensed(conn: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
    try:
        refuse_lost_licence(conn)
    except BaseException:
        conn.close()
        raise
    return conn


class StoreConnection:
    """One connection, opened when it is needed. Not safe to share between threads."""

    def __init__(self, settings: DatabaseSettings, application: str) -> None:
        self._settings, self._application = settings, application
        self._conn: psycopg.Connection[Any] | None = None

    def opened(self) -> psycopg.Connection[Any]:
        """Return the connection, and open it again if it was lost.

        Raises StoreUnavailable and LicenceLost.
        """
        if self._conn is None or self._conn.closed:
            self._conn = connect(self._settings, self._application)
        return self._conn

    def tidy(self) -> None:
        """Close the connection after a failure, unless it is sound and in no transaction."""
        conn = self._conn
        if conn is not None and conn.info.transaction_status != TransactionStatus.IDLE:
            self.close()

    def close(self) -> None:
        """Close the connection, if it is open."""
        conn, self._conn = self._conn, None
        if conn is not None:
            with suppress(psycopg.Error):
                conn.close()
