"""Turns Arrow tables of frames into Arrow tables of laps, and reads both back.

A notebook begins with `connect` or `open`: both return an `analytics.catalog.Catalog`. Importing
this package imports nothing else.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from analytics.catalog import Catalog

__all__ = ["connect", "open"]


def connect(
    url: str | None = None, *, otherwise: "Callable[[], str | os.PathLike[str]] | None" = None
) -> "Catalog":
    """Return the sessions and laps of a running store.

    The store is the one at ``url``, else at DATABASE_URL, else that of the system that runs on this
    machine. Where there is none, the recordings at the path that ``otherwise`` returns are opened.
    Raises analytics.errors.NoDatabase without it, and psycopg.OperationalError if the database does
    not answer.
    """
    from analytics.catalog import Catalog
    from analytics.errors import NoDatabase
    from analytics.store.source import PostgresSource

    try:
        return Catalog(PostgresSource(url))
    except NoDatabase:
        if otherwise is None:
            raise
        return open(otherwise())


def open(path: "str | os.PathLike[str]") -> "Catalog":
    """Return the sessions and laps of a recording, or of all recordings in a folder.

    A recording is a ``.parquet``, ``.arrow`` or ``.csv`` file. No server is needed. Raises
    analytics.errors.RecordingError, which states the fault of the file.
    """
    from pathlib import Path

    from analytics.catalog import Catalog
    from analytics.files.source import FileSource

    return Catalog(FileSource(Path(path)))
