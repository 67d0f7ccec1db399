"""Connects the commands that change what is stored to the store, as its owner."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ingest.settings import DatabaseSettings, owner_database

if TYPE_CHECKING:
    from ingest.store.removal.deletions import Connection, Erased


@contextmanager
def owner_connection() -> "Iterator[Connection]":
    """Connect to OWNER_DATABASE_URL, or else to DATABASE_URL; each statement commits.

    Raises StoreUnavailable, SchemaOutdated, NotAllowed, LicenceLost.
    """
    import psycopg

    from serve.store_errors import translate_database_errors

    settings = owner_database(DatabaseSettings.read())
    url = settings.url.get_secret_value()
    with (
        translate_database_errors(settings.address),
        psycopg.connect(url, autocommit=True, connect_timeout=5) as conn,
    ):
        yield conn


def what_is_left(erased: "Erased") -> str:
    """Return what people should know about rows that could not be erased yet; empty if none."""
    if not erased.left:
        return ""
    return (
        f"; the rows of {erased.left} deleted sessions are in a chunk that is locked, as during its"
        " compression: ingest erases them, and so does this command when it runs again"
    )
