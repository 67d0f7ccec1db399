"""Turns Arrow tables of frames into Arrow tables of laps, and reads both back.

A notebook begins with `connect` or `open`: both return an `analytics.catalog.Catalog`. Importing
this package imports nothing else.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    from analytics.catalog import Catalog

__all__ = ["connect", "open"]


def connect(url: str | None = None) -> "Catalog":
    """Return the sessions and laps of a running store: the one at ``url``, or else at DATABASE_URL.

    Raises analytics.errors.NoDatabase if neither is given. Raises psycopg.OperationalError if the
    database does not answer.
    """
    from analytics.catalog import Catalog
    from analytics.store.source import PostgresSource

    return Catalog(PostgresSource(url))


def open(path: "str | os.PathLike[str]") -> "Catalog":
    """Return the sessions and laps of a recording, or of all recordings in a folder.

    A recording is a ``.parquet``, ``.arrow`` or ``.csv`` file. No server is needed. Raises
    analytics.errors.RecordingError, which states the fault of the file.
    """
    from pathlib import Path

    from analytics.catalog import Catalog
    from analytics.files.source import FileSource

    return Catalog(FileSource(Path(path)))
